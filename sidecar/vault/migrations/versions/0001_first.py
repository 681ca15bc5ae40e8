"""Credentials, handles, the audit log, and the row that everything is locked by."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _text(name: str, size: int, **options: Any) -> sa.Column[str]:
    return sa.Column(name, sa.String(size), nullable=False, **options)


def _number(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=nullable)


def upgrade() -> None:
    op.create_table(
        "credentials",
        _text("id", 40, primary_key=True),
        _text("organization", 128),
        _text("provider", 64),
        _text("name", 64),
        sa.Column("envelope", sa.Text, nullable=False),
        _text("key_id", 16),
        _text("fingerprint", 16),
        _text("last_four", 4),
        sa.Column("hosts", sa.Text, nullable=False),
        _number("expires_at", nullable=True),
        _number("created_at"),
        _number("updated_at"),
        _number("rotated_at", nullable=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.UniqueConstraint("organization", "provider", "name", name="credentials_one_name"),
    )
    op.create_table(
        "handles",
        _text("id", 40, primary_key=True),
        _text("digest", 64, unique=True),
        _text("organization", 128),
        _text("provider", 64),
        _text("session", 128),
        _text("name", 64),
        _number("created_at"),
        _number("expires_at"),
        _number("revoked_at", nullable=True),
    )
    op.create_index("handles_by_organization", "handles", ["organization"])
    op.create_table(
        "revoked_sessions",
        _text("organization", 128, primary_key=True),
        _text("session", 128, primary_key=True),
        _number("until"),
    )
    _audit()
    _state()


def _audit() -> None:
    op.create_table(
        "audit",
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        _number("at"),
        _text("actor", 200),
        _text("address", 64),
        _text("request_id", 128),
        _text("organization", 128),
        _text("action", 64),
        _text("outcome", 16),
        _text("subject", 200),
        sa.Column("detail", sa.Text, nullable=False),
        _text("previous", 64),
        _text("hash", 64),
        _text("key_id", 16),
        _text("mac", 64),
    )
    op.create_index("audit_by_organization", "audit", ["organization", "seq"])


def _state() -> None:
    state = op.create_table(
        "state",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        _number("credentials_version"),
        _number("handles_version"),
        _number("head_seq"),
        _text("head_hash", 64),
        _number("base_seq"),
        _text("base_hash", 64),
        _text("base_key_id", 16),
        _text("base_mac", 64),
    )
    first = {"credentials_version": 0, "handles_version": 0, "head_seq": 0, "head_hash": "0" * 64}
    base = {"base_seq": 0, "base_hash": "0" * 64, "base_key_id": "", "base_mac": ""}
    op.bulk_insert(state, [{"id": 1, **first, **base}])


def downgrade() -> None:
    for table in ("state", "audit", "revoked_sessions", "handles", "credentials"):
        op.drop_table(table)
