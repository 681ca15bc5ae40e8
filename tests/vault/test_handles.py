"""Handles: stored and signed ones, what they are bound to, how they end. Both databases."""

from __future__ import annotations

import base64
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.vault.errors import HandleRefused, Invalid, NotFound, VaultError
from sidecar.vault.handles import Handles
from sidecar.vault.models import Grant
from sidecar.vault.signed_handle import Signer
from tests.support.clock import FakeClock
from tests.support.vaults import ALICE, open_vault

NOW = FakeClock().now()
SESSION = "ab" * 32
OTHER_SESSION = "cd" * 32


async def cause(book: Handles, token: str, provider: str = "openai", now: float = NOW) -> str:
    """Return why a handle is refused, or `fine`."""
    try:
        await book.resolve(token, provider, now)
    except HandleRefused as refused:
        return refused.cause if str(refused) == "this handle is not valid" else "talkative"
    return "fine"


async def test_a_stored_handle_grants_what_it_was_made_for(url: str) -> None:
    async with open_vault(url) as vault:
        token, made = await vault.handles.create(ALICE, "acme", "openai", expires_at=NOW + 60, name="ci")
        assert re.fullmatch(r"phk_[A-Za-z0-9_-]{43}", token.reveal())
        grant = Grant("acme", "openai", "", int(NOW) + 60, made.id)
        assert vault.handles.check(token.reveal(), "openai", NOW) is None
        assert await vault.handles.resolve(token.reveal(), "openai", NOW) == grant
        assert vault.handles.check(token.reveal(), "openai", NOW) == grant
        assert await vault.handles.list("acme") == [made]
        assert await vault.handles.list("globex") == []
        [row] = await vault._database.rows("SELECT * FROM handles")
        assert token.reveal() not in str(row)
        assert token.reveal() not in repr((token, made))


async def test_a_handle_is_worthless_elsewhere_and_later(url: str) -> None:
    async with open_vault(url) as vault:
        token, _ = await vault.handles.create(ALICE, "acme", "openai", expires_at=NOW + 60)
        text = token.reveal()
        assert await cause(vault.handles, text, "anthropic") == "provider"
        assert await cause(vault.handles, text, now=NOW + 59.9) == "fine"
        assert await cause(vault.handles, text, now=int(NOW) + 60) == "expired"
        assert await cause(vault.handles, text[:-1] + ("A" if text[-1] != "A" else "B")) == "unknown"
        assert await cause(vault.handles, "sk-real-key-0123456789") == "unknown"
        assert await cause(vault.handles, "phk_\ud800") == "unknown"


async def test_a_revoked_handle_stops_at_once(url: str) -> None:
    async with open_vault(url) as vault:
        token, made = await vault.handles.create(ALICE, "acme", "openai", expires_at=NOW + 60)
        await vault.handles.resolve(token.reveal(), "openai", NOW)
        with pytest.raises(NotFound):
            await vault.handles.revoke(ALICE, "globex", made.id)
        revoked = await vault.handles.revoke(ALICE, "acme", made.id)
        assert revoked.revoked_at == NOW
        assert await cause(vault.handles, token.reveal()) == "revoked"
        assert await cause(vault.handles, token.reveal()) == "revoked"
        assert [(row["action"], row["outcome"]) async for row in vault.audit.rows()] == [
            ("handle.create", "done"),
            ("handle.revoke", "refused"),
            ("handle.revoke", "done"),
        ]


async def test_unknown_handles_ask_the_database_once_in_a_while() -> None:
    async with open_vault("sqlite://") as vault:
        token = "phk_" + "A" * 43
        assert await cause(vault.handles, token) == "unknown"
        with pytest.raises(HandleRefused):
            vault.handles.check(token, "openai", NOW)
        assert vault.handles.check(token, "openai", NOW + 1) is None


async def test_no_more_handles_are_kept_in_memory_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.vault.handles.MAX_CACHED", 3)
    async with open_vault("sqlite://") as vault:
        for number in range(9):
            await cause(vault.handles, f"phk_{number:043}")
        assert len(vault.handles._known) == 3


async def test_an_organization_has_a_bounded_number_of_handles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.vault.handles.MAX_PER_ORGANIZATION", 2)
    clock = FakeClock()
    async with open_vault("sqlite://", clock=clock) as vault:
        for _ in range(2):
            await vault.handles.create(ALICE, "acme", "openai", expires_at=NOW + 60)
        with pytest.raises(VaultError):
            await vault.handles.create(ALICE, "acme", "openai", expires_at=NOW + 60)
        await vault.handles.create(ALICE, "globex", "openai", expires_at=NOW + 60)
        clock.advance(60)
        await vault.handles.create(ALICE, "acme", "openai", expires_at=NOW + 120)


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"provider": "nobody"}, id="unknown provider"),
        pytest.param({"organization": "*"}, id="everybody"),
        pytest.param({"expires_at": NOW}, id="expired"),
        pytest.param({"session": "a b"}, id="strange session"),
        pytest.param({"name": "x\n"}, id="strange name"),
    ],
)
async def test_a_handle_for_nothing_is_not_made(wrong: dict) -> None:
    asked = {"organization": "acme", "provider": "openai", "expires_at": NOW + 60, **wrong}
    async with open_vault("sqlite://") as vault:
        with pytest.raises(Invalid):
            await vault.handles.create(ALICE, **asked)
        assert await vault.handles.list(None) == []


async def test_a_signed_handle_needs_no_database(url: str) -> None:
    async with open_vault(url) as vault:
        token = vault.handles.mint("acme", "openai", SESSION, NOW, 60)
        assert vault.handles.check(token, "openai", NOW) == Grant("acme", "openai", SESSION, int(NOW) + 60)
        assert await cause(vault.handles, token, "anthropic") == "provider"
        assert await cause(vault.handles, token, now=NOW + 60) == "expired"
        assert vault.handles.mint("acme", "openai", SESSION, NOW) != vault.handles.mint("acme", "openai", SESSION, NOW)


async def test_a_revoked_session_takes_all_its_handles_along(url: str) -> None:
    async with open_vault(url) as vault:
        signed = vault.handles.mint("acme", "openai", SESSION, NOW)
        elsewhere = vault.handles.mint("globex", "openai", SESSION, NOW)
        other = vault.handles.mint("acme", "openai", OTHER_SESSION, NOW)
        stored, _ = await vault.handles.create(ALICE, "acme", "openai", expires_at=NOW + 60, session=SESSION)
        await vault.handles.revoke_session(ALICE, "acme", SESSION)
        await vault.handles.revoke_session(ALICE, "acme", SESSION)
        found = [await cause(vault.handles, token) for token in (signed, elsewhere, other, stored.reveal())]
        assert found == ["revoked", "fine", "fine", "revoked"]
    async with open_vault(url) as vault:
        assert await cause(vault.handles, signed) == "revoked"


async def test_several_sessions_are_revoked_with_one_entry(url: str) -> None:
    async with open_vault(url) as vault:
        tokens = [vault.handles.mint("acme", "openai", name, NOW) for name in (SESSION, OTHER_SESSION, "third")]
        await vault.handles.revoke_sessions(ALICE, "acme", [SESSION, OTHER_SESSION])
        assert [await cause(vault.handles, token) for token in tokens] == ["revoked", "revoked", "fine"]
        (entry,) = await vault.audit.recent("acme")
        assert (entry["action"], entry["detail"]) == ("handle.revoke_session", '{"sessions": 2}')
        with pytest.raises(Invalid):
            await vault.handles.revoke_sessions(ALICE, "acme", ["third", "no key\n"])
        assert await cause(vault.handles, tokens[2]) == "fine"


async def test_signed_handles_survive_a_change_of_the_master_key(url: str) -> None:
    async with open_vault(url, "old") as vault:
        token = vault.handles.mint("acme", "openai", SESSION, NOW)
    async with open_vault(url, "new", "old") as vault:
        assert await cause(vault.handles, token) == "fine"
    async with open_vault(url, "new") as vault:
        assert await cause(vault.handles, token) == "unknown"


SIGNER = Signer({b"k" * 8: b"0" * 32})
TOKEN = SIGNER.mint("acme", "openai", SESSION, 2_000_000_000)


def test_no_bit_of_a_signed_handle_can_be_changed() -> None:
    data = base64.urlsafe_b64decode(TOKEN[6:] + "=" * (-len(TOKEN[6:]) % 4))
    for at in range(len(data)):
        spoiled = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        with pytest.raises(HandleRefused):
            SIGNER.read("phk_1." + base64.urlsafe_b64encode(spoiled).rstrip(b"=").decode())


@given(st.text())
def test_any_text_is_refused_as_a_signed_handle(text: str) -> None:
    with pytest.raises(HandleRefused):
        SIGNER.read("phk_1." + text)


names = st.text(alphabet=st.characters(codec="utf-8"), max_size=60)


@given(names, names, names, st.integers(0, 2**32 - 1))
def test_a_signed_handle_says_what_was_signed(organization: str, provider: str, session: str, ends: int) -> None:
    token = SIGNER.mint(organization, provider, session, ends)
    assert SIGNER.read(token) == Grant(organization, provider, session, ends)


def test_what_does_not_fit_is_not_signed() -> None:
    with pytest.raises(Invalid):
        SIGNER.mint("x" * 256, "openai", "", 1)
