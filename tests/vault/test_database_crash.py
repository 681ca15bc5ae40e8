"""Killed in mid-write, again and again: what was acknowledged is there, nothing is half there. Both databases."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from tests.support.vaults import OTHER_KEY, open_vault

PROGRAM = Path(__file__).with_name("write_until_killed.py")
ROUNDS = 3
ENV = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


def killed(url: str, number: int) -> list[str]:
    """Run the writer, kill it a moment after its third word, return what it had said until then."""
    argv = [sys.executable, str(PROGRAM), url, str(number)]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=ENV)
    assert process.stdout is not None
    said = [process.stdout.readline() for _ in range(4 + number)]
    time.sleep(0.003 * number)  # another moment of a write each round
    process.send_signal(signal.SIGKILL)
    rest, _ = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGKILL, said
    # A last line without its end was cut off in the pipe: it still was acknowledged if it is whole.
    return [line for line in "".join([*said, rest]).splitlines() if line != "open"]


async def test_no_acknowledged_write_is_lost_and_none_is_half_done(url: str) -> None:
    said = [line.split() for number in range(ROUNDS) for line in await asyncio.to_thread(killed, url, number)]
    kept = {organization for word, organization in said if word == "kept"}
    gone = {organization for word, organization in said if word == "gone"}
    assert kept
    assert gone
    async with open_vault(url) as vault:
        verdict = await vault.verify_audit()
        assert verdict.faults == ()
        rows = {row.organization: row for row in await vault.credentials.list(None)}
        assert kept <= set(rows)
        assert not gone & set(rows)
        for organization in kept:
            credential = await vault.credential(organization, "openai", vault._clock.now())
            assert credential.value.reveal() == f"Bearer {OTHER_KEY}"
        # Each change and its audit entry are one: the log tells exactly the rows that there are.
        told = Counter([(row["organization"], row["action"]) async for row in vault.audit.rows()])
        created = {organization for organization, action in told if action == "credential.create"}
        deleted = {organization for organization, action in told if action == "credential.delete"}
        assert created - deleted == set(rows)
        assert {name: 1 + told[name, "credential.rotate"] for name in rows} == {
            name: row.version for name, row in rows.items()
        }
