"""Verification of the audit log: each forgery that a writer to the database can make, and what stays unproven."""

from __future__ import annotations

import asyncio
import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.errors import ConfigError
from sidecar.vault.audit import AuditLog, Entry, chain_hash
from sidecar.vault.audit_seal import Place, Seal
from sidecar.vault.audit_verify import Statement, Verdict, verify
from sidecar.vault.database import Database
from tests.support.audits import KEY_ID, KEYS, NEWER, altered, written, written_by_the_first_version
from tests.support.vaults import ALICE

PRUNE = Entry(2000.0, ALICE, "audit.prune", "done")
LATER = Entry(3000.0, ALICE, "test", "done")


def unproven(verdict: Verdict) -> set[str]:
    return {proof.statement.name for proof in verdict.proofs if not proof.proven}


async def test_an_untouched_log_is_whole(url: str) -> None:
    database, log = await written(url)
    verdict = await verify(log)
    assert (verdict.entries, verdict.retired, verdict.head.place.seq, verdict.faults) == (6, 0, 6, ())
    assert unproven(verdict) == {"PRESENT"}
    anchored = await verify(log, anchors=[verdict.head])
    assert (anchored.faults, unproven(anchored)) == ((), set())
    assert anchored.proofs[-1].why == "through entry 6 (1970-01-01T00:16:45Z)"
    await database.close()


async def test_an_empty_log_is_whole(url: str) -> None:
    database, log = await written(url, 0)
    assert (await verify(log)).faults == ()
    await database.close()


FORGERIES = [
    pytest.param("UPDATE audit SET actor = 'mallory' WHERE seq = 3", ["entry 3: changed"], id="actor"),
    pytest.param("UPDATE audit SET detail = '{}' WHERE seq = 3", ["entry 3: changed"], id="detail"),
    pytest.param("UPDATE audit SET at = 1 WHERE seq = 3", ["entry 3: changed"], id="time"),
    pytest.param("UPDATE audit SET organization = 'x' WHERE seq = 3", ["entry 3: changed"], id="organization"),
    pytest.param(
        "UPDATE audit SET mac = '00' WHERE seq = 3", ["entry 3: not written by a holder of the key"], id="mac"
    ),
    pytest.param(
        f"UPDATE audit SET key_id = '{'ab' * 8}', mac = '{'0' * 64}'",
        [f"entries 1 to 6: under the key '{'ab' * 8}', which is not here"],
        id="all under an unknown key",
    ),
    pytest.param(
        f"UPDATE audit SET key_id = '{'ab' * 8}' WHERE seq = 6",
        [f"entry 6: under the key '{'ab' * 8}', which is not here"],
        id="the last under an unknown key",
    ),
    pytest.param(
        "DELETE FROM audit WHERE seq = 3",
        ["entries 3 to 3: missing", "entry 4: does not follow the entry before it"],
        id="one missing",
    ),
    pytest.param(
        "DELETE FROM audit WHERE seq < 3",
        ["entries 1 to 2: missing", "entry 3: does not follow the entry before it"],
        id="the beginning missing",
    ),
    pytest.param(
        "DELETE FROM audit WHERE seq > 4",
        ["the end is missing: the log went on to entry 6, 4 is the last"],
        id="the end missing",
    ),
    pytest.param("DELETE FROM audit", ["the end is missing: the log went on to entry 6, 0 is the last"], id="all"),
    pytest.param(
        "UPDATE state SET head_at = 1005001",
        ["the end of the log is not authentic"],
        id="another time of the head",
    ),
    pytest.param(
        "UPDATE state SET head_entries = 5",
        ["the end counts 5 entries, there are 6", "the end of the log is not authentic"],
        id="another count of the head",
    ),
]


@pytest.mark.parametrize(("forgery", "faults"), FORGERIES)
async def test_what_was_tampered_with_is_found(url: str, forgery: str, faults: list[str]) -> None:
    database, log = await written(url)
    await altered(database, forgery)
    assert list((await verify(log)).faults) == faults
    await database.close()


HEAD_AT_5 = "UPDATE state SET head_seq = 5, head_entries = 5, head_hash = (SELECT hash FROM audit WHERE seq = 5)"
MAC_OF = "(SELECT mac FROM audit WHERE seq = {})"
BASE_AT_2 = "UPDATE state SET base_seq = 2, base_entries = 2, base_hash = (SELECT hash FROM audit WHERE seq = 2)"
NO_PRUNING = "no entry says that retention removed what was before 2"
CUTS = [
    pytest.param(
        ["DELETE FROM audit WHERE seq = 6", f"{HEAD_AT_5}, head_key_id = '', head_mac = ''"],
        ["the end of the log is not sealed"],
        id="last entry cut, head without a seal",
    ),
    pytest.param(
        ["DELETE FROM audit WHERE seq = 6", HEAD_AT_5],
        ["the end of the log is not authentic"],
        id="last entry cut, seal of another end",
    ),
    pytest.param(
        ["DELETE FROM audit WHERE seq = 6", f"{HEAD_AT_5}, head_key_id = '{'ab' * 8}', head_mac = '{'0' * 64}'"],
        [f"the end of the log is sealed under the key '{'ab' * 8}', which is not here"],
        id="last entry cut, head under an unknown key",
    ),
    pytest.param(
        [f"{HEAD_AT_5}, head_mac = {MAC_OF.format(5)}", "DELETE FROM audit WHERE seq = 6"],
        ["the end of the log is not authentic"],
        id="last entry cut, an entry's MAC as the seal",
    ),
    pytest.param(
        [
            f"{BASE_AT_2}, base_key_id = '{KEY_ID}', base_mac = {MAC_OF.format(2)}",
            "DELETE FROM audit WHERE seq <= 2",
        ],
        ["the base left by retention is not authentic", NO_PRUNING],
        id="first entries cut, base taken from an entry",
    ),
    pytest.param(
        [BASE_AT_2, "DELETE FROM audit WHERE seq <= 2"],
        ["the base left by retention is not sealed", NO_PRUNING],
        id="first entries cut, base without a seal",
    ),
]


@pytest.mark.parametrize(("statements", "faults"), CUTS)
async def test_an_end_that_was_moved_is_found(url: str, statements: list[str], faults: list[str]) -> None:
    database, log = await written(url)
    await altered(database, *statements)
    found = (await verify(log)).faults
    assert [fault for fault in found if "counts" not in fault] == faults
    # It does not become whole by going on, nor by the process that starts next.
    await log.begin(2500.0)
    await log.record([LATER])
    assert (await verify(log)).faults != ()
    await database.close()


async def test_reordered_entries_are_found(url: str) -> None:
    database, log = await written(url)
    moves = [f"UPDATE audit SET seq = {new} WHERE seq = {old}" for old, new in ((2, 99), (5, 2), (99, 5))]
    await altered(database, *moves)
    faults = (await verify(log)).faults
    assert "entry 2: changed" in faults
    assert "entry 5: changed" in faults
    await database.close()


async def test_a_chain_made_without_the_key_is_found(url: str) -> None:
    """A writer of the database alone can make all hashes fit, but no MAC."""
    database, log = await written(url)
    rows = await database.rows("SELECT * FROM audit ORDER BY seq")
    rows[2]["actor"] = "mallory"
    for before, row in zip([None, *rows], rows, strict=False):
        row["previous"] = before["hash"] if before else "0" * 64
        row["hash"] = chain_hash(row)
    async with database.write() as write:
        await write.run("DELETE FROM audit")
        for row in rows:
            await write.insert("audit", row)
        await write.set(head_hash=rows[-1]["hash"])
    assert list((await verify(log)).faults) == [
        *(f"entry {seq}: not written by a holder of the key" for seq in (3, 4, 5, 6)),
        "the end of the log is not authentic",
    ]
    await database.close()


async def test_a_database_put_back_whole_is_found_with_an_anchor_only(url: str) -> None:
    database, log = await written(url, 4)
    before = await log.head()
    await log.record([Entry(1004.0, ALICE, "test", "done"), Entry(1005.0, ALICE, "test", "done")])
    anchor = await log.head()
    async with database.write() as write:
        await write.run("DELETE FROM audit WHERE seq > 4")
        await write.set(**before.columns("head"))
    alone = await verify(log)
    assert (alone.faults, unproven(alone)) == ((), {"PRESENT"})
    put_back = "the log was put back: it had gone on to entry 6"
    assert (await verify(log, anchors=[anchor])).faults == (f"{put_back} (1970-01-01T00:16:45Z)",)
    assert (await verify(log, anchors=[anchor.place])).faults == (put_back,)
    other = Place(4, "0" * 64)
    assert (await verify(log, anchors=[other])).faults == ("the anchor at entry 4 is not in this log",)
    await log.record([LATER, LATER, LATER])  # and going on does not hide it
    assert (await verify(log, anchors=[anchor])).faults == ("the anchor at entry 6 is not in this log",)
    await database.close()


async def test_a_forged_anchor_is_a_fault_of_its_own(url: str) -> None:
    database, log = await written(url)
    head = await log.head()
    forged = Seal(head.place, head.entries, head.at + 1, head.key_id, head.mac)
    assert (await verify(log, anchors=[forged])).faults == ("the anchor at entry 6 is not authentic",)
    await database.close()


async def test_more_anchors_than_can_be_kept_are_refused(url: str) -> None:
    database, log = await written(url, 1)
    with pytest.raises(ConfigError, match="anchors"):
        await verify(log, anchors=(Place(seq, "0" * 64) for seq in range(200_000)))
    await database.close()


async def test_retention_keeps_the_log_verifiable(url: str) -> None:
    database, log = await written(url)
    early = await log.head()
    await log.prune(1003.0, PRUNE)
    verdict = await verify(log, anchors=[early])
    assert (verdict.entries, verdict.head.place.seq, verdict.faults, unproven(verdict)) == (4, 7, (), set())
    await log.prune(9999.0, PRUNE)
    after = await verify(log, anchors=[early])
    assert (after.entries, after.faults) == (2, ())
    await altered(database, "DELETE FROM audit WHERE seq = 7")
    assert (await verify(log)).faults != ()
    await database.close()


async def test_entries_of_retention_cannot_be_cut_with_the_entries(url: str) -> None:
    """The base of an earlier pruning, put back with a later log."""
    database, log = await written(url)
    await log.prune(1002.0, PRUNE)
    _, old = await log.ends()
    await log.prune(1004.0, PRUNE)
    async with database.write() as write:
        await write.set(**old.columns("base"))
    assert (await verify(log)).faults != ()
    await database.close()


async def test_entries_under_a_former_key_hold(url: str) -> None:
    database, _ = await written(url)
    newer = AuditLog(database, NEWER)
    await newer.record([LATER])
    both = await verify(newer)
    assert (both.entries, both.retired, both.faults) == (7, 0, ())
    await database.close()


async def test_a_lost_key_is_a_fault_until_it_is_declared_retired(url: str) -> None:
    database, _ = await written(url)
    only_new = AuditLog(database, {b"n" * 8: b"1" * 32})
    await only_new.begin(2500.0)
    await only_new.record([LATER])
    undeclared = await verify(only_new)
    assert undeclared.faults == (
        f"entries 1 to 6: under the key '{KEY_ID}', which is not here",
        "entry 7: the log went on from an end that was not authentic (unknown key)",
    )
    declared = await verify(only_new, retired=[KEY_ID])
    assert (declared.entries, declared.retired, declared.faults) == (9, 6, ())
    assert unproven(declared) == {"AUTHORS", "PRESENT"}
    # With the key back, all of it is proven.
    assert unproven(await verify(AuditLog(database, NEWER))) == {"PRESENT"}
    await database.close()


async def test_a_retired_key_cannot_be_used_after_the_new_one(url: str) -> None:
    database, _ = await written(url)
    only_new = AuditLog(database, {b"n" * 8: b"1" * 32})
    await only_new.record([LATER, LATER])
    await altered(database, f"UPDATE audit SET key_id = '{KEY_ID}', mac = '{'0' * 64}' WHERE seq = 9")
    faults = (await verify(only_new, retired=[KEY_ID])).faults
    assert faults == (f"entry 9: under the key '{KEY_ID}', which is retired before",)
    await altered(database, f"UPDATE state SET head_key_id = '{KEY_ID}'")
    await only_new.record([LATER])
    faults = (await verify(only_new, retired=[KEY_ID])).faults
    assert "entry 10: the log went on from an end that was not authentic (unknown key)" in faults
    await database.close()


async def test_a_log_of_the_first_version_is_taken_over_once(url: str) -> None:
    await written_by_the_first_version(url)
    database = await Database.open(url)
    log = AuditLog(database, KEYS)
    before = await verify(log)
    assert (before.entries, before.faults, unproven(before)) == (6, (), {"END", "PRESENT"})
    await log.begin(2500.0)
    after = await verify(log)
    assert (after.entries, after.faults, unproven(after)) == (8, (), {"PRESENT"})
    await log.begin(2501.0)
    assert (await log.head()).place.seq == 8
    # What was taken over stays as it was.
    await altered(database, "UPDATE audit SET actor = 'mallory' WHERE seq = 2")
    assert (await verify(log)).faults == ("entry 2: changed",)
    await database.close()


async def test_an_entry_in_the_old_format_cannot_follow_one_in_the_new(url: str) -> None:
    await written_by_the_first_version(url, 3)
    database = await Database.open(url)
    log = AuditLog(database, KEYS)
    await log.begin(2500.0)
    old = await database.rows("SELECT * FROM audit WHERE seq = 3")
    head = await log.head()
    row = {**old[0], "seq": 6, "previous": head.place.hash}
    row["hash"] = chain_hash(row)
    row["mac"] = log.keys._mac(KEY_ID, row["hash"])  # which only an old replica has
    async with database.write() as write:
        await write.insert("audit", row)
        await write.set(head_seq=6, head_hash=row["hash"], head_entries=6, head_key_id="", head_mac="")
    assert (await verify(log)).faults == (
        "entry 6: in the old format, after entries in the new one",
        "the end of the log is not sealed",
    )
    await database.close()


def test_each_statement_has_its_words() -> None:
    assert len({statement.value for statement in Statement}) == len(Statement) == 5


def test_anchors_are_found_in_log_lines() -> None:
    seal = Seal(Place(6, hashlib.sha256(b"").hexdigest()), 6, 1_005_000, KEY_ID, "0" * 64)
    lines = [
        f'{{"event":"AUDIT_ANCHOR","detail":{{"anchor":"{seal}"}}}}',
        "sca1:6:nothing",
        "sca1:1:" + "0" * 64 + ":0:0::",
    ]
    assert list(Seal.find(lines)) == [seal]


COLUMNS = ("seq", "at", "actor", "organization", "action", "detail", "previous", "hash", "key_id", "mac")
ENDS = [f"{end}_{name}" for end in ("head", "base") for name in ("seq", "hash", "entries", "at", "key_id", "mac")]
anywhere = st.integers(1, 9)
TAMPERING = st.lists(
    st.one_of(
        st.tuples(st.just("delete"), anywhere),
        st.tuples(st.just("copy"), anywhere, st.integers(10, 12)),
        st.tuples(st.just("swap"), anywhere, anywhere),
        st.tuples(st.just("value"), anywhere, anywhere, st.sampled_from(COLUMNS)),
        st.tuples(st.just("text"), anywhere, st.sampled_from(COLUMNS[2:]), st.sampled_from(["", "0" * 64, "ab" * 8])),
        st.tuples(st.just("rehash"), anywhere),
        st.tuples(st.just("end"), anywhere, st.sampled_from(["head", "base"])),
        st.tuples(st.just("end value"), st.sampled_from(ENDS), st.sampled_from(ENDS)),
        st.tuples(st.just("unseal"), st.sampled_from(["head", "base"])),
    ),
    min_size=1,
    max_size=6,
)


def tampered(rows: dict[int, dict], state: dict, steps: list[tuple]) -> None:
    """Do what a writer of the database can do with what stands in it, and with hashes that anybody can compute."""
    for step in steps:
        kind, *places = step
        row = rows.get(places[0]) if isinstance(places[0], int) else None
        if isinstance(places[0], int) and row is None:
            continue
        if kind == "delete":
            del rows[places[0]]
        elif kind == "copy":
            rows[places[1]] = {**row, "seq": places[1]}
        elif kind == "swap" and places[1] in rows:
            one, other = rows[places[0]], rows[places[1]]
            rows[places[0]], rows[places[1]] = {**other, "seq": places[0]}, {**one, "seq": places[1]}
        elif kind == "value" and places[1] in rows and places[2] != "seq":
            row[places[2]] = rows[places[1]][places[2]]
        elif kind == "text":
            row[places[1]] = places[2]
        elif kind == "rehash":
            row["previous"] = rows.get(row["seq"] - 1, {"hash": state["base_hash"]})["hash"]
            row["hash"] = chain_hash(row)
        elif kind == "end":
            end = places[1]
            state |= {f"{end}_seq": row["seq"], f"{end}_hash": row["hash"], f"{end}_mac": row["mac"]}
            state["head_entries"] = state["head_seq"] - state["base_seq"]
        elif kind == "end value" and places[0].split("_", 1)[1] == places[1].split("_", 1)[1]:
            state[places[0]] = state[places[1]]
        elif kind == "unseal":
            state |= {f"{places[0]}_key_id": "", f"{places[0]}_mac": ""}


@settings(max_examples=400, deadline=None)
@given(steps=TAMPERING, pruned=st.booleans())
def test_whatever_is_done_to_the_tables_it_is_found_or_undone(steps: list[tuple], pruned: bool) -> None:
    async def run() -> None:
        database, log = await written("sqlite://")
        if pruned:
            await log.prune(1002.0, PRUNE)
        before = [await database.rows("SELECT * FROM audit ORDER BY seq"), await database.rows("SELECT * FROM state")]
        rows, state = {row["seq"]: dict(row) for row in before[0]}, dict(before[1][0])
        tampered(rows, state, steps)
        async with database.write() as write:
            await write.run("DELETE FROM audit")
            for row in rows.values():
                await write.insert("audit", row)
            await write.set(**state)
        faults = (await verify(log)).faults
        after = [await database.rows("SELECT * FROM audit ORDER BY seq"), await database.rows("SELECT * FROM state")]
        await database.close()
        assert bool(faults) == (after != before), (faults, steps)

    asyncio.run(run())
