"""What finds, installs and runs the real servers of the tests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import LOOPBACK, Process, free_port, listens, running
from tests.support.tools import find, need

ROOT = Path(__file__).parents[2]
INSTALL = ROOT / "tests/support/install-tools"
LISTENER = (
    "import http.server,sys; http.server.ThreadingHTTPServer(('127.0.0.1',int(sys.argv[1])),None).serve_forever()"
)


@pytest.fixture
def bare_path(tmp_path: Path) -> str:
    """A PATH with what the script itself needs, and neither servers nor apt-get."""
    for tool in ("id", "sort"):
        (tmp_path / tool).symlink_to(find(tool) or "")
    return str(tmp_path)


@pytest.mark.parametrize(("ci", "code"), [("", 0), ("true", 1)], ids=["at home", "in CI"])
def test_what_cannot_be_installed_is_said_aloud_and_fails_in_ci(bare_path, ci, code):
    bash = find("bash")
    done = subprocess.run(
        [bash, INSTALL], env={"PATH": bare_path, "CI": ci}, capture_output=True, text=True, check=False
    )
    assert done.returncode == code
    assert "MISSING: " in done.stderr
    assert "redis-server" in done.stderr


def test_it_is_quiet_when_nothing_is_missing():
    for tool in (
        "redis-server",
        "redis-sentinel",
        "nginx",
        "chromium",
        "prometheus",
        "promtool",
        "psql",
        "initdb",
        "node",
        "php",
    ):
        need(tool)
    done = subprocess.run([INSTALL], capture_output=True, text=True, check=True)
    assert done.stdout + done.stderr == ""


def test_a_missing_tool_skips_at_home_and_fails_in_ci(monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no-such-server is not installed"):
        need("no-such-server")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no-such-server is not installed"):
        need("no-such-server")


def test_a_program_runs_while_the_block_runs():
    port = free_port()
    with running([sys.executable, "-c", LISTENER, str(port)], port) as process:
        assert listens(port)
        assert process.exit_code is None
    assert not listens(port)
    assert process.exit_code == -signal.SIGTERM


def test_a_program_that_ends_early_is_a_failure_with_its_output():
    with (
        pytest.raises(AssertionError, match=r"ended with 3:\n.*no luck today"),
        running([sys.executable, "-c", "print('no luck today'); raise SystemExit(3)"], free_port()),
    ):
        pass


def test_a_stopped_or_stubborn_program_is_ended_all_the_same():
    stubborn = Process(
        [
            sys.executable,
            "-c",
            "import signal,time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)",
        ]
    ).until_output("up")
    stubborn.stop(seconds=0.1)
    assert stubborn.exit_code == -signal.SIGKILL
    assert stubborn.output() == "up\n"
    with pytest.raises(ProcessLookupError):
        os.kill(stubborn.pid, 0)
    stubborn.stop()


def test_free_ports_are_free():
    assert not listens(free_port(), LOOPBACK)
