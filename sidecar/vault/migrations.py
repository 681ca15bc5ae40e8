"""The schema, as a list of revisions that follow each other. Both databases take the same statements.

Times are integers: milliseconds since the epoch, but `expires_at` and `until`, which are whole seconds.
The table `state` has one row. Every write locks it first, so writers are in one line and the audit
log has one end. Its versions tell other replicas that something changed; `head_…` and `base_…` are the
sealed ends of the audit log (audit_seal.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

from sidecar.errors import ConfigError

REVISIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "0001": (
        """
        CREATE TABLE credentials (
            id VARCHAR(40) NOT NULL PRIMARY KEY,
            organization VARCHAR(128) NOT NULL,
            provider VARCHAR(64) NOT NULL,
            name VARCHAR(64) NOT NULL,
            envelope TEXT NOT NULL,
            key_id VARCHAR(16) NOT NULL,
            fingerprint VARCHAR(16) NOT NULL,
            last_four VARCHAR(4) NOT NULL,
            hosts TEXT NOT NULL,
            expires_at BIGINT,
            created_at BIGINT NOT NULL,
            updated_at BIGINT NOT NULL,
            rotated_at BIGINT,
            version INTEGER NOT NULL,
            CONSTRAINT credentials_one_name UNIQUE (organization, provider, name)
        )
        """,
        """
        CREATE TABLE handles (
            id VARCHAR(40) NOT NULL PRIMARY KEY,
            digest VARCHAR(64) NOT NULL UNIQUE,
            organization VARCHAR(128) NOT NULL,
            provider VARCHAR(64) NOT NULL,
            session VARCHAR(128) NOT NULL,
            name VARCHAR(64) NOT NULL,
            created_at BIGINT NOT NULL,
            expires_at BIGINT NOT NULL,
            revoked_at BIGINT
        )
        """,
        "CREATE INDEX handles_by_organization ON handles (organization)",
        """
        CREATE TABLE revoked_sessions (
            organization VARCHAR(128) NOT NULL,
            session VARCHAR(128) NOT NULL,
            until BIGINT NOT NULL,
            PRIMARY KEY (organization, session)
        )
        """,
        """
        CREATE TABLE audit (
            seq BIGINT NOT NULL PRIMARY KEY,
            at BIGINT NOT NULL,
            actor VARCHAR(200) NOT NULL,
            address VARCHAR(64) NOT NULL,
            request_id VARCHAR(128) NOT NULL,
            organization VARCHAR(128) NOT NULL,
            action VARCHAR(64) NOT NULL,
            outcome VARCHAR(16) NOT NULL,
            subject VARCHAR(200) NOT NULL,
            detail TEXT NOT NULL,
            previous VARCHAR(64) NOT NULL,
            hash VARCHAR(64) NOT NULL,
            key_id VARCHAR(16) NOT NULL,
            mac VARCHAR(64) NOT NULL
        )
        """,
        "CREATE INDEX audit_by_organization ON audit (organization, seq)",
        """
        CREATE TABLE state (
            id INTEGER NOT NULL PRIMARY KEY,
            credentials_version BIGINT NOT NULL,
            handles_version BIGINT NOT NULL,
            head_seq BIGINT NOT NULL,
            head_hash VARCHAR(64) NOT NULL,
            base_seq BIGINT NOT NULL,
            base_hash VARCHAR(64) NOT NULL,
            base_key_id VARCHAR(16) NOT NULL,
            base_mac VARCHAR(64) NOT NULL
        )
        """,
        f"INSERT INTO state VALUES (1, 0, 0, 0, '{'0' * 64}', 0, '{'0' * 64}', '', '')",
    ),
    # The ends of the audit log get a seal: count, time, key and MAC. An entry of the audit log gets its format,
    # without a default, so that a replica of the former version, which does not seal, cannot write any more.
    "0002": (
        "ALTER TABLE state RENAME TO state_0001",
        """
        CREATE TABLE state (
            id INTEGER NOT NULL PRIMARY KEY,
            credentials_version BIGINT NOT NULL,
            handles_version BIGINT NOT NULL,
            head_seq BIGINT NOT NULL,
            head_hash VARCHAR(64) NOT NULL,
            head_entries BIGINT NOT NULL,
            head_at BIGINT NOT NULL,
            head_key_id VARCHAR(16) NOT NULL,
            head_mac VARCHAR(64) NOT NULL,
            base_seq BIGINT NOT NULL,
            base_hash VARCHAR(64) NOT NULL,
            base_entries BIGINT NOT NULL,
            base_at BIGINT NOT NULL,
            base_key_id VARCHAR(16) NOT NULL,
            base_mac VARCHAR(64) NOT NULL
        )
        """,
        # What stood in base_mac was the MAC of an entry: no seal.
        """
        INSERT INTO state SELECT id, credentials_version, handles_version,
            head_seq, head_hash, head_seq - base_seq, 0, '', '', base_seq, base_hash, 0, 0, '', ''
        FROM state_0001
        """,
        "DROP TABLE state_0001",
        "ALTER TABLE audit RENAME TO audit_0001",
        """
        CREATE TABLE audit (
            seq BIGINT NOT NULL PRIMARY KEY,
            at BIGINT NOT NULL,
            actor VARCHAR(200) NOT NULL,
            address VARCHAR(64) NOT NULL,
            request_id VARCHAR(128) NOT NULL,
            organization VARCHAR(128) NOT NULL,
            action VARCHAR(64) NOT NULL,
            outcome VARCHAR(16) NOT NULL,
            subject VARCHAR(200) NOT NULL,
            detail TEXT NOT NULL,
            previous VARCHAR(64) NOT NULL,
            hash VARCHAR(64) NOT NULL,
            key_id VARCHAR(16) NOT NULL,
            mac VARCHAR(64) NOT NULL,
            format INTEGER NOT NULL
        )
        """,
        """
        INSERT INTO audit SELECT seq, at, actor, address, request_id, organization, action, outcome, subject, detail,
            previous, hash, key_id, mac, 1
        FROM audit_0001
        """,
        "DROP TABLE audit_0001",
        "CREATE INDEX audit_by_organization ON audit (organization, seq)",
        "CREATE INDEX audit_by_action ON audit (action, seq)",
    ),
    # What models have cost, by day and organization (costs.py). An empty organization: all that had no row of its own.
    "0003": (
        """
        CREATE TABLE costs (
            day VARCHAR(10) NOT NULL,
            organization VARCHAR(128) NOT NULL,
            requests BIGINT NOT NULL,
            given BIGINT NOT NULL,
            made BIGINT NOT NULL,
            nano BIGINT NOT NULL,
            unpriced BIGINT NOT NULL,
            PRIMARY KEY (day, organization)
        )
        """,
    ),
}
NEWEST: Final = max(REVISIONS)


class MigratedConnection(Protocol):
    """What migrating needs of a connection inside a transaction."""

    async def run(self, statement: str, *values: Any) -> int:
        """Execute a statement; return how many rows it touched."""
        ...

    async def rows(self, statement: str, *values: Any) -> list[dict[str, Any]]:
        """Execute a query and return all of its rows."""
        ...


async def upgrade(connection: MigratedConnection, *, to: str = NEWEST) -> None:
    """Bring the schema up to date in the caller's transaction."""
    # The table's name is that of the tool which made the first databases.
    await connection.run("CREATE TABLE IF NOT EXISTS alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
    rows = await connection.rows("SELECT version_num FROM alembic_version")
    found = str(rows[0]["version_num"]) if rows else ""
    if found > NEWEST:
        raise ConfigError("the database was made by a newer version of this program")
    for revision, statements in REVISIONS.items():
        if found < revision <= to:
            for statement in statements:
                await connection.run(statement)
            await connection.run("DELETE FROM alembic_version")
            await connection.run("INSERT INTO alembic_version VALUES (?)", revision)
