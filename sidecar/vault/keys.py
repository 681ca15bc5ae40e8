"""Master keys, and the keys derived from them.

A master's secret never leaves this file. Below it are: the key of each entry (PBKDF2 with the
entry's own salt) and one root per master (PBKDF2 with a fixed salt), whose subkeys name the master,
sign handles, authenticate the audit log and make fingerprints. Deriving the root
costs as much as deriving an entry's key, so none of those is a cheaper way to guess the secret.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from sidecar.clock import Clock
from sidecar.errors import ConfigError
from sidecar.secret import Secret
from sidecar.vault import cipher
from sidecar.vault.errors import Undecryptable
from sidecar.vault.format import KEY_ID_SIZE, MAX_ITERATIONS, MIN_ITERATIONS, Binding, Envelope, Payload

MIN_SECRET: Final = 32  # bytes: 256 bits, when they are random
MAX_PREVIOUS: Final = 16
JWT_LABEL: Final = b"sidecar vault: master secret from JWT_SECRET"
ROOT_SALT: Final = b"sidecar vault: root"
ROOT_ITERATIONS: Final = 600_000
NICE: Final = 5


@dataclass(frozen=True, slots=True, repr=False)
class Master:
    """One master secret with its root. `id` names it in an envelope."""

    id: bytes
    password: bytes
    root: bytes


class MasterKeys:
    """The keys that this process has: one seals, all open. Made by `MasterKeys.derive`."""

    def __init__(
        self,
        masters: Sequence[Master],
        clock: Clock,
        *,
        iterations: int = cipher.DEFAULT_ITERATIONS,
        cache_entries: int = 256,
        cache_seconds: float = 300.0,
        threads: int = 2,
    ) -> None:
        if not MIN_ITERATIONS <= iterations <= MAX_ITERATIONS:
            raise ConfigError(f"PBKDF2 iterations must be between {MIN_ITERATIONS} and {MAX_ITERATIONS}")
        self.sealing = masters[0]
        self.iterations = iterations
        self.derivations = 0  # how often PBKDF2 ran for an entry: what the cache saves shows in it
        self._masters = {master.id: master for master in masters}
        self._names = frozenset(master.id.hex() for master in masters)
        self._clock = clock
        self._entries = cache_entries
        self._seconds = cache_seconds
        self._derived: OrderedDict[tuple[bytes, bytes, int], tuple[float, bytes]] = OrderedDict()
        self._running: dict[tuple[bytes, bytes, int], asyncio.Task[bytes]] = {}
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="vault-kdf", initializer=_be_nice)

    @classmethod
    async def derive(
        cls,
        clock: Clock,
        *,
        encryption_key: Secret | None,
        previous: Sequence[Secret] = (),
        jwt_secret: Secret | None = None,
        iterations: int = cipher.DEFAULT_ITERATIONS,
    ) -> MasterKeys:
        """Build the keys from the environment's secrets; the first of them seals.

        JWT_SECRET is last: it seals only when there is no ENCRYPTION_KEY, and goes on opening
        what it has sealed when one is set later.
        """
        named = [("ENCRYPTION_KEY", encryption_key)] if encryption_key else []
        named += [("ENCRYPTION_KEY_PREVIOUS", secret) for secret in previous[:MAX_PREVIOUS]]
        passwords = [_password(name, secret) for name, secret in named]
        if jwt_secret:
            passwords.append(hmac.digest(_password("JWT_SECRET", jwt_secret), JWT_LABEL, hashlib.sha256))
        if not encryption_key and not jwt_secret:
            raise ConfigError("the vault needs ENCRYPTION_KEY; make one with: openssl rand -base64 48")
        if not encryption_key:
            passwords.insert(0, passwords.pop())
        masters = await asyncio.gather(*(asyncio.to_thread(_master, password) for password in passwords))
        return cls(masters, clock, iterations=iterations)

    def knows(self, key_id: str) -> bool:
        """Return whether an entry under this key id (hex) could open at all."""
        return key_id in self._names

    def subkeys(self, purpose: str) -> dict[bytes, bytes]:
        """Return the key of one purpose under every master's id; the sealing one comes first."""
        return {master.id: cipher.subkey(master.root, purpose) for master in self._masters.values()}

    async def seal(self, binding: Binding, payload: Payload) -> Envelope:
        """Seal under the current master, with a fresh salt and IV."""
        blank = Envelope(self.iterations, self.sealing.id, cipher.new_salt(), b"")
        return cipher.seal(await self._key(blank), blank, binding, payload)

    async def unseal(self, envelope: Envelope, binding: Binding) -> Payload:
        """Return the payload, or raise Undecryptable."""
        return cipher.unseal(await self._key(envelope), envelope, binding)

    def close(self) -> None:
        """Forget the derived keys and let the threads end."""
        self._derived.clear()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _key(self, envelope: Envelope) -> bytes:
        master = self._masters.get(envelope.key_id)
        if master is None:
            raise Undecryptable
        name = (envelope.key_id, envelope.salt, envelope.iterations)
        now = self._clock.monotonic()
        kept = self._derived.get(name)
        if kept is not None and now < kept[0]:
            self._derived.move_to_end(name)
            return kept[1]
        task = self._running.get(name)
        if task is None:
            task = asyncio.create_task(self._derive(name, master.password))
            self._running[name] = task
        # Shielded: one waiter that leaves must not take the key away from the others.
        return await asyncio.shield(task)

    async def _derive(self, name: tuple[bytes, bytes, int], password: bytes) -> bytes:
        try:
            self.derivations += 1
            loop = asyncio.get_running_loop()
            key = await loop.run_in_executor(self._threads, cipher.derive, password, name[1], name[2])
            self._keep(name, key)
            return key
        finally:
            del self._running[name]

    def _keep(self, name: tuple[bytes, bytes, int], key: bytes) -> None:
        self._derived[name] = (self._clock.monotonic() + self._seconds, key)
        self._derived.move_to_end(name)
        while len(self._derived) > self._entries:
            self._derived.popitem(last=False)

    def sweep(self) -> None:
        """Drop what is past its time, so that an unused key does not stay in memory."""
        now = self._clock.monotonic()
        for name in [name for name, (until, _) in self._derived.items() if until <= now]:
            del self._derived[name]


def _be_nice() -> None:
    """Let the loop's thread go first: opening many keys at start must not slow requests down."""
    with contextlib.suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)


def _password(name: str, secret: Secret) -> bytes:
    password = secret.reveal().encode("utf-8", "surrogateescape")  # the bytes of the environment, whatever they are
    if len(password) < MIN_SECRET:
        raise ConfigError(f"{name} is shorter than {MIN_SECRET} bytes; make one with: openssl rand -base64 48")
    return password


def _master(password: bytes) -> Master:
    root = cipher.derive(password, ROOT_SALT, ROOT_ITERATIONS)
    return Master(cipher.subkey(root, "key id")[:KEY_ID_SIZE], password, root)
