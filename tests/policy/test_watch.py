"""Changes of the policy's file are noticed: written in place, replaced, and swapped as Kubernetes does it."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sidecar.policy import watch
from sidecar.policy.document.read import text_digest
from sidecar.policy.watch import PolicyWatch
from tests.support.configmap import ConfigMap


class Seen:
    """What the file held each time that a change was told."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.texts: list[str | None] = []
        self._more = asyncio.Event()

    async def changed(self) -> None:
        self.texts.append(self._path.read_text() if self._path.exists() else None)
        self._more.set()

    async def wait_for(self, count: int) -> list[str | None]:
        async with asyncio.timeout(10):
            while len(self.texts) < count:
                self._more.clear()
                await self._more.wait()
        return self.texts


@asynccontextmanager
async def watching(path: Path, *, poll: float = 5.0, seen: str | None = None) -> AsyncIterator[Seen]:
    told = Seen(path)
    digest = text_digest(path.read_bytes()) if seen is None else seen  # noqa: ASYNC240 - before anything runs
    watch = PolicyWatch(path, told.changed, seen=digest, look=0.05, poll=poll, settle=0.01)
    task = asyncio.create_task(watch.run())
    await asyncio.sleep(0.15)  # until it was looked at once; what happens before is tested below
    try:
        yield told
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


def in_place(path: Path, text: str) -> None:
    path.write_text(text)


def replaced(path: Path, text: str) -> None:
    beside = path.with_name(".policy.yaml.swp")
    beside.write_text(text)
    beside.rename(path)


def removed_and_made(path: Path, text: str) -> None:
    path.unlink()
    path.write_text(text)


@pytest.mark.parametrize("write", [in_place, replaced, removed_and_made])
async def test_a_file_that_is_written(tmp_path: Path, write: Callable[[Path, str], None]) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("one")
    async with watching(path) as told:
        write(path, "two")
        assert await told.wait_for(1) == ["two"]


async def test_a_config_map_is_swapped_again_and_again(tmp_path: Path) -> None:
    volume = ConfigMap(tmp_path, "0")
    async with watching(volume.path) as told:
        for number in range(1, 6):
            volume.swap(str(number))
            assert (await told.wait_for(number))[-1] == str(number)
    assert told.texts == ["1", "2", "3", "4", "5"]


async def test_a_link_to_a_file_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    target = tmp_path / "elsewhere" / "policy.yaml"
    target.write_text("one")
    (tmp_path / "here").mkdir()
    path = tmp_path / "here" / "policy.yaml"
    path.symlink_to(target)
    async with watching(path) as told:
        target.write_text("two")
        assert await told.wait_for(1) == ["two"]


async def test_what_does_not_change_the_text_is_not_told(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("one")
    async with watching(path) as told:
        (tmp_path / "other").write_text("x")
        path.write_text("one")
        replaced(path, "one")
        await asyncio.sleep(0.4)
        assert told.texts == []
        path.write_text("two")
        assert await told.wait_for(1) == ["two"]


async def test_a_change_before_the_watch_began_is_told(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("two")
    async with watching(path, seen=text_digest("one")) as told:
        assert await told.wait_for(1) == ["two"]


@pytest.mark.parametrize("ago", [pytest.param(0, id="just now"), pytest.param(100, id="long ago, found by the poll")])
async def test_a_change_that_leaves_the_state_as_it_was(tmp_path: Path, ago: float) -> None:
    """As in the same tick of a coarse clock, or by a program that sets the time back."""
    path = tmp_path / "policy.yaml"
    path.write_text("one")
    at = time.time_ns() - int(ago * 1e9)
    os.utime(path, ns=(at, at))
    async with watching(path, poll=0.5) as told:
        with path.open("r+") as file:
            file.write("two")
        os.utime(path, ns=(at, at))
        assert await told.wait_for(1) == ["two"]


async def test_the_text_is_not_read_while_nothing_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    monkeypatch.setattr(watch, "_read", lambda path: read.append(path) or path.read_bytes())
    path = tmp_path / "policy.yaml"
    path.write_text("one")
    os.utime(path, (1, 1))
    async with watching(path):
        await asyncio.sleep(0.4)
    assert len(read) == 1


async def test_a_file_that_is_gone_is_told_once_and_found_again(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("one")
    async with watching(path, poll=0.05) as told:
        path.unlink()
        assert await told.wait_for(1) == [None]
        await asyncio.sleep(0.3)
        assert told.texts == [None]
        path.write_text("one")
        assert await told.wait_for(2) == [None, "one"]


async def test_a_directory_that_is_gone_is_watched_when_it_is_back(tmp_path: Path) -> None:
    folder = tmp_path / "mount"
    folder.mkdir()
    path = folder / "policy.yaml"
    path.write_text("one")
    async with watching(path, poll=0.05) as told:
        path.unlink()
        folder.rmdir()
        assert await told.wait_for(1) == [None]
        folder.mkdir()
        path.write_text("two")
        assert (await told.wait_for(2))[-1] == "two"


async def test_a_file_that_is_still_written_is_read_when_it_rests(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("one")
    async with watching(path) as told:
        with path.open("w") as file:
            for piece in ("ver", "sion", ": ", "1"):
                file.write(piece)
                file.flush()
                await asyncio.sleep(0.005)
        await told.wait_for(1)
        await asyncio.sleep(0.3)
        assert told.texts[-1] == "version: 1"
