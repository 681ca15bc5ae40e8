"""The matcher of a vault that changes: a new key is found at once, a large set is read in elsewhere."""

from __future__ import annotations

import asyncio
import random
import string
from collections.abc import Callable

import pytest

from sidecar.errors import Problems
from sidecar.redaction.filters import build_redaction
from sidecar.redaction.known_secrets import InThread, KnownSecretsSource, MatcherGroup
from sidecar.redaction.matcher import SecretMatcher
from sidecar.secret import Secret
from sidecar.vault.models import KnownSecrets

DICE = random.Random(7)
MANY = ["sk-proj-" + "".join(DICE.choices(string.ascii_letters + string.digits, k=48)) for _ in range(1000)]
NEW, NEWER = "sk-proj-one-that-was-added-now", "another-key-0123456789-that-came-later"


class Vault:
    """Keys that change."""

    def __init__(self, *keys: str) -> None:
        self.known = KnownSecrets(1, tuple(map(Secret, keys)))

    def become(self, *keys: str) -> None:
        self.known = KnownSecrets(self.known.generation + 1, tuple(map(Secret, keys)))


class Later:
    """Keeps what is to be done elsewhere until `run`."""

    def __init__(self) -> None:
        self.jobs: list[tuple[Callable[[], SecretMatcher], Callable[[SecretMatcher | None], None]]] = []

    def __call__(self, make: Callable[[], SecretMatcher], use: Callable[[SecretMatcher | None], None]) -> bool:
        self.jobs.append((make, use))
        return True

    def run(self, *, fail: bool = False) -> None:
        make, use = self.jobs.pop(0)
        use(None if fail else make())


def sizes(source: KnownSecretsSource) -> list[int]:
    """Return how many keys each part of the matcher knows."""
    matcher = source.matcher()
    assert isinstance(matcher, SecretMatcher | MatcherGroup)
    return [part.size for part in matcher.parts] if isinstance(matcher, MatcherGroup) else [matcher.size]


def redacted(source: KnownSecretsSource, *keys: str) -> list[bool]:
    """Return for each key whether an answer of each kind is free of it."""
    redaction = build_redaction(None, ("openai",), Problems())
    redaction.know(source.matcher())
    shown = []
    for key in keys:
        found = set()
        for kind, filler in ((b"text/plain", b" "), (b"text/event-stream", b" "), (b"image/png", bytes(600))):
            stream = redaction.filter_for(kind)
            assert stream is not None
            said = b"data: see" + filler + key.encode() + filler + b"\n\n"
            found.add(key.encode() not in b"".join((stream.feed(said[:20]), stream.feed(said[20:]), stream.finish())))
        (clean,) = found
        shown.append(clean)
    return shown


def test_a_new_key_is_found_at_once_and_read_in_with_the_others_later() -> None:
    vault, later = Vault(*MANY), Later()
    source = KnownSecretsSource(lambda: vault.known, later)
    assert sizes(source) == [1000]
    vault.become(*MANY, NEW)
    assert sizes(source) == [1000, 1]
    assert redacted(source, MANY[0], MANY[-1], NEW) == [True] * 3
    later.run()
    assert sizes(source) == [1001]
    assert redacted(source, MANY[0], MANY[-1], NEW) == [True] * 3
    assert later.jobs == []


def test_a_key_that_is_gone_is_found_until_the_others_are_read_in() -> None:
    vault, later = Vault(*MANY[:9], NEW), Later()
    source = KnownSecretsSource(lambda: vault.known, later)
    assert sizes(source) == [10]
    vault.become(*MANY[:9])
    assert sizes(source) == [10]
    assert redacted(source, MANY[0], NEW.replace("sk-", "qq-")) == [True, False]
    assert redacted(source, NEW) == [True]
    later.run()
    assert sizes(source) == [9]
    matcher = source.matcher()
    assert matcher is not None
    assert matcher.scan(NEW.encode(), b"", True)[0] == ()


def test_keys_that_come_while_others_are_read_in_stay_known() -> None:
    vault, later = Vault(*MANY[:9]), Later()
    source = KnownSecretsSource(lambda: vault.known, later)
    source.matcher()
    vault.become(*MANY[:9], NEW)
    source.matcher()
    vault.become(*MANY[:8], NEW, NEWER)
    assert sizes(source) == [9, 1, 1]
    later.run()
    assert sizes(source) == [10, 1]
    assert redacted(source, *MANY[:8], NEW, NEWER) == [True] * 10
    later.run()
    assert sizes(source) == [10]
    assert later.jobs == []


def test_a_reading_that_fails_leaves_what_is_known_and_is_tried_at_the_next_change() -> None:
    vault, later = Vault(*MANY[:9]), Later()
    source = KnownSecretsSource(lambda: vault.known, later)
    source.matcher()
    vault.become(*MANY[:9], NEW)
    source.matcher()
    later.run(fail=True)
    assert sizes(source) == [9, 1]
    vault.become(*MANY[:9], NEW, NEWER)
    assert sizes(source) == [9, 1, 1]
    later.run()
    assert sizes(source) == [11]


@pytest.mark.parametrize(("before", "after"), [(1, 2), (3, 1), (2, 0)])
def test_few_keys_are_read_in_at_once(before: int, after: int) -> None:
    vault, later = Vault(*MANY[:before]), Later()
    source = KnownSecretsSource(lambda: vault.known, later)
    source.matcher()
    vault.become(*MANY[:after])
    assert (sizes(source) if after else source.matcher()) == ([after] if after else None)
    assert later.jobs == []


async def test_the_loop_goes_on_while_a_thousand_keys_are_read_in() -> None:
    vault, thread = Vault(*MANY), InThread(quiet=0)
    source = KnownSecretsSource(lambda: vault.known, thread)
    source.matcher()
    vault.become(*MANY, NEW)
    turns = 0
    while sizes(source) != [1001]:
        assert NEW.encode() not in source_clean(source, NEW)
        await asyncio.sleep(0)
        turns += 1
        assert turns < 1_000_000
    assert turns > 10
    await thread.close()


def source_clean(source: KnownSecretsSource, key: str) -> bytes:
    matcher = source.matcher()
    assert matcher is not None
    hits, _ = matcher.scan(key.encode(), b"", True)
    return b"" if hits else key.encode()


async def test_closing_ends_what_is_read_in() -> None:
    vault, thread = Vault(*MANY[:9]), InThread(quiet=3600)
    source = KnownSecretsSource(lambda: vault.known, thread)
    source.matcher()
    vault.become(*MANY[:9], NEW)
    source.matcher()
    await thread.close()
    assert sizes(source) == [9, 1]
