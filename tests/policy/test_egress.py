"""The egress listener's policy: which calls it knows, where they go, and what the compiler refuses."""

from __future__ import annotations

import posixpath
import re
from urllib.parse import unquote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.decision import PASS
from sidecar.errors import Problems
from sidecar.exchange import Client
from sidecar.guards.budgets.build import Budgets
from sidecar.guards.clients.identity_headers import IdentityHeaders
from sidecar.guards.limits.rate_limit import build_rate_limit
from sidecar.head import RequestHead
from sidecar.policy.backend_target import build_target
from sidecar.policy.dry_run import isolated_services
from sidecar.policy.egress import Shared, build_egress, protocol
from sidecar.policy.policy import Injection, Policy, RequestBounds, Route
from sidecar.policy.routes import Pattern
from sidecar.policy.schema.backend import Timeouts
from sidecar.prices import PriceTable
from sidecar.proxy.forwarding_headers import request_head
from sidecar.redaction.known_secrets import KnownSecretsSource
from sidecar.responses.token_usage import UsageCounter
from sidecar.stores.memory_rates import MemoryRateStore
from tests.support.exchanges import Recorder, exchange
from tests.support.policies import BASE, read, said

LISTEN = 'listen: { egress: { address: "127.0.0.1:8181" } }\n'
EGRESS = """
egress:
  providers:
    openai: { url: https://api.openai.com, allow: [/v1/chat/completions, /v1/files/*], name: chat }
    anthropic: { url: https://api.anthropic.com, allow: [/v1/messages] }
    groq: { url: "https://api.groq.com:8443/openai/", allow: [/v1/chat/completions] }
    acme: { url: "http://127.0.0.1:9000", allow: [/x] }
providers:
  acme: { header: X-Acme-Key, scheme: none, hosts: [localhost] }
"""
BOUNDS = RequestBounds(32768, 100, 8192, 10, 30, 100, 60, 100, 65536, 300, 0)


def compiled(text: str = EGRESS) -> Policy:
    schema = read(BASE + LISTEN + text).schema
    problems = Problems()
    nowhere = build_target("http://127.0.0.1:9", None, Timeouts(), problems, preserve_host=True, max_connections=1)
    services = isolated_services()
    shared = Shared(
        events=Recorder(),
        handles=None,
        counter=lambda provider: UsageCounter(provider, lambda *_: None, lambda *_: None, PriceTable()),
        budgets=Budgets(schema, services),
        ledger=services.budgets,
        provider_limits=services.provider_limits,
        clock=services.clock,
        keys=KnownSecretsSource(None),
        bounds=BOUNDS,
        limits=build_rate_limit((), MemoryRateStore(), waits=False),
        enforce=True,
        enforce_budgets=True,
        nowhere=nowhere,
    )
    policy = build_egress(schema, shared, "digest", problems)
    assert problems.found == []
    return policy


def route(path: str, method: str = "POST") -> Route:
    found = compiled().routes.find(method, path)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("path", "name", "guards"),
    [
        pytest.param(
            "/openai/v1/chat/completions", "egress:openai", ["address", "path", "handle", "provider_limit"], id="a-call"
        ),
        pytest.param(
            "/openai/v1/files/a/b", "egress:openai", ["address", "path", "handle", "provider_limit"], id="below"
        ),
        pytest.param("/openai/v1/models", "egress:openai", ["address", "path"], id="not-allowed"),
        pytest.param("/mistral/v1/models", "egress:unmatched", ["address", "unmatched"], id="not-a-provider"),
        pytest.param("/", "egress:unmatched", ["address", "unmatched"], id="the-root"),
    ],
)
def test_every_path_has_its_row(path: str, name: str, guards: list[str]):
    found = route(path)
    assert (found.name, [step.guard.name for step in found.steps]) == (name, guards)
    assert found.outward
    assert all(step.enforce for step in found.steps)


@pytest.mark.parametrize(
    ("path", "authority", "target", "spoken"),
    [
        ("/openai/v1/chat/completions?a=%2F", b"api.openai.com", b"/v1/chat/completions?a=%2F", "openai"),
        ("/anthropic/v1/messages", b"api.anthropic.com", b"/v1/messages", "anthropic"),
        ("/groq/v1/chat/completions", b"api.groq.com:8443", b"/openai/v1/chat/completions", "openai"),
        ("/acme/x", b"127.0.0.1:9000", b"/x", "plain"),
    ],
)
def test_a_call_goes_to_its_provider(path: str, authority: bytes, target: bytes, spoken: str):
    found = route(path.partition("?")[0])
    assert (found.target.authority, found.target.preserve_host, found.protocol) == (authority, False, spoken)
    assert (found.target.tls is None) == found.target.local
    made = sent(found, path)
    assert made.startswith(b"POST %b HTTP/1.1\r\nHost: %b\r\n" % (target, authority))


def test_a_key_is_put_in_for_sealed_hosts_only():
    assert route("/openai/v1/chat/completions").injection == Injection("openai", "header", name="chat", sealed=True)
    assert route("/openai/v1/nothing", "GET").steps[-1].guard.name == "path"


def sent(found: Route, path: str, **fields: str) -> bytes:
    asked = exchange("POST", path, client=Client("127.0.0.1", "127.0.0.1", "127.0.0.0/24"), **fields)
    head: RequestHead = asked.head
    assert head.method == "POST"
    return request_head(
        asked,
        host=found.target.authority,
        framing=0,
        put=[(b"Authorization", b"Bearer key")],
        drop=found.dropped,
        whole=True,
        identity=IdentityHeaders(),
        outward=found.outward,
        prefix=found.prefix,
        base=found.base,
    )


def test_what_a_provider_receives():
    fields = {
        "authorization": "Bearer phk_x", "x_api_key": "phk_x", "cookie": "a=1", "origin": "https://app.example",
        "sec_fetch_mode": "cors", "x_forwarded_host": "chat.example.com", "x_envoy_peer": "1", "cf_ray": "1",
        "x_session_id": "secret", "accept_encoding": "br", "user_agent": "OpenAI/Python", "openai_organization": "org-1",
    }  # fmt: skip
    made = sent(route("/openai/v1/chat/completions"), "/openai/v1/chat/completions", **fields)
    assert made.split(b"\r\n") == [
        b"POST /v1/chat/completions HTTP/1.1",
        b"Host: api.openai.com",
        b"user-agent: OpenAI/Python",
        b"openai-organization: org-1",
        b"Accept-Encoding: br",
        b"Authorization: Bearer key",
        b"",
        b"",
    ]


def test_a_sessions_own_header_does_not_leave():
    text = EGRESS + "sessions: { mode: issue, in: ['header:X-Chat-Token'] }\n"
    found = compiled(text).routes.find("POST", "/openai/v1/chat/completions")
    assert found is not None
    assert b"x-chat-token" in found.dropped


def test_a_providers_cookies_end_here():
    assert route("/openai/v1/chat/completions").cookies(b"__cf_bm=1", True) is None


@pytest.mark.parametrize(
    ("provider", "path", "spoken"),
    [
        ("openai", "/v1/audio/speech", "openai"),
        ("anthropic", "/v1/models", "anthropic"),
        ("local-llm", "/v1/chat/completions", "openai"),
        ("local-llm", "/v1/messages", "anthropic"),
        ("stripe", "/v1/balance", "plain"),
    ],
)
def test_refusals_look_as_the_providers_clients_expect(provider: str, path: str, spoken: str):
    assert protocol(provider, (path,)) == spoken


@pytest.mark.parametrize(
    ("pattern", "literal"),
    [("/a/V1/*", "/a/V1(?:/.*)?"), ("/a/*/b", "/a/[^/]*/b"), ("/a/b", "/a/b"), ("/a.b", r"/a\.b")],
)
def test_patterns_in_their_own_letter_case(pattern: str, literal: str):
    assert Pattern(pattern).literal() == literal
    assert Pattern(pattern).expression() == literal.lower()


OPEN = 'listen: { egress: { address: "0.0.0.0:8181" } }\n'
SAID = {
    "beyond this machine": (
        BASE + OPEN,
        (
            "listen.egress.address: would let other machines use the providers' keys; "
            "write 127.0.0.1, or egress.dangerously_listen_beyond_loopback: true"
        ),
    ),
    "told so": (BASE + OPEN + "egress: { dangerously_listen_beyond_loopback: true }", ""),
    "a key in clear": (
        BASE + LISTEN + "egress: { providers: { openai: { url: http://api.openai.com, allow: [/v1/*] } } }",
        "egress.providers.openai.url: would send a key over plain http to api.openai.com; write an https URL",
    ),
    "in clear on this machine": (
        BASE + LISTEN + "egress: { providers: { openai: { url: http://localhost:9000, allow: [/v1/*] } } }",
        "",
    ),
    "nothing allowed": (
        BASE + LISTEN + "egress: { providers: { openai: { url: https://api.openai.com, allow: [] } } }",
        "egress.providers.openai.allow: is empty; write the paths that may be called",
    ),
    "an unknown provider": (
        BASE + LISTEN + "egress: { providers: { opnai: { url: https://api.openai.com, allow: [/v1/*] } } }",
        "egress.providers.opnai: is not a provider that is known",
    ),
    "handles that lead nowhere": (
        BASE + "routes: [{ name: a, match: { path: /a }, credential: { provider: openai, as: handle } }]",
        "routes[0].credential.as: makes handles that nothing turns into keys, for listen.egress is off",
    ),
}


@pytest.mark.parametrize("name", SAID)
def test_what_the_compiler_says(name: str):
    text, expected = SAID[name]
    lines = said(text)
    assert bool(lines) == bool(expected)
    assert all(expected in line for line in lines)


PIECES = st.sampled_from([
    "openai", "OpenAI", "v1", "V1", "files", "chat", "completions", "models", "admin", "..", ".", "", "%2e%2e", "%2E.", "..%2f",
    "%2f", "%5c", "\\", ";a=b", "..;x", "%252e%252e", "%00", "a%20b", "..%5c..", "%66iles", "*", "...", "groq",
])  # fmt: skip
POLICY = compiled()


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a shared machine is slow at times
@given(pieces=st.lists(PIECES, max_size=8))
def test_no_reading_of_a_path_that_passes_leads_beyond_what_is_allowed(pieces: list[str]):
    path = "/openai/" + "/".join(pieces)
    found = POLICY.routes.find("POST", path)
    if found is None or found.injection is None:
        return
    guards = [step.guard for step in found.steps if step.guard.name == "path"]
    if [guard for guard in guards if guard.check(exchange("POST", path)) is not PASS]:  # type: ignore[union-attr]
        return
    sent_as = path.removeprefix("/openai")
    for text in (sent_as, unquote(sent_as), unquote(unquote(sent_as))):
        for reading in (text, text.replace("\\", "/"), re.sub(";[^/]*", "", text)):
            resolved = posixpath.normpath("/" + reading.lstrip("/"))
            assert resolved == "/v1/chat/completions" or f"{resolved}/".startswith("/v1/files/"), path
