"""The log: in order, soon, through anything that blocks, breaks or is rotated."""

from __future__ import annotations

import fcntl
import json
import os
import resource
import select
import time

import pytest

from sidecar.errors import ConfigError
from sidecar.telemetry.log import Log
from sidecar.telemetry.log_writer import LogFile
from sidecar.vocabulary import Event
from tests.support.clock import FakeClock
from tests.support.facts import event, served


@pytest.fixture
def pipe():
    ends = list(os.pipe())
    yield ends
    for end in ends:
        if end >= 0:
            os.close(end)


def to(target, **options):
    return Log([target], FakeClock(), **options)


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def numbers(shown):
    return [line["detail"]["n"] for line in shown if "n" in line["detail"]]


def test_lines_come_out_in_order_and_complete(tmp_path):
    log = Log.to(None, tmp_path / "app.log", FakeClock())
    for n in range(3_000):
        log.record(event(detail={"n": n}))
    assert log.close()
    assert numbers(lines(tmp_path / "app.log")) == list(range(3_000))
    assert log.dropped() == 0
    assert (tmp_path / "app.log").stat().st_mode & 0o777 == 0o640


def test_a_line_is_out_within_a_tenth_of_a_second(pipe):
    log = to(LogFile(pipe[1]))
    log.served(served())
    ready, _, _ = select.select([pipe[0]], [], [], 2.0)
    assert ready, "the line did not come by itself"
    assert os.read(pipe[0], 65536).endswith(b"\n")
    log.close()


def test_a_blocked_reader_costs_lines_and_never_a_wait(pipe):
    log = to(LogFile(pipe[1]), most_lines=400)
    begun = time.perf_counter()
    for n in range(20_000):
        log.record(event(detail={"n": n}))
    spent = time.perf_counter() - begun
    assert spent < 5.0  # 20 000 lines into a pipe that holds 64 KiB
    assert log.dropped() > 15_000
    assert not log.flush(0.05)

    taken = bytearray()
    deadline = time.monotonic() + 10
    while b"log_lines_dropped" not in taken and time.monotonic() < deadline:
        if select.select([pipe[0]], [], [], 0.1)[0]:
            taken += os.read(pipe[0], 1 << 20)
    assert log.close()
    shown = [json.loads(line) for line in taken.splitlines()]
    came = numbers(shown)
    assert came == sorted(came), "what comes late still comes in order"
    notice = next(line for line in shown if "log_lines_dropped" in line["detail"])
    assert (notice["event"], notice["category"]) == ("OVERLOADED", "SYSTEM")
    assert notice["detail"]["log_lines_dropped"] == log.dropped() == 20_000 - len(came)


def test_long_lines_are_bounded_in_bytes(pipe):
    log = to(LogFile(pipe[1]), most_bytes=100_000)
    for n in range(1_000):
        log.record(event(detail={"n": n, "pad": "x" * 4_000}))
    assert log.dropped() > 900
    taken = bytearray()
    deadline = time.monotonic() + 10
    while b"log_lines_dropped" not in taken and time.monotonic() < deadline:
        if select.select([pipe[0]], [], [], 0.1)[0]:
            taken += os.read(pipe[0], 1 << 20)
    assert b"log_lines_dropped" in taken
    dropped = log.dropped()
    log.record(event(detail={"pad": "y" * 4_000}))
    assert log.dropped() == dropped, "lines are taken again"
    while b"yyyy" not in taken and time.monotonic() < deadline:
        if select.select([pipe[0]], [], [], 0.1)[0]:
            taken += os.read(pipe[0], 1 << 20)
    assert log.close()


def test_security_lines_outlive_access_lines_when_it_gets_tight(pipe):
    fcntl.fcntl(pipe[1], fcntl.F_SETPIPE_SZ, 4096)
    log = to(LogFile(pipe[1]), most_lines=100)
    log.record(event(detail={"pad": "x" * 8_000}))  # blocks the thread in its write
    time.sleep(0.2)
    for _ in range(200):
        log.served(served())
    before = log.dropped()
    log.record(event(Event.IP_BANNED))
    assert before >= 125
    assert log.dropped() == before, "a part of the queue is kept for events"
    os.set_blocking(pipe[0], False)
    taken = bytearray()
    deadline = time.monotonic() + 10
    while b"IP_BANNED" not in taken and time.monotonic() < deadline:
        if select.select([pipe[0]], [], [], 0.1)[0]:
            taken += os.read(pipe[0], 1 << 20)
    assert b"IP_BANNED" in taken
    log.close()


def test_a_reader_that_never_reads_does_not_hold_the_end_up(pipe):
    log = to(LogFile(pipe[1]), most_lines=4_000)
    for _ in range(2_000):
        log.record(event())
    begun = time.monotonic()
    assert not log.close(timeout=0.2)
    assert time.monotonic() - begun < 2.0
    os.close(pipe[0])  # lets the thread go
    pipe[0] = -1


def test_a_reader_that_left_costs_lines_only(pipe):
    log = to(LogFile(pipe[1]))
    os.close(pipe[0])
    pipe[0] = -1
    log.record(event())
    log.record(event())
    assert log.close(timeout=5.0)
    assert log.dropped() == 2


def test_a_pipe_that_others_made_non_blocking_is_waited_for(pipe):
    os.set_blocking(pipe[1], False)
    log = to(LogFile(pipe[1]))
    for n in range(1_000):
        log.record(event(detail={"n": n}))
    taken = bytearray()
    while taken.count(b"\n") < 1_000 and select.select([pipe[0]], [], [], 5.0)[0]:
        taken += os.read(pipe[0], 1 << 16)
    assert log.close()
    assert numbers([json.loads(line) for line in taken.splitlines()]) == list(range(1_000))


def test_a_renamed_file_is_noticed(tmp_path):
    path = tmp_path / "app.log"
    log = Log.to(None, path, FakeClock())
    log.record(event(detail={"n": 1}))
    assert log.flush()
    path.rename(tmp_path / "app.log.1")
    log.record(event(detail={"n": 2}))
    assert log.close()
    assert numbers(lines(tmp_path / "app.log.1")) == [1]
    assert numbers(lines(path)) == [2]


def test_reopening_goes_to_the_file_of_that_name_now(tmp_path):
    path = tmp_path / "app.log"
    log = Log.to(None, path, FakeClock())
    log.record(event(detail={"n": 1}))
    assert log.flush()
    log.reopen()
    log.record(event(detail={"n": 2}))
    assert log.close()
    assert numbers(lines(path)) == [1, 2]


def test_a_line_that_a_full_disk_tore_spoils_no_other(tmp_path):
    """The disk stays full for a second write, too; there the first one's end was forgotten."""
    target = LogFile.file(tmp_path / "app.log")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30, limits[1]))
    try:
        for _ in range(3):
            with pytest.raises(OSError, match="File too large"):
                target.write(b'{"first": "whole"}\n{"second": "torn"}\n')
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    target.write(b'{"third": 3}\n')
    target.write(b'{"fourth": 4}\n')
    target.close()
    assert (tmp_path / "app.log").read_text().splitlines() == [
        '{"first": "whole"}',
        '{"second": ',
        '{"third": 3}',
        '{"fourth": 4}',
    ]


def test_both_targets_get_every_line(tmp_path, pipe):
    log = Log([LogFile(pipe[1]), LogFile.file(tmp_path / "app.log")], FakeClock())
    log.served(served())
    assert log.close()
    assert os.read(pipe[0], 65536) == (tmp_path / "app.log").read_bytes()


def test_a_file_that_cannot_be_written_is_said_at_the_start(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot write the log file .*: No such file or directory"):
        Log.to(None, tmp_path / "missing" / "app.log", FakeClock())


def test_without_access_lines_the_facts_remain(tmp_path):
    log = Log.to(None, tmp_path / "app.log", FakeClock(), access=False)
    log.served(served(inspected=False))
    log.record(event(detail={"n": 1}))
    log.served(served(inspected=True, status=200, backend=0.1))
    assert log.close()
    shown = [line["event"] for line in lines(tmp_path / "app.log")]
    assert len(shown) == 2
    assert shown[1] == "CHAT_MESSAGE_PROCESSED"


def test_the_log_moves_without_losing_a_line(tmp_path):
    log = Log.to(None, tmp_path / "one.log", FakeClock())
    log.record(event(detail={"n": 1}))
    leave = log.redirect(None, tmp_path / "two.log", access=True)
    log.record(event(detail={"n": 2}))
    leave()
    assert log.close()
    assert (numbers(lines(tmp_path / "one.log")), numbers(lines(tmp_path / "two.log"))) == ([1], [2])


def test_a_target_that_cannot_be_had_leaves_the_log_where_it_is(tmp_path):
    log = Log.to(None, tmp_path / "one.log", FakeClock())
    with pytest.raises(ConfigError):
        log.redirect(None, tmp_path / "nowhere" / "two.log", access=True)
    log.record(event(detail={"n": 1}))
    assert log.close()
    assert numbers(lines(tmp_path / "one.log")) == [1]
