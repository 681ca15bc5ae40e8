"""The tables, as SQLAlchemy sees them. Migrations make them; a test compares the two.

Times are integers: milliseconds since the epoch, but `expires_at`, which is whole seconds.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, String, Table, Text, UniqueConstraint

REVISION: Final = "0001"
METADATA: Final = MetaData()

credentials: Final = Table(
    "credentials",
    METADATA,
    Column("id", String(40), primary_key=True),
    Column("organization", String(128), nullable=False),
    Column("provider", String(64), nullable=False),
    Column("name", String(64), nullable=False),
    Column("envelope", Text, nullable=False),
    Column("key_id", String(16), nullable=False),
    Column("fingerprint", String(16), nullable=False),
    Column("last_four", String(4), nullable=False),
    Column("hosts", Text, nullable=False),
    Column("expires_at", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("rotated_at", BigInteger),
    Column("version", Integer, nullable=False),
    UniqueConstraint("organization", "provider", "name", name="credentials_one_name"),
)

handles: Final = Table(
    "handles",
    METADATA,
    Column("id", String(40), primary_key=True),
    Column("digest", String(64), nullable=False, unique=True),
    Column("organization", String(128), nullable=False),
    Column("provider", String(64), nullable=False),
    Column("session", String(128), nullable=False),
    Column("name", String(64), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("revoked_at", BigInteger),
    Index("handles_by_organization", "organization"),
)

revoked_sessions: Final = Table(
    "revoked_sessions",
    METADATA,
    Column("organization", String(128), primary_key=True),
    Column("session", String(128), primary_key=True),
    Column("until", BigInteger, nullable=False),
)

audit: Final = Table(
    "audit",
    METADATA,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("actor", String(200), nullable=False),
    Column("address", String(64), nullable=False),
    Column("request_id", String(128), nullable=False),
    Column("organization", String(128), nullable=False),
    Column("action", String(64), nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("subject", String(200), nullable=False),
    Column("detail", Text, nullable=False),
    Column("previous", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    Column("key_id", String(16), nullable=False),
    Column("mac", String(64), nullable=False),
    Index("audit_by_organization", "organization", "seq"),
)

# One row. Every write locks it first, so writers stand in one line and the chain has one end.
# The versions tell other replicas that something changed; head and base are the ends of the chain.
state: Final = Table(
    "state",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("credentials_version", BigInteger, nullable=False),
    Column("handles_version", BigInteger, nullable=False),
    Column("head_seq", BigInteger, nullable=False),
    Column("head_hash", String(64), nullable=False),
    Column("base_seq", BigInteger, nullable=False),
    Column("base_hash", String(64), nullable=False),
    Column("base_key_id", String(16), nullable=False),
    Column("base_mac", String(64), nullable=False),
)
