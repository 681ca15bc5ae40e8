"""Run the steps on the connection that the caller already holds a transaction and a lock on."""

from __future__ import annotations

from alembic import context

connection = context.config.attributes["connection"]
# SQLite's DDL is transactional when the transaction is begun by hand, as database.py does;
# Alembic assumes the driver's old behaviour and would leave half a schema after a crash.
context.configure(connection=connection, transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
