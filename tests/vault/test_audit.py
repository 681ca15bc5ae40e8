"""The audit log: what verification finds, what it cannot find alone, and retention. Both databases."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import delete, insert, select, text, update

from sidecar.errors import StoreUnavailable
from sidecar.vault.audit import AuditLog, ChainAnchor, Entry, as_json, chain_hash
from sidecar.vault.database import Database
from sidecar.vault.models import Actor
from sidecar.vault.tables import audit, state
from tests.support.vaults import ALICE

KEYS = {b"k" * 8: b"0" * 32}
NEWER = {b"n" * 8: b"1" * 32, **KEYS}


async def written(url: str, entries: int = 6) -> tuple[Database, AuditLog]:
    database = await Database.open(url)
    log = AuditLog(database, KEYS)
    for number in range(entries):
        organization = "acme" if number % 2 else "globex"
        await log.record([Entry(1000.0 + number, ALICE, "test", "done", organization, f"s{number}", {"n": number})])
    return database, log


async def run(database: Database, *statements) -> None:
    async with database.write() as write:
        for statement in statements:
            await write.run(statement)


async def test_an_untouched_log_is_whole(url: str) -> None:
    database, log = await written(url)
    verdict = await log.verify()
    assert (verdict.entries, verdict.unkeyed, verdict.head.seq, verdict.faults) == (6, 0, 6, ())
    assert (await log.verify(verdict.head)).faults == ()
    await database.close()


async def test_an_empty_log_is_whole(url: str) -> None:
    database, log = await written(url, 0)
    assert (await log.verify()).faults == ()
    await database.close()


FORGERIES = [
    pytest.param(update(audit).where(audit.c.seq == 3).values(actor="mallory"), ["entry 3: changed"], id="actor"),
    pytest.param(update(audit).where(audit.c.seq == 3).values(detail="{}"), ["entry 3: changed"], id="detail"),
    pytest.param(update(audit).where(audit.c.seq == 3).values(at=1), ["entry 3: changed"], id="time"),
    pytest.param(
        update(audit).where(audit.c.seq == 3).values(organization="x"), ["entry 3: changed"], id="organization"
    ),
    pytest.param(
        update(audit).where(audit.c.seq == 3).values(mac="00"),
        ["entry 3: not written by a holder of the key"],
        id="mac",
    ),
    pytest.param(
        delete(audit).where(audit.c.seq == 3),
        ["entries 3 to 3: missing", "entry 4: does not follow the entry before it"],
        id="one missing",
    ),
    pytest.param(
        delete(audit).where(audit.c.seq < 3),
        ["entries 1 to 2: missing", "entry 3: does not follow the entry before it"],
        id="the beginning missing",
    ),
    pytest.param(
        delete(audit).where(audit.c.seq > 4),
        ["the end is missing: the log went on to entry 6, 4 is the last"],
        id="the end missing",
    ),
    pytest.param(delete(audit), ["the end is missing: the log went on to entry 6, 0 is the last"], id="all missing"),
]


@pytest.mark.parametrize(("forgery", "faults"), FORGERIES)
async def test_what_was_tampered_with_is_found(url: str, forgery, faults: list[str]) -> None:
    database, log = await written(url)
    await run(database, forgery)
    assert list((await log.verify()).faults) == faults
    await database.close()


async def test_reordered_entries_are_found(url: str) -> None:
    database, log = await written(url)
    moves = [update(audit).where(audit.c.seq == old).values(seq=new) for old, new in ((2, 99), (5, 2), (99, 5))]
    await run(database, *moves)
    faults = (await log.verify()).faults
    assert "entry 2: changed" in faults
    assert "entry 5: changed" in faults
    await database.close()


async def test_a_chain_made_without_the_key_is_found(url: str) -> None:
    """Who has only the database can make all hashes fit, but no MAC."""
    database, log = await written(url)
    rows = [row._asdict() for row in await database.rows(select(audit).order_by(audit.c.seq))]
    rows[2]["actor"] = "mallory"
    for before, row in zip([None, *rows], rows, strict=False):
        row["previous"] = before["hash"] if before else "0" * 64
        row["hash"] = chain_hash(row)
    head = update(state).values(head_hash=rows[-1]["hash"])
    await run(database, delete(audit), *(insert(audit).values(**row) for row in rows), head)
    assert list((await log.verify()).faults) == [
        f"entry {seq}: not written by a holder of the key" for seq in (3, 4, 5, 6)
    ]
    await database.close()


async def test_a_database_put_back_is_found_with_an_anchor_only(url: str) -> None:
    database, log = await written(url)
    anchor = (await log.verify()).head
    [fourth] = await database.rows(select(audit.c.hash).where(audit.c.seq == 4))
    await run(database, delete(audit).where(audit.c.seq > 4), update(state).values(head_seq=4, head_hash=fourth.hash))
    assert (await log.verify()).faults == ()
    assert (await log.verify(anchor)).faults == ("the anchor at entry 6 is not in this log",)
    assert (await log.verify(ChainAnchor(4, "0" * 64))).faults == ("the anchor at entry 4 is not in this log",)
    await database.close()


async def test_retention_keeps_the_chain_verifiable(url: str) -> None:
    database, log = await written(url)
    assert await log.prune(1003.0, Entry(2000.0, ALICE, "audit.prune", "done")) == 3
    verdict = await log.verify()
    assert (verdict.entries, verdict.head.seq, verdict.faults) == (4, 7, ())
    assert (await log.verify(ChainAnchor(3, (await database.rows(select(state.c.base_hash)))[0][0]))).faults == ()
    assert await log.prune(1003.0, Entry(2000.0, ALICE, "audit.prune", "done")) == 0
    await run(database, delete(audit).where(audit.c.seq == 4))
    assert (await log.verify()).faults != ()
    await database.close()


async def test_a_base_that_was_forged_is_found(url: str) -> None:
    database, log = await written(url)
    await log.prune(1002.0, Entry(2000.0, ALICE, "audit.prune", "done"))
    [third] = await database.rows(select(audit).where(audit.c.seq == 4))
    cut = update(state).values(base_seq=4, base_hash=third.hash, base_mac="00")
    await run(database, delete(audit).where(audit.c.seq <= 4), cut)
    assert (await log.verify()).faults == ("the base left by retention is not authentic",)
    await database.close()


async def test_retention_can_take_everything_but_its_own_entry(url: str) -> None:
    database, log = await written(url)
    assert await log.prune(9999.0, Entry(2000.0, ALICE, "audit.prune", "done")) == 5
    assert (await log.verify()).faults == ()
    await database.close()


async def test_entries_under_a_former_key_hold_and_those_under_a_lost_one_are_counted(url: str) -> None:
    database, _ = await written(url)
    await AuditLog(database, NEWER).record([Entry(3000.0, ALICE, "test", "done")])
    both = await AuditLog(database, NEWER).verify()
    assert (both.entries, both.unkeyed, both.faults) == (7, 0, ())
    lost = await AuditLog(database, {b"n" * 8: b"1" * 32}).verify()
    assert (lost.entries, lost.unkeyed, lost.faults) == (7, 6, ())
    await database.close()


async def test_pages_and_organizations(url: str) -> None:
    database, log = await written(url)
    await log.record([Entry(5000.0, ALICE, "bulk", "done", "acme", str(n)) for n in range(1200)])
    assert [row.seq async for row in log.rows()] == list(range(1, 1207))
    assert {row.organization async for row in log.rows(organization="globex")} == {"globex"}
    assert [row.seq for row in await log.recent("globex", limit=2)] == [5, 3]
    assert [row.seq for row in await log.recent(None, limit=2, before=1200)] == [1199, 1198]
    assert (await log.verify()).faults == ()
    await database.close()


async def test_what_comes_from_outside_cannot_break_a_line(url: str) -> None:
    database, log = await written(url, 0)
    strange = Actor("a\0b\nc\u202e" + "x" * 999, "9" * 999, "\x1b[31m")
    await log.record([Entry(1.0, strange, "test", "done", "o\0", "s\n", {"k": "v\0\n" * 3000})])
    [row] = await log.recent(None)
    shown = json.dumps(as_json(row), ensure_ascii=False)
    assert shown.isprintable()
    assert len(row.actor) == 200
    assert (await log.verify()).faults == ()
    await database.close()


async def test_a_missing_state_row_is_unavailable_not_a_crash(url: str) -> None:
    database, log = await written(url, 1)
    await run(database, text("DELETE FROM state"))
    for attempt in (log.verify, database.versions, lambda: log.record([Entry(1.0, ALICE, "test", "done")])):
        with pytest.raises(StoreUnavailable):
            await attempt()
    await database.close()
