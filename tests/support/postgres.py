"""A real PostgreSQL for a test run: a cluster of its own in a temporary folder, on a free port."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.support.processes import Process, free_port
from tests.support.tools import need

LOCALE = {"LC_ALL": "C.UTF-8"}
READY = "database system is ready to accept connections"


class Postgres:
    """A running server with one database; `database()` empties it and returns its URL."""

    def __init__(self, binaries: Path, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder
        self._argv = [
            *_unprivileged(folder),
            str(binaries / "postgres"),
            *("-D", str(folder / "data"), "-p", str(self.port), "-k", str(folder), "-h", "127.0.0.1"),
            # Power does not fail in a test; what is killed in it is our own process.
            *("-c", "fsync=off", "-c", "shared_buffers=16MB", "-c", "max_connections=100"),
        ]
        self._process = Process(self._argv, env=LOCALE).until_output(READY)

    def database(self) -> str:
        asyncio.run(self._empty())
        return self._url

    @property
    def _url(self) -> str:
        return f"postgresql://tester@127.0.0.1:{self.port}/postgres"

    def stop(self) -> None:
        """End it without waiting for clients to leave."""
        if self._process.exit_code is None:
            self._process.signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(10)
        self._process.stop()

    def start(self) -> None:
        """Run it again on the same data and port."""
        self._process = Process(self._argv, env=LOCALE).until_output(READY)

    async def _empty(self) -> None:
        import asyncpg

        connection = await asyncpg.connect(self._url)
        try:
            # What a killed program left open would hold its locks for a moment more.
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
            )
            await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        finally:
            await connection.close()


@contextlib.contextmanager
def postgres() -> Iterator[Postgres]:
    """Make a cluster, run it, and leave nothing behind."""
    binaries = Path(need("initdb")).parent
    folder = Path(tempfile.mkdtemp(prefix="vault-postgres-"))
    try:
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(folder, user.pw_uid, user.pw_gid)
        initdb = [
            str(binaries / "initdb"),
            "-D",
            str(folder / "data"),
            "-U",
            "tester",
            "-A",
            "trust",
            "--no-sync",
            "-E",
            "UTF8",
        ]
        subprocess.run(
            [*_unprivileged(folder), *initdb], check=True, capture_output=True, env={**os.environ, **LOCALE}, timeout=60
        )
        server = Postgres(binaries, folder)
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unprivileged(folder: Path) -> list[str]:
    """PostgreSQL refuses to run as root: become the folder's owner."""
    if os.geteuid() != 0:
        return []
    owner = folder.stat()
    return [need("setpriv"), f"--reuid={owner.st_uid}", f"--regid={owner.st_gid}", "--clear-groups", "--"]
