"""The audit log: entries, the seals of its ends, retention, pages. Both databases."""

from __future__ import annotations

import json

import pytest

from sidecar.errors import StoreUnavailable
from sidecar.vault.audit import AuditLog, Entry, as_json
from sidecar.vault.audit_seal import HEAD, Seal
from sidecar.vault.database import Database
from sidecar.vault.models import Actor
from tests.support.audits import KEYS, NEWER, altered, written
from tests.support.vaults import ALICE

PRUNE = Entry(2000.0, ALICE, "audit.prune", "done")


async def test_the_head_is_sealed_with_count_and_time(url: str) -> None:
    database, log = await written(url)
    head = await log.head()
    assert (head.place.seq, head.entries, head.at, head.key_id) == (6, 6, 1_005_000, (b"k" * 8).hex())
    assert log.keys.holds(HEAD, head)
    assert Seal.parse(str(head)) == head
    await database.close()


async def test_retention_seals_the_end_it_made_and_names_it(url: str) -> None:
    database, log = await written(url)
    assert await log.prune(1003.0, PRUNE) == 3
    head, base = await log.ends()
    [newest] = await log.recent(None, limit=1)
    assert (base.place.seq, base.entries, base.at) == (3, 3, 2_000_000)
    assert json.loads(newest["detail"]) == {"removed": 3, "through": 3, "hash": base.place.hash}
    assert (head.place.seq, head.entries) == (7, 4)
    assert await log.prune(1003.0, PRUNE) == 0
    assert await log.prune(9999.0, PRUNE) == 3  # a youngest entry always stays
    await database.close()


CONTINUED = [
    pytest.param("UPDATE state SET head_at = 1005001", "forged", id="another time"),
    pytest.param(
        "UPDATE state SET head_key_id = '', head_mac = ''",
        "unsealed",
        id="the seal taken away",
    ),
    pytest.param(f"UPDATE state SET head_key_id = '{'00' * 8}'", "unknown key", id="an unknown key"),
]


@pytest.mark.parametrize(("statement", "why"), CONTINUED)
async def test_an_end_that_is_not_authentic_is_not_sealed_without_a_word(url: str, statement: str, why: str) -> None:
    database, log = await written(url)
    await altered(database, statement)
    await log.record([Entry(3000.0, ALICE, "test", "done")])
    told = [row["action"] for row in await log.recent(None, limit=2)]
    assert told == ["test", "audit.continued"]
    [_, entry] = await log.recent(None, limit=2)
    assert json.loads(entry["detail"])["why"] == why
    await log.record([Entry(3001.0, ALICE, "test", "done")])
    assert (await log.head()).place.seq == 9  # told once
    await database.close()


async def test_a_log_under_a_new_key_goes_on_after_a_known_one_without_more(url: str) -> None:
    database, _ = await written(url)
    newer = AuditLog(database, NEWER)
    await newer.begin(2500.0)
    await newer.record([Entry(3000.0, ALICE, "test", "done")])
    assert (await newer.head()).place.seq == 7
    await database.close()


async def test_pages_and_organizations(url: str) -> None:
    database, log = await written(url)
    await log.record([Entry(5000.0, ALICE, "bulk", "done", "acme", str(n)) for n in range(1200)])
    assert [row["seq"] async for row in log.rows()] == list(range(1, 1207))
    assert {row["organization"] async for row in log.rows(organization="globex")} == {"globex"}
    assert [row["seq"] async for row in log.rows(after=3, through=7, actions=("bulk", "nothing"))] == [7]
    assert [row["seq"] for row in await log.recent("globex", limit=2)] == [5, 3]
    assert [row["seq"] for row in await log.recent(None, limit=2, before=1200)] == [1199, 1198]
    await database.close()


async def test_what_comes_from_outside_cannot_break_a_line(url: str) -> None:
    database, log = await written(url, 0)
    strange = Actor("a\0b\nc\u202e" + "x" * 999, "9" * 999, "\x1b[31m")
    await log.record([Entry(1.0, strange, "test", "done", "o\0", "s\n", {"k": "v\0\n" * 3000})])
    [row] = await log.recent(None)
    shown = json.dumps(as_json(row), ensure_ascii=False)
    assert shown.isprintable()
    assert len(row["actor"]) == 200
    assert log.is_authentic(row)
    await database.close()


async def test_a_missing_state_row_is_unavailable_not_a_crash(url: str) -> None:
    database, log = await written(url, 1)
    await altered(database, "DELETE FROM state")
    for attempt in (log.head, database.versions, lambda: log.record([Entry(1.0, ALICE, "test", "done")])):
        with pytest.raises(StoreUnavailable):
            await attempt()
    await database.close()


async def test_keys_are_named_in_hex(url: str) -> None:
    database = await Database.open(url)
    assert AuditLog(database, KEYS).keys.current == "6b" * 8
    await database.close()
