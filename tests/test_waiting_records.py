"""The queue of records that requests leave behind, and the loop that empties it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from sidecar import waiting_records
from sidecar.errors import StoreUnavailable
from sidecar.waiting_records import TURN, WAITING, WaitingRecords


class Counted(list[int]):
    """What was counted; 13 cannot be."""

    def count_all(self, records: Iterator[int]) -> None:
        for record in records:
            if record == 13:
                raise ValueError("13")
            self.append(record)


def test_the_oldest_are_left_out() -> None:
    counted = Counted()
    records = WaitingRecords(counted.count_all, "not counted")
    for number in range(WAITING + 20):
        records.put(number)
    assert len(records) == WAITING
    assert records.count(3) is True
    assert counted == [20, 21, 22]
    assert records.count() is False
    assert len(counted) == WAITING
    assert records.count() is False, "nothing waits"
    records.put(1)
    records.clear()
    assert len(records) == 0


async def test_no_fault_ends_the_counting(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(waiting_records, "TICK", 0)
    counted, turns = Counted(), list[int]()
    done = asyncio.Event()

    async def then() -> None:
        turns.append(len(counted))
        if len(turns) == 2:
            raise StoreUnavailable("away")
        if len(counted) == TURN + 1:
            done.set()

    records = WaitingRecords(counted.count_all, "not counted", then)
    for number in (1, 13, *range(100, 100 + TURN)):
        records.put(number)
    task = asyncio.create_task(records.run())
    async with asyncio.timeout(5):
        await done.wait()
    task.cancel()
    assert counted == [1, *range(100, 100 + TURN)], "all but the one that cannot be counted"
    assert [record.getMessage() for record in caplog.records] == ["not counted"], "an outage is reported elsewhere"
