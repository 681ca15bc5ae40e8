"""Key sets (RFC 7517): read from a file or an https URL, kept fresh, within bounds."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import aiohttp
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from sidecar.clock import Clock
from sidecar.errors import ConfigError, SidecarError

if TYPE_CHECKING:
    from sidecar.admin.jws import PublicKey

MAX_BYTES: Final = 256 * 1024
MAX_KEYS: Final = 64
TIMEOUT: Final = 5.0
_JSON_ONLY: Final = {"Accept": "application/json"}
PAUSE: Final = 10.0  # seconds between two readings that tokens with unknown keys ask for
MIN_RSA: Final = 2048  # RFC 7518 §3.3
MAX_RSA: Final = 8192  # more would only cost time

# Only the parts of the public key: private parts that were published by mistake are not loaded.
_MEMBERS: Final[Mapping[str, tuple[str, ...]]] = {
    "RSA": ("kty", "n", "e"),
    "EC": ("kty", "crv", "x", "y"),
    "OKP": ("kty", "crv", "x"),
}
_CURVES: Final[Mapping[str, str]] = {"EC": "P-256", "OKP": "Ed25519"}
_ALGORITHMS: Final[Mapping[str, tuple[str, ...]]] = {
    "RSA": ("RS256",),
    "EC": ("ES256",),
    "OKP": ("EdDSA", "Ed25519"),
}


_log = logging.getLogger(__name__)


class KeySetError(SidecarError):
    """A key set cannot be read now."""


class KeySet:
    """Keys of one source. Old ones stay in use while a new reading fails, but no longer than `keep`.

    `read` fetches the document. `keep_fresh` reads every `refresh` seconds, and when a token named an
    unknown key; who can wait for that asks `renew`. One reading runs at a time, and at most one in `PAUSE`.
    """

    def __init__(
        self, read: Callable[[], Awaitable[bytes]], clock: Clock, *, refresh: float = 600.0, keep: float = 3600.0
    ) -> None:
        self._read = read
        self._clock = clock
        self._refresh = refresh
        self._keep = refresh + keep
        self._keys: dict[str, list[tuple[str, PublicKey]]] = {}
        self._read_at = -self._keep - 1
        self._tried_at = -PAUSE
        self._reading = asyncio.Lock()
        self._wanted = asyncio.Event()
        self._failing = False
        self._empty = False
        self.generation = 0

    def find(self, kid: str | None, key_type: str) -> Sequence[PublicKey]:
        """Return the keys of a type: the one with that id, or all when the token names none."""
        if self._clock.monotonic() - self._read_at > self._keep:
            return ()  # what may have been revoked an hour ago signs nothing any more
        found = [key for name, key in self._keys.get(key_type, ()) if kid is None or name in (kid, "")]
        if not found:
            self._wanted.set()
        return found

    async def renew(self) -> bool:
        """Read the set again, if that was not tried just now; return whether it was read."""
        async with self._reading:
            now = self._clock.monotonic()
            if now - self._tried_at < PAUSE:
                return False
            self._tried_at = now
            try:
                self._keys = parse_keys(await self._read())
            except KeySetError as error:
                if not self._failing:
                    self._failing = True
                    _log.warning(
                        "%s; keys that are known are used for %d seconds after they were read", error, self._keep
                    )
                return False
            if self._failing:
                self._failing = False
                _log.warning("the key set is read again")
            if not self._keys and not self._empty:
                _log.warning("the key set holds no key for RS256, ES256 or EdDSA: every token of it is refused")
            self._empty = not self._keys
            self._read_at = now
            self.generation += 1
            return True

    async def keep_fresh(self) -> None:
        """Renew for ever, sooner when a token named an unknown key; to be run as a task."""
        while True:
            if await self.renew():
                self._wanted.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wanted.wait(), self._refresh)
            else:
                await asyncio.sleep(min(self._refresh, PAUSE))


def from_file(path: Path) -> Callable[[], Awaitable[bytes]]:
    """Return a reader of a file."""

    async def read() -> bytes:
        return await asyncio.to_thread(_read_file, path)

    return read


def from_url(url: str) -> Callable[[], Awaitable[bytes]]:
    """Return a reader of a URL: https, or http on this machine. ConfigError for any other."""
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(parts.hostname or "")):
        raise ConfigError(f"a key set comes over https: {url} does not")
    if not parts.hostname or parts.username is not None:
        raise ConfigError("the URL of a key set names a host and no user")

    async def read() -> bytes:
        # A session for each reading: they are minutes apart, and no connection, cookie or redirect outlives one.
        timeout = aiohttp.ClientTimeout(total=TIMEOUT)
        # In a thread: it reads the system's authorities. Not aiohttp's own context: a running sidecar drops that.
        trusted = await asyncio.to_thread(ssl.create_default_context)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as session,
                session.get(url, ssl=trusted, allow_redirects=False, headers=_JSON_ONLY) as response,
            ):
                if response.status != 200:
                    raise KeySetError(f"the key set's server answered {response.status}")
                return await _bounded(response)
        except (aiohttp.ClientError, TimeoutError, OSError):
            raise KeySetError("the key set cannot be fetched") from None

    return read


def parse_keys(document: bytes) -> dict[str, list[tuple[str, PublicKey]]]:
    """Return the usable signature keys by type, each with its id. What is unfit is left out (RFC 7517 §5)."""
    try:
        keys = json.loads(document)["keys"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise KeySetError("the key set is not one") from None
    if not isinstance(keys, list):
        raise KeySetError("the key set is not one")
    found: dict[str, list[tuple[str, PublicKey]]] = {}
    for entry in keys[:MAX_KEYS]:
        key = _key(entry) if isinstance(entry, dict) else None
        if key is not None:
            kid = entry.get("kid")
            found.setdefault(entry["kty"], []).append((kid if isinstance(kid, str) else "", key))
    return found


def _key(entry: Mapping[str, Any]) -> PublicKey | None:
    key_type = entry.get("kty")
    members = _MEMBERS.get(key_type) if isinstance(key_type, str) else None
    if key_type is None or members is None or not _is_for_signatures(entry, key_type):
        return None
    public: Any = {name: entry.get(name) for name in members}
    try:
        if key_type == "RSA":
            return RSAKey.import_key(public) if _is_large_enough(public["n"]) else None
        return ECKey.import_key(public) if key_type == "EC" else OKPKey.import_key(public)
    except (JoseError, ValueError, TypeError, AttributeError):
        return None


def _is_for_signatures(entry: Mapping[str, Any], key_type: str) -> bool:
    operations = entry.get("key_ops")
    return (
        entry.get("use", "sig") == "sig"
        and (operations is None or (isinstance(operations, list) and "verify" in operations))
        and entry.get("alg") in (None, *_ALGORITHMS[key_type])
        and entry.get("crv") == _CURVES.get(key_type)
    )


def _is_large_enough(modulus: Any) -> bool:
    size = int.from_bytes(base64.urlsafe_b64decode(modulus + "=" * (-len(modulus) % 4))).bit_length()
    return MIN_RSA <= size <= MAX_RSA


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _read_file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise KeySetError(f"cannot read the key set {path}: {error.strerror}") from None
    return _checked(data)


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    data = bytearray()
    async for chunk in response.content.iter_any():
        data += chunk
        if len(data) > MAX_BYTES:
            break
    return _checked(bytes(data))


def _checked(data: bytes) -> bytes:
    if len(data) > MAX_BYTES:
        raise KeySetError(f"the key set is larger than {MAX_BYTES} bytes")
    return data
