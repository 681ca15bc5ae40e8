"""Master keys: which seals, which open, how often a key is derived, how long it is kept."""

from __future__ import annotations

import asyncio

import pytest

from sidecar.errors import ConfigError
from sidecar.secret import Secret
from sidecar.vault.errors import Undecryptable
from sidecar.vault.format import MIN_ITERATIONS, Binding, Payload
from sidecar.vault.keys import MasterKeys
from tests.support import reference
from tests.support.clock import FakeClock
from tests.support.vaults import keys

PLACE = Binding("acme", "crd_1", "openai", 1)
PAYLOAD = Payload(Secret("sk-value"), ("api.openai.com",), None)
LONG = "x" * 32


async def test_fifty_at_once_derive_once() -> None:
    clock = FakeClock()
    sealed = await keys(clock).seal(PLACE, PAYLOAD)
    opener = keys(clock)
    opened = await asyncio.gather(*(opener.unseal(sealed, PLACE) for _ in range(50)))
    assert [payload.value.reveal() for payload in opened] == ["sk-value"] * 50
    assert opener.derivations == 1


async def test_one_who_leaves_does_not_take_the_key_along() -> None:
    clock = FakeClock()
    sealed = await keys(clock).seal(PLACE, PAYLOAD)
    opener = keys(clock)
    leaves = asyncio.create_task(opener.unseal(sealed, PLACE))
    stays = asyncio.create_task(opener.unseal(sealed, PLACE))
    await asyncio.sleep(0)
    leaves.cancel()
    assert (await stays).value.reveal() == "sk-value"
    assert opener.derivations == 1


async def test_a_derived_key_is_kept_for_its_time() -> None:
    clock = FakeClock()
    vault_keys = keys(clock, cache_seconds=60.0)
    sealed = await vault_keys.seal(PLACE, PAYLOAD)
    clock.advance(59)
    await vault_keys.unseal(sealed, PLACE)
    assert vault_keys.derivations == 1
    clock.advance(2)
    await vault_keys.unseal(sealed, PLACE)
    assert vault_keys.derivations == 2


async def test_sweeping_drops_what_is_past_its_time() -> None:
    clock = FakeClock()
    vault_keys = keys(clock, cache_seconds=60.0)
    await vault_keys.seal(PLACE, PAYLOAD)
    vault_keys.sweep()
    assert len(vault_keys._derived) == 1
    clock.advance(60)
    vault_keys.sweep()
    assert len(vault_keys._derived) == 0


async def test_no_more_derived_keys_are_kept_than_allowed() -> None:
    vault_keys = keys(FakeClock(), cache_entries=2)
    for _ in range(4):
        await vault_keys.seal(PLACE, PAYLOAD)
    assert len(vault_keys._derived) == 2


async def test_a_previous_key_opens_and_the_first_seals() -> None:
    clock = FakeClock()
    old = await keys(clock, "old").seal(PLACE, PAYLOAD)
    both = keys(clock, "new", "old")
    assert (await both.unseal(old, PLACE)).value.reveal() == "sk-value"
    new = await both.seal(PLACE, PAYLOAD)
    assert new.key_id == both.sealing.id != old.key_id
    with pytest.raises(Undecryptable):
        await keys(clock, "old").unseal(new, PLACE)


async def test_jwt_secret_seals_only_alone_and_goes_on_opening() -> None:
    clock = FakeClock()
    alone = await MasterKeys.derive(clock, encryption_key=None, jwt_secret=Secret(LONG), iterations=MIN_ITERATIONS)
    sealed = await alone.seal(PLACE, PAYLOAD)
    assert sealed.key_id == reference.key_id(LONG, "JWT_SECRET") != reference.key_id(LONG, "ENCRYPTION_KEY")
    later = await MasterKeys.derive(
        clock, encryption_key=Secret("y" * 32), jwt_secret=Secret(LONG), iterations=MIN_ITERATIONS
    )
    assert later.sealing.id == reference.key_id("y" * 32, "ENCRYPTION_KEY")
    assert (await later.unseal(sealed, PLACE)).value.reveal() == "sk-value"


async def test_jwt_secret_alone_seals_although_previous_keys_stand_before_it() -> None:
    derived = await MasterKeys.derive(
        FakeClock(), encryption_key=None, previous=[Secret("p" * 32)], jwt_secret=Secret(LONG)
    )
    assert derived.sealing.id == reference.key_id(LONG, "JWT_SECRET")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        pytest.param({"encryption_key": None}, "ENCRYPTION_KEY", id="none at all"),
        pytest.param({"encryption_key": Secret("short")}, "ENCRYPTION_KEY is shorter", id="short"),
        pytest.param(
            {"encryption_key": Secret(LONG), "previous": [Secret("p")]}, "PREVIOUS is shorter", id="short previous"
        ),
        pytest.param({"encryption_key": None, "jwt_secret": Secret("j")}, "JWT_SECRET is shorter", id="short jwt"),
        pytest.param({"encryption_key": Secret(LONG), "iterations": 99_999}, "iterations", id="iterations"),
    ],
)
async def test_weak_secrets_do_not_start(given: dict, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as refused:
        await MasterKeys.derive(FakeClock(), **given)
    assert "short'" not in str(refused.value)
