"""Alembic's folder: run by `sidecar.vault.database` when a database is behind."""
