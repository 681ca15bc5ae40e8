"""Audit logs for tests: written, altered behind the program's back, and made as the first version made them."""

from __future__ import annotations

import hashlib
import hmac

from sidecar.vault.audit import AuditLog, Entry, chain_hash
from sidecar.vault.audit_seal import GENESIS
from sidecar.vault.database import Database
from sidecar.vault.migrations import upgrade
from tests.support.vaults import ALICE

KEYS = {b"k" * 8: b"0" * 32}
NEWER = {b"n" * 8: b"1" * 32, **KEYS}
KEY_ID = "6b" * 8


async def written(url: str, entries: int = 6) -> tuple[Database, AuditLog]:
    """Return an open database and its log with some entries, of acme and globex in turn."""
    database = await Database.open(url)
    log = AuditLog(database, KEYS)
    for number in range(entries):
        organization = "acme" if number % 2 else "globex"
        await log.record([Entry(1000.0 + number, ALICE, "test", "done", organization, f"s{number}", {"n": number})])
    return database, log


async def altered(database: Database, *statements: str) -> None:
    """Run statements as a writer of the database without the master key would."""
    async with database.write() as write:
        for statement in statements:
            await write.run(statement)


async def written_by_the_first_version(url: str, entries: int = 6) -> None:
    """Make a database of revision 0001 whose entries have MACs over their hashes alone, and no sealed ends."""
    database = await Database.open(url)
    async with database._driver.write() as connection:
        for table in ("state", "audit", "credentials", "handles", "revoked_sessions", "costs", "alembic_version"):
            await connection.run(f"DROP TABLE {table}")
        await upgrade(connection, to="0001")
        previous = GENESIS
        for seq in range(1, entries + 1):
            row = {"seq": seq, "at": seq * 1000, "actor": "a", "address": "", "request_id": "", "organization": "acme"}
            row |= {"action": "test", "outcome": "done", "subject": "", "detail": "{}", "previous": previous}
            row["hash"] = previous = chain_hash(row)
            row |= {"key_id": KEY_ID, "mac": hmac.digest(b"0" * 32, previous.encode(), hashlib.sha256).hex()}
            marks = ", ".join("?" * len(row))
            await connection.run(f"INSERT INTO audit ({', '.join(row)}) VALUES ({marks})", *row.values())
        await connection.run("UPDATE state SET head_seq = ?, head_hash = ?", entries, previous)
    await database.close()
