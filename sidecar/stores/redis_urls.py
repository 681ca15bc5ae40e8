"""Where Redis is: `redis://`, `rediss://` (TLS), `redis+sentinel://`, `redis+cluster://`.

`rediss+sentinel://` and `rediss+cluster://` are their TLS forms. The forms are in docs/limits.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from redis.asyncio import Connection, Sentinel, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from sidecar.errors import ConfigError
from sidecar.secret import Secret

SCHEMES: Final = ("redis", "rediss", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster")
TLS_OPTIONS: Final = frozenset({"ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname", "ssl_cert_reqs"})
OPTIONS: Final = TLS_OPTIONS | {"db", "sentinel_username", "sentinel_password"}
PORT: Final = 6379
SENTINEL_PORT: Final = 26379


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """A parsed URL. `options` are redis-py's arguments for TLS."""

    kind: str
    hosts: tuple[tuple[str, int], ...]
    tls: bool = False
    username: str | None = None
    password: Secret | None = None
    service: str = ""
    db: int = 0
    options: dict[str, Any] = field(default_factory=dict)
    sentinel_username: str | None = None
    sentinel_password: Secret | None = None

    def credentials(self) -> dict[str, Any]:
        """Return redis-py's arguments for user and password."""
        return _login(self.username, self.password)


def parse_redis_url(url: Secret) -> RedisAddress:
    """Read a URL, or raise ConfigError, whose message never quotes it."""
    try:
        parts = urlsplit(url.reveal())
        query = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
        login, _, places = parts.netloc.rpartition("@")
        kind = parts.scheme.partition("+")[2] or "plain"
        port = SENTINEL_PORT if kind == "sentinel" else PORT
        hosts = tuple(_host(place, port) for place in places.split(","))
        path = [unquote(step) for step in parts.path.split("/") if step]
        service = path.pop(0) if kind == "sentinel" and path else ""
        db = int(query.pop("db", path.pop(0) if path else "0"))
    except ValueError:
        raise ConfigError("REDIS_URL is not a URL; write redis://[user:password@]host:port/db") from None
    if parts.scheme not in SCHEMES:
        raise ConfigError(f"REDIS_URL: its scheme must be one of {', '.join(SCHEMES)}")
    if unknown := sorted(set(query) - OPTIONS):
        raise ConfigError(f"REDIS_URL: {len(unknown)} option(s) are not known; there are {', '.join(sorted(OPTIONS))}")
    if path or (kind == "plain" and len(hosts) != 1) or (kind == "cluster" and db):
        raise ConfigError("REDIS_URL: too much before or after the host; Cluster has no db, one server has one host")
    if kind == "sentinel" and not service:
        raise ConfigError(
            "REDIS_URL: redis+sentinel:// needs the service's name: redis+sentinel://host1,host2/mymaster"
        )
    username, _, password = login.partition(":")
    sentinel_password = query.get("sentinel_password")
    return RedisAddress(
        kind,
        hosts,
        parts.scheme.startswith("rediss"),
        unquote(username) or None,
        Secret(unquote(password)) if password else None,
        service,
        db,
        {name: _value(name, value) for name, value in query.items() if name in TLS_OPTIONS},
        query.get("sentinel_username"),
        Secret(sentinel_password) if sentinel_password else None,
    )


def connector(target: RedisAddress, timeout: float) -> Callable[[], Awaitable[Connection]]:
    """Return what makes one connection to the server, or to whom the sentinels name as the primary."""

    async def direct() -> Connection:
        return await _connect(target, *target.hosts[0])

    async def by_sentinel() -> Connection:
        return await _connect(target, *await _primary(target, timeout))

    return by_sentinel if target.kind == "sentinel" else direct


async def _connect(target: RedisAddress, host: str, port: int) -> Connection:
    kind = SSLConnection if target.tls else Connection
    connection = kind(host=host, port=port, db=target.db, **patience(None), **target.credentials(), **target.options)
    try:
        await connection.connect()  # type: ignore[no-untyped-call]
    except BaseException:
        connection._close()  # type: ignore[no-untyped-call]  # noqa: SLF001  # closes at once; the other side may never answer
        raise
    return connection


async def _primary(target: RedisAddress, patient: float) -> tuple[str, int]:
    """Ask all sentinels at once: one that is gone must not use up the time of the others."""
    login = _login(target.sentinel_username, target.sentinel_password)
    tls = {"ssl": True, **target.options} if target.tls else {}
    asked = [
        Sentinel([host], sentinel_kwargs={**patience(patient), **login, **tls})  # type: ignore[no-untyped-call]
        for host in target.hosts
    ]
    tasks = [asyncio.create_task(sentinel.discover_master(target.service)) for sentinel in asked]
    try:
        error: BaseException | None = None
        for task in asyncio.as_completed(tasks):
            try:
                host, port = await task
                return str(host), int(port)
            except Exception as failed:  # noqa: BLE001  # another sentinel may know
                error = failed
        raise error or ConnectionError("no sentinel")
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for sentinel in asked:
            await sentinel.sentinels[0].aclose()


def patience(timeout: float | None) -> dict[str, Any]:
    """Return redis-py's arguments for: no retry, this timeout, no CLIENT SETINFO."""
    return {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
        "driver_info": None,
    }


def _login(username: str | None, password: Secret | None) -> dict[str, Any]:
    return {"username": username, "password": password.reveal() if password else None}


def _host(place: str, port: int) -> tuple[str, int]:
    parts = urlsplit(f"//{place}")
    if not parts.hostname:
        raise ValueError(place)
    return parts.hostname, parts.port or port


def _value(name: str, value: str) -> str | bool:
    return value.lower() in {"true", "1", "yes"} if name == "ssl_check_hostname" else value
