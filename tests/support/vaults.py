"""Vaults for tests: the cheapest iterations that are allowed, master keys derived once a run."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

from sidecar.clock import Clock
from sidecar.secret import Secret
from sidecar.vault.format import MIN_ITERATIONS
from sidecar.vault.keys import Master, MasterKeys, _master
from sidecar.vault.models import Actor
from sidecar.vault.providers import Catalogue
from sidecar.vault.vault import Vault
from tests.support.clock import FakeClock
from tests.support.exchanges import Recorder

ALICE = Actor("alice@example.com", "203.0.113.9", "req-1")
OPENAI_KEY = "sk-test-0123456789abcdefghijklmnopqrstuv"
OTHER_KEY = "sk-test-zyxwvutsrqponmlkjihgfedcba987654"
STRIPE_KEY = "sk_test_0123456789abcdefghijklmn"


@cache
def master(name: str) -> Master:
    return _master(hashlib.sha256(name.encode()).hexdigest().encode())


@cache
def catalogue() -> Catalogue:
    return Catalogue.load(
        {"local": {"header": "X-Key", "scheme": "none", "hosts": ["localhost"], "test": {"path": "/check"}}}
    )


def keys(clock: Clock, *names: str, **options: Any) -> MasterKeys:
    """Return keys by made-up names; the first seals."""
    return MasterKeys([master(name) for name in names or ("first",)], clock, iterations=MIN_ITERATIONS, **options)


@asynccontextmanager
async def open_vault(
    url: str,
    *names: str,
    clock: FakeClock | None = None,
    events: Recorder | None = None,
    watch: bool = False,
    poll: float = 0.02,
    providers: Catalogue | None = None,
) -> AsyncIterator[Vault]:
    """Open a vault and close it; without `watch` nothing happens but what the test does."""
    clock = clock or FakeClock()
    vault = await Vault.open(
        url,
        keys(clock, *names),
        providers or catalogue(),
        clock=clock,
        events=events or Recorder(),
        watch=watch,
        poll=poll,
    )
    try:
        yield vault
    finally:
        await vault.close()


def secret(text: str = OPENAI_KEY) -> Secret:
    return Secret(text)
