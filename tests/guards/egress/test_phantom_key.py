"""Whose call it is, by the handle in it."""

from __future__ import annotations

import asyncio
import base64

import pytest

from sidecar.decision import PASS, Refuse
from sidecar.errors import StoreUnavailable
from sidecar.exchange import Exchange
from sidecar.guards.egress.egress_path import EgressPathGuard
from sidecar.guards.egress.phantom_key import PhantomKeyGuard, handle_in
from sidecar.vault.errors import HandleRefused
from sidecar.vault.models import Grant
from sidecar.vocabulary import Code, Event
from tests.support.exchanges import exchange

TOKEN = "phk_" + "A" * 43
GRANT = Grant("acme", "openai", "ab" * 32, 2_000_000_000)


class Book:
    """Knows one handle."""

    def __init__(self, answer: Grant | Exception = GRANT) -> None:
        self.asked: list[tuple[str, str, float]] = []
        self._answer = answer

    async def resolve(self, token: str, provider: str, now: float) -> Grant:
        self.asked.append((token, provider, now))
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


def check(asked: Exchange, book: Book | None, header: bytes = b"") -> object:
    return asyncio.run(PhantomKeyGuard("openai", header, book).check(asked))


def basic(text: str) -> bytes:
    return b"Basic " + base64.b64encode(text.encode())


@pytest.mark.parametrize(
    ("value", "found"),
    [
        pytest.param(f"Bearer {TOKEN}".encode(), TOKEN, id="bearer"),
        pytest.param(f"BEARER  {TOKEN}".encode(), TOKEN, id="two-blanks"),
        pytest.param(TOKEN.encode(), TOKEN, id="alone"),
        pytest.param(basic(f"me@x.test/token:{TOKEN}"), TOKEN, id="basic-password"),
        pytest.param(basic(f"{TOKEN}:"), TOKEN, id="basic-user"),
        pytest.param(basic("me:sk-real"), "", id="basic-without"),
        pytest.param(b"Basic !!!", "", id="basic-broken"),
        pytest.param(b"Bearer sk-proj-real", "", id="a-real-key"),
        pytest.param(b"sk-proj-real phk_", "", id="a-handle-as-a-comment"),
        pytest.param(b"Bearer", "", id="a-scheme-alone"),
        pytest.param(b"", "", id="nothing"),
        pytest.param(b"Bearer phk_" + b"A" * 3000, "", id="huge"),
        pytest.param(b"Bearer \xff\xfe", "", id="not-ascii"),
    ],
)
def test_a_handle_in_a_header(value: bytes, found: str):
    assert handle_in(value) == found


def test_the_grant_says_whose_call_it_is():
    asked, book = exchange("POST", "/openai/v1/chat/completions", authorization=f"Bearer {TOKEN}"), Book()
    assert check(asked, book) is PASS
    assert book.asked == [(TOKEN, "openai", asked.now)]
    assert (asked.organization, asked.session_key) == ("acme", GRANT.session)
    assert asked.session is not None
    assert (asked.session.key, asked.session.organization) == (GRANT.session, "acme")


@pytest.mark.parametrize(
    ("grant", "key"),
    [
        pytest.param(Grant("acme", "openai", "", 1, "hdl_1"), "hdl_1", id="stored"),
        pytest.param(Grant("acme", "openai", "", 1), "organization:acme", id="signed"),
    ],
)
def test_calls_without_a_session_are_counted_by_their_handle(grant: Grant, key: str):
    asked = exchange(authorization=f"Bearer {TOKEN}")
    assert check(asked, Book(grant)) is PASS
    assert asked.session is not None
    assert (asked.session.key, asked.session_key) == (key, "")


@pytest.mark.parametrize("name", ["x_api_key", "api_key", "x_goog_api_key", "X_Acme_Key"])
def test_every_header_of_a_key_is_read(name: str):
    assert check(exchange(**{name: TOKEN}), Book(), b"x-acme-key") is PASS


REFUSALS = {
    "nothing": ({}, Book(), "missing"),
    "a real key": ({"authorization": "Bearer sk-real-0123456789"}, Book(), "not a handle"),
    "an unknown one": ({"x_api_key": TOKEN}, Book(HandleRefused("unknown")), "unknown"),
    "a revoked one": ({"authorization": f"Bearer {TOKEN}"}, Book(HandleRefused("revoked")), "revoked"),
    "a key in a subprotocol": (
        {"authorization": TOKEN, "Sec_WebSocket_Protocol": "realtime, OpenAI-insecure-api-key.sk-real"},
        Book(),
        "subprotocol",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refusals_say_why_to_the_log_alone(name: str):
    fields, book, reason = REFUSALS[name]
    asked = exchange(**fields)
    detail = {"reason": reason, "provider": "openai"}
    assert check(asked, book) == Refuse(Code.AUTH_FAILED, detail, event=Event.HANDLE_REFUSED)
    assert (asked.organization, asked.session) == ("", None)


@pytest.mark.parametrize(
    "book", [pytest.param(None, id="no-vault"), pytest.param(Book(StoreUnavailable("gone")), id="no-database")]
)
def test_what_cannot_be_looked_up_is_not_let_pass(book: Book | None):
    decision = check(exchange(authorization=f"Bearer {TOKEN}"), book)
    assert isinstance(decision, Refuse)
    assert decision.code is Code.CREDENTIAL_UNAVAILABLE


ALLOWED = r"/openai/v1/files(?:/.*)?"


@pytest.mark.parametrize(
    ("path", "allowed", "passes"),
    [
        pytest.param("/openai/v1/files", ALLOWED, True, id="allowed"),
        pytest.param("/openai/v1/files/a%20b%3A.txt", ALLOWED, True, id="escapes"),
        pytest.param("/openai/v1/files/a..b/...", ALLOWED, True, id="dots-in-names"),
        pytest.param("/openai/v1/files/..", ALLOWED, False, id="up"),
        pytest.param("/openai/v1/files/./x", ALLOWED, False, id="here"),
        pytest.param("/openai/v1/files/%2E%2e/x", ALLOWED, False, id="escaped-up"),
        pytest.param("/openai/v1/files/%5c", ALLOWED, False, id="escaped-backslash"),
        pytest.param("/openai/v1/files/\\x", ALLOWED, False, id="backslash"),
        pytest.param("/openai/v1/files/%0d%0a", ALLOWED, False, id="escaped-line-end"),
        pytest.param("/openai/v1/files/%00", ALLOWED, False, id="escaped-nul"),
        pytest.param("/openai/v1/Files", ALLOWED, False, id="letter-case"),
        pytest.param("/v1/files", ALLOWED, False, id="no-provider"),
        pytest.param("/openai/v1/files", None, False, id="none-allowed"),
    ],
)
def test_paths_are_taken_as_written(path: str, allowed: str | None, passes: bool):
    decision = EgressPathGuard("openai", allowed).check(exchange("GET", path))
    assert decision == (PASS if passes else Refuse(Code.FORBIDDEN, {"reason": "path", "provider": "openai"}))
