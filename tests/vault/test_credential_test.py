"""Testing a key at its provider: over real TLS, a canary first, and to no host that is not its own."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from sidecar.secret import Secret
from sidecar.vault.credential_test import Answer, _canary, probe
from sidecar.vault.errors import Invalid, NotFound, ProbeFailed
from sidecar.vault.providers import Catalogue
from tests.support.exchanges import Recorder
from tests.support.provider import Provider, Seen, accepts, provider
from tests.support.vaults import ALICE, OPENAI_KEY, STRIPE_KEY, catalogue, open_vault, secret

BEARER = accepts("authorization", f"Bearer {STRIPE_KEY}")


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with provider(tmp_path, BEARER) as started:
        # What an operator does who has a CA of their own.
        monkeypatch.setenv("SSL_CERT_FILE", str(started.ca))
        yield started


async def stripe(running: Provider, value: str = STRIPE_KEY):
    hosts = (f"localhost:{running.port}",)
    return await probe(Catalogue.load().get("stripe"), Secret(value), hosts, url=running.url)


async def test_a_good_key_is_accepted_after_a_canary(running: Provider) -> None:
    verdict = await stripe(running)
    assert (verdict.valid, verdict.status) == (True, 200)
    canary, real = running.seen
    assert (canary.path, real.path) == ("/v1/balance", "/v1/balance")
    assert canary.headers["authorization"] != real.headers["authorization"] == f"Bearer {STRIPE_KEY}"


async def test_a_bad_key_is_not(running: Provider) -> None:
    verdict = await stripe(running, "sk_test_somethingelse0123456789")
    assert (verdict.valid, verdict.status) == (False, 401)


async def test_openai_is_asked_by_its_own_client(running: Provider) -> None:
    running.answer = accepts("authorization", f"Bearer {OPENAI_KEY}")
    known, hosts = Catalogue.load().get("openai"), (f"localhost:{running.port}",)
    good = await probe(known, Secret(OPENAI_KEY), hosts, url=running.url)
    assert (good.valid, good.status) == (True, 200)
    assert "openai" in running.seen[1].headers["user-agent"].lower()
    bad = await probe(known, Secret("sk-0123456789abcdefghij"), hosts, url=running.url)
    assert (bad.valid, bad.status) == (False, 401)


def echo(spell: Callable[[str], str]) -> Callable[[Seen], tuple[int, dict[str, str], bytes]]:
    def answer(seen: Seen) -> tuple[int, dict[str, str], bytes]:
        key = seen.headers["authorization"].removeprefix("Bearer ")
        return 401, {}, f"unknown key: {spell(key)}".encode()

    return answer


ECHOES = [
    pytest.param(echo(str), id="as it is"),
    pytest.param(echo(json.dumps), id="as JSON"),
    pytest.param(echo(lambda key: quote(key, safe="")), id="quoted"),
    pytest.param(echo(lambda key: base64.b64encode(key.encode()).decode()), id="base64"),
    pytest.param(echo(lambda key: base64.b64encode(f"Bearer {key}!".encode()).decode()), id="inside base64"),
    pytest.param(echo(lambda key: key.encode().hex()), id="hex"),
    pytest.param(lambda seen: (401, {"X-Seen": seen.headers["authorization"]}, b""), id="in a header"),
]


@pytest.mark.parametrize("answer", ECHOES)
async def test_a_host_that_echoes_does_not_get_the_key(running: Provider, answer) -> None:
    running.answer = answer
    with pytest.raises(ProbeFailed, match="was not sent"):
        await stripe(running)
    assert len(running.seen) == 1
    assert STRIPE_KEY not in str(running.seen)


async def test_a_host_that_takes_any_key_does_not_get_it(running: Provider) -> None:
    running.answer = lambda _: (200, {}, b"{}")
    with pytest.raises(ProbeFailed, match="any key"):
        await stripe(running)
    assert STRIPE_KEY not in str(running.seen)


@pytest.mark.parametrize("key", [STRIPE_KEY, OPENAI_KEY], ids=["stdlib", "openai"])
async def test_a_redirect_is_not_followed(running: Provider, key: str) -> None:
    running.answer = lambda seen: (307, {"Location": f"{running.url}/elsewhere"}, b"")
    name = "stripe" if key == STRIPE_KEY else "openai"
    verdict = await probe(Catalogue.load().get(name), Secret(key), (f"localhost:{running.port}",), url=running.url)
    assert not verdict.valid
    assert {seen.path for seen in running.seen} <= {"/v1/balance", "/v1/models"}


async def test_a_certificate_that_is_not_trusted_ends_it(running: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(ProbeFailed, match="SSLCertVerificationError") as refused:
        await stripe(running)
    assert STRIPE_KEY not in repr(refused.value)
    assert running.seen == []


async def test_a_closed_port_is_one_line(running: Provider) -> None:
    with pytest.raises(ProbeFailed, match="ConnectionRefusedError"):
        await probe(Catalogue.load().get("stripe"), Secret(STRIPE_KEY), ("localhost:1",), url="https://localhost:1")


PLACES = [
    pytest.param("stripe", "https://evil.example", ("api.stripe.com",), "not among those", id="another host"),
    pytest.param("stripe", "https://api.stripe.com:8443", ("api.stripe.com",), "not among those", id="another port"),
    pytest.param("stripe", "http://api.stripe.com", ("api.stripe.com",), "plain http", id="plain http"),
    pytest.param("stripe", "https://a@api.stripe.com", ("api.stripe.com",), "not among those", id="a user in the URL"),
    pytest.param("stripe", "https://api.stripe.com:x", ("api.stripe.com",), "not a URL", id="no port"),
    pytest.param("zendesk", None, ("*.zendesk.com",), "host per customer", id="which customer"),
    pytest.param("stripe", "file:///etc/passwd", ("api.stripe.com",), "plain http", id="no http at all"),
]


@pytest.mark.parametrize(("name", "url", "hosts", "says"), PLACES)
async def test_a_key_is_tested_at_its_own_host_only(name: str, url: str | None, hosts: tuple, says: str) -> None:
    async def nobody(*_: object) -> Answer:
        raise AssertionError("must not be asked")

    with pytest.raises(Invalid, match=says):
        await probe(Catalogue.load().get(name), Secret("x" * 40), hosts, url=url, fetch=nobody)


async def test_a_provider_without_a_test_says_so() -> None:
    known = Catalogue.load({"plain": {"hosts": ["a.example"]}}).get("plain")
    with pytest.raises(ProbeFailed, match="no test request"):
        await probe(known, Secret("x" * 40), known.hosts)


@pytest.mark.parametrize(
    "value",
    [OPENAI_KEY, STRIPE_KEY, "AIza" + "x" * 35, "a@b.c/token:" + "q" * 40, "0" * 32, "a_b_c_d_e_secret_tail_x1"],
)
def test_a_canary_holds_nothing_of_the_key_but_its_beginning(value: str) -> None:
    canary = _canary(value)
    assert len(canary) == len(value)
    shared = sum(a == b for a, b in zip(canary[12:], value[12:], strict=True))
    assert shared < len(value) / 2
    assert canary != _canary(value)


async def test_the_vault_tests_and_writes_down(running: Provider) -> None:
    events = Recorder()
    async with open_vault("sqlite://", events=events) as vault:
        hosts = [f"localhost:{running.port}"]
        verdict = await vault.credentials.test(
            ALICE, "acme", "stripe", secret(STRIPE_KEY), hosts=hosts, url=running.url
        )
        assert verdict.valid
        assert await vault.credentials.list(None) == []
        made = await vault.credentials.create(ALICE, "acme", "stripe", secret(STRIPE_KEY), hosts=hosts)
        assert (await vault.credentials.test_stored(ALICE, "acme", made.id)).valid
        with pytest.raises(Invalid):
            await vault.credentials.test_stored(ALICE, "acme", made.id, url="https://evil.example")
        with pytest.raises(NotFound):
            await vault.credentials.test_stored(ALICE, "globex", made.id)
        assert [(row["action"], row["outcome"]) async for row in vault.audit.rows()] == [
            ("credential.test", "done"),
            ("credential.create", "done"),
            ("credential.test", "done"),
            ("credential.test", "refused"),
            ("credential.test", "refused"),
        ]
        told = [event.detail["check"] for event in events.events if event.event.name == "API_KEY_VALIDATION"]
        assert told == ["shape", "provider", "shape", "provider"]
        assert STRIPE_KEY not in str(events.events)
    assert catalogue().get("stripe").test is not None
