"""What the parts of a policy ask of one another."""

from __future__ import annotations

import time

import pytest

from sidecar.policy.document.cross_checks import RULES
from tests.support.policies import BASE, read, said

EGRESS = 'listen: { egress: { address: "127.0.0.1:8181" } }\n'

ASKING = "routes: [{ name: chat, match: { path: /chat }, protocol: openai, message: {} }]\n"
RAIL = "guardrails: [{ name: a, kind: json, url: https://a.example/x"

BROKEN = {
    "guardrails of one name": (
        BASE + RAIL + " }, { name: a, kind: json, url: https://a.example/x }]",
        ["P:3:73: guardrails[1].name: is the name of another guardrail too; give each guardrail a name of its own"],
    ),
    "messages in clear": (
        BASE + RAIL.replace("https", "http") + " }]",
        [
            (
                "P:3:42: guardrails[0].url: would send messages in clear; "
                "write an https URL, or dangerously_send_in_clear: true within a cluster"
            )
        ],
    ),
    "a guardrail without its model": (
        BASE + RAIL.replace("json", "openai") + " }]",
        ["P:3:14: guardrails[0]: has no model; write model: meta-llama/Llama-Guard-3-8B, or the one that is served"],
    ),
    "a guardrail of an unknown route": (
        BASE + RAIL + ", routes: [chat] }]",
        ['P:3:72: guardrails[0].routes[0]: "chat" is no route of this policy; write the name of one'],
    ),
    "a guardrail of requests that refuses streams": (
        BASE + RAIL + ", on_stream: refuse }]",
        ["P:3:74: guardrails[0].on_stream: has no use, for answers are not judged; write about: both, or leave it out"],
    ),
    "listeners of one address": (
        BASE + 'listen: { public: { address: "127.0.0.1:80" }, management: { address: "127.0.0.1:80" } }',
        [
            "P:3:71: listen.management.address: is the address of listen.public too; give each listener a port of its own"
        ],
    ),
    "an address within all addresses": (
        BASE + 'listen: { public: { address: "0.0.0.0:80" }, egress: { address: "127.0.0.1:80" } }',
        ["P:3:65: listen.egress.address: is the address of listen.public too; give each listener a port of its own"],
    ),
    "egress for other machines": (
        BASE + 'listen: { egress: { address: "0.0.0.0:8181" } }',
        [
            (
                "P:3:30: listen.egress.address: would let other machines use the providers' keys; "
                "write 127.0.0.1, or egress.dangerously_listen_beyond_loopback: true"
            )
        ],
    ),
    "one path for two answers": (
        BASE + "listen: { public: { paths: { session: /x, rate_limit_status: /x } } }",
        ["P:3:62: listen.public.paths.rate_limit_status: is the session's path too; write another one"],
    ),
    "TLS without https": (
        BASE[:-2] + ", tls: { ca: ca.pem } }\n",
        ["P:2:41: backend.tls: has no use, for backend.url is not https; write an https URL, or remove it"],
    ),
    "budgets of one name": (
        BASE + ASKING + "budgets: [{ name: a, per: ip, limit: 1k tokens }, { name: a, per: ip, limit: 2k tokens }]",
        ["P:4:59: budgets[1].name: is the name of another budget too; give each budget a name of its own"],
    ),
    "a budget of nothing": (
        BASE + "budgets: [{ name: a, per: ip, limit: 1k tokens }]",
        [
            (
                "P:3:11: budgets[0]: counts nothing, for no route's answers from a model can be counted; write a route with a "
                "message or a credential, or send provider calls through listen.egress"
            )
        ],
    ),
    "a budget of users where none are known": (
        BASE + EGRESS + "egress: { providers: { openai: { url: https://api.openai.com, allow: [/v1/*] } } }\n"
        "budgets: [{ name: a, per: user, limit: 1k tokens }]",
        [
            (
                "P:5:27: budgets[0].per: counts nothing, for provider calls of the egress listener have no user and no "
                "address; write per: organization, session or credential"
            )
        ],
    ),
    "a budget of sessions that are off": (
        BASE + ASKING + "budgets: [{ name: a, per: session, limit: 1k tokens }]",
        [
            "P:4:27: budgets[0].per: counts sessions, and sessions.mode is off; write sessions: { mode: issue }, or per: ip"
        ],
    ),
    "a budget of keys that nobody gets": (
        BASE + ASKING + "budgets: [{ name: a, per: credential, limit: 1k tokens }]",
        [
            (
                "P:4:27: budgets[0].per: counts nothing, for no request gets a key; write per: organization, or a route with a "
                "credential"
            )
        ],
    ),
    "money for models without a name": (
        BASE + ASKING.replace("openai", "plain") + "budgets: [{ name: a, per: ip, limit: 5 USD }]",
        [
            (
                "P:4:38: budgets[0].limit: cannot be counted on the route chat, for its requests name no model, and so have no "
                'price; write prices: { "*": { input: 1, output: 4 } } in USD for a million tokens, or a limit in tokens'
            )
        ],
    ),
    "limits of one name": (
        BASE + "routes:\n  - name: a\n    match: { path: /a }\n"
        "    rate_limits: [{ name: ip-hour, per: ip, limit: 1, window: 1m }]",
        ["P:6:27: routes[0].rate_limits[0].name: is the name of rate_limits[1] too; give each limit a name of its own"],
    ),
    "an egress limit's name": (
        BASE + "egress: { rate_limits: [{ name: org-hour, per: organization, limit: 1, window: 1m }] }",
        ["P:3:33: egress.rate_limits[0].name: is the name of rate_limits[3] too; give each limit a name of its own"],
    ),
    "routes of one name": (
        BASE + "routes:\n  - { name: a, match: { path: /a } }\n  - { name: a, match: { path: /b } }",
        ["P:5:13: routes[1].name: is the name of routes[0] too; give each route a name of its own"],
    ),
    "content patterns of one name": (
        BASE + "content_filter: { patterns: [{ name: a, pattern: x }, { name: a, pattern: y }] }",
        [
            "P:3:63: content_filter.patterns[1].name: is the name of another pattern too; give each pattern a name of its own"
        ],
    ),
    "a session that cannot be had": (
        BASE + "routes: [{ name: a, match: { path: /a }, session: required }]",
        [
            (
                "P:3:51: routes[0].session: cannot be met while sessions.mode is off; "
                "write sessions: { mode: issue }, or session: optional"
            )
        ],
    ),
    "counting sessions without any": (
        BASE + "rate_limits: [{ name: a, per: session, limit: 1, window: 1m }]",
        [
            (
                "P:3:31: rate_limits[0].per: counts sessions, and sessions.mode is off; "
                "write sessions: { mode: issue }, or per: ip"
            )
        ],
    ),
    "counting sessions that are not looked at": (
        BASE + "sessions: { mode: issue }\nroutes: [{ name: a, match: { path: /a }, session: none, "
        "rate_limits: [{ name: s, per: session, limit: 1, window: 1m }] }]",
        [
            (
                "P:4:87: routes[0].rate_limits[0].per: counts sessions on a route that does not look at them; "
                "write session: optional"
            )
        ],
    ),
    "owning without sessions": (
        BASE + "ownership: { mode: enforce }",
        [
            (
                "P:3:20: ownership.mode: needs sessions to own conversations, and sessions.mode is off; "
                "write sessions: { mode: issue }, or ownership: { mode: off }"
            )
        ],
    ),
    "idle longer than all": (
        BASE + "sessions: { mode: issue, idle: 48h }",
        ["P:3:32: sessions.idle: is longer than max_age, so it never ends a session; write a shorter time, or null"],
    ),
    "nowhere to say a session": (
        BASE + "sessions: { mode: issue, in: [] }",
        ["P:3:30: sessions.in: is empty: no client could say its session; write [header:X-Session-ID]"],
    ),
    "learning from nowhere": (
        BASE + "sessions: { mode: learn }",
        [
            (
                "P:3:1: sessions: does not say where to learn from; "
                "write learn: { json: $.sessionId } or learn: { cookie: NAME }"
            )
        ],
    ),
    "learning from two places": (
        BASE + "sessions: { mode: learn, learn: { json: $.id, cookie: sid } }",
        ["P:3:26: sessions.learn: needs one place; write json or cookie, one of the two"],
    ),
    "observing the whole listener on a route": (
        BASE + "routes: [{ name: a, match: { path: /a }, observe: [rate_limits, ban] }]",
        [
            (
                "P:3:65: routes[0].observe[1]: cannot be observed on one route, for ban guards the whole listener; "
                "write it under observe at the top of the policy"
            )
        ],
    ),
    "an unknown provider": (
        BASE + "providers: { acme: { hosts: [a.example] } }\n"
        "routes: [{ name: a, match: { path: /a }, credential: { provider: opnai } }]",
        [
            (
                "P:4:66: routes[0].credential.provider: is not a provider that is known; write one of acme, anthropic, "
                "azure-openai, google, groq, intercom, mistral, openai, openrouter, stripe, zendesk, or describe it under providers"
            )
        ],
    ),
    "a custom provider with a header that frames": (
        BASE + "providers: { acme: { header: Content-Length, hosts: [a.example] } }",
        ["P:3:14: providers.acme: header: cannot carry a key; see docs/policy.md"],
    ),
    "a key over plain http to the backend": (
        (
            "version: 1\nbackend: { url: http://chat.internal:3001 }\n"
            "routes: [{ name: a, match: { path: /a }, credential: { provider: openai } }]"
        ),
        [
            (
                "P:3:42: routes[0].credential: would send a key over plain http to chat.internal; "
                "write an https backend.url, one on 127.0.0.1, or as: handle"
            )
        ],
    ),
    "a key over plain http to a provider": (
        BASE + EGRESS + "egress: { providers: { openai: { url: http://api.openai.com, allow: [/v1/*] } } }",
        ["P:4:39: egress.providers.openai.url: would send a key over plain http to api.openai.com; write an https URL"],
    ),
    "a handle without a listener": (
        BASE + "routes: [{ name: a, match: { path: /a }, credential: { provider: openai, as: handle } }]",
        [
            (
                "P:3:78: routes[0].credential.as: makes handles that nothing turns into keys, for listen.egress is off; "
                'write listen: { egress: { address: "127.0.0.1:8181" } }'
            )
        ],
    ),
    "a handle without its provider": (
        BASE + EGRESS + "routes: [{ name: a, match: { path: /a }, credential: { provider: openai, as: handle } }]",
        [
            (
                "P:4:78: routes[0].credential.as: makes handles that nothing turns into keys, for egress.providers has no openai; "
                "add it to egress.providers"
            )
        ],
    ),
    "an egress that allows nothing": (
        BASE + EGRESS + "egress: { providers: { openai: { url: https://api.openai.com, allow: [] } } }",
        ["P:4:70: egress.providers.openai.allow: is empty; write the paths that may be called"],
    ),
    "key sets over plain http": (
        BASE + "admin: { jwks: http://login.example.com/keys }\napi_auth: { jwks: ftp://login.example.com/keys }",
        [
            "P:3:16: admin.jwks: would take keys from anyone on the network path; write an https URL, or a file",
            "P:4:19: api_auth.jwks: would take keys from anyone on the network path; write an https URL, or a file",
        ],
    ),
    "events in clear": (
        BASE + "events: { webhook: http://collector.example.com/in }",
        ["P:3:20: events.webhook.url: would send names and addresses in clear; write an https URL"],
    ),
    "anchors that go nowhere": (
        BASE + "events: { audit_anchor: webhook }",
        [
            (
                "P:3:25: events.audit_anchor: has nowhere to go, for events.webhook is not set; "
                "write events: { webhook: https://… }, or audit_anchor: log"
            )
        ],
    ),
}


@pytest.mark.parametrize(("text", "lines"), BROKEN.values(), ids=BROKEN)
def test_broken(text: str, lines: list[str]) -> None:
    assert said(text) == lines


KEPT = {
    "ports of their own": BASE
    + 'listen: { public: { address: "127.0.0.1:80" }, management: { address: "127.0.0.2:80" } }',
    "any free port, twice": BASE
    + 'listen: { public: { address: "127.0.0.1:0" }, management: { address: "127.0.0.1:0" } }',
    "dangerous on purpose": BASE
    + 'listen: { egress: { address: "0.0.0.0:8181" } }\negress: { dangerously_listen_beyond_loopback: true }',
    "a key to this machine": BASE + "routes: [{ name: a, match: { path: /a }, credential: { provider: openai } }]",
    "a key over https": "version: 1\nbackend: { url: https://chat.internal }\n"
    "routes: [{ name: a, match: { path: /a }, credential: { provider: openai } }]",
    "a handle over plain http": "version: 1\nbackend: { url: http://chat.internal }\n"
    + EGRESS
    + "egress: { providers: { openai: { url: https://api.openai.com, allow: [/v1/*] } } }\n"
    "routes: [{ name: a, match: { path: /a }, credential: { provider: openai, as: handle } }]",
    "a custom provider": BASE
    + "providers: { acme: { header: X-Key, scheme: none, shape: 'ak_[a-z]{4}', hosts: [a.example], "
    "url: https://a.example, test: { path: /me, accepted: [200], headers: { X-V: '1' } } } }\n"
    "routes: [{ name: a, match: { path: /a }, credential: { provider: acme } }]",
    "a built-in provider of one's own": BASE + "providers: { openai: { hosts: [openai.internal] } }",
    "key sets": BASE + "admin: { jwks: https://a.example/keys }\napi_auth: { jwks: /etc/keys.json }",
    "anchors to a webhook": BASE + "events: { webhook: https://collector.example.com/in, audit_anchor: webhook }",
    "messages to this machine": BASE + RAIL.replace("https://a.example", "http://127.0.0.1:9") + " }]",
    "messages in clear that are meant": BASE + RAIL.replace("https", "http") + ", dangerously_send_in_clear: true }]",
    "events to this machine": BASE + "events: { webhook: http://127.0.0.1:9/in }",
    "learned sessions": BASE
    + "sessions: { mode: learn, learn: { cookie: connect.sid } }\nownership: { mode: observe }",
}


@pytest.mark.parametrize("text", KEPT.values(), ids=KEPT)
def test_kept(text: str) -> None:
    assert said(text) == []


ROUTES = {
    "the same": ([("/a", []), ("/a", [])], True),
    "another letter case": ([("/a/B", []), ("/A/b", [])], True),
    "a trailing slash": ([("/a", []), ("/a/", [])], True),
    "other letters": ([("/ä b/*", []), ("/Ä b/c", [])], True),
    "below": ([("/a/*", []), ("/a/b/c", [])], True),
    "the parent itself": ([("/a/*", []), ("/a", [])], True),
    "below below": ([("/a/*", []), ("/a/b/*", [])], True),
    "everything": ([("/*", []), ("/a", ["GET"])], True),
    "one segment": ([("/a/*/c", []), ("/a/b/c", [])], True),
    "one segment is not two": ([("/a/*/c", []), ("/a/b/b/c", [])], False),
    "part of a segment": ([("/a/v*/c", []), ("/a/v1/c", [])], True),
    "part of another": ([("/a/v*/c", []), ("/a/w1/c", [])], False),
    "narrower first": ([("/a/b", []), ("/a/*", [])], False),
    "star against a word": ([("/a/b/c", []), ("/a/*/c", [])], False),
    "other methods": ([("/a", ["GET"]), ("/a", ["POST"])], False),
    "fewer methods": ([("/a", ["GET", "POST"]), ("/a", ["POST"])], True),
    "more methods": ([("/a", ["GET"]), ("/a", ["GET", "POST"])], False),
    "all methods after one": ([("/a", ["GET"]), ("/a", [])], False),
    "one method after all": ([("/a", []), ("/a", ["GET"])], True),
    "two together": ([("/a", ["GET"]), ("/*", ["POST"]), ("/a", ["GET", "POST"])], True),
    "a prefix that is no parent": ([("/a/*", []), ("/ab", [])], False),
}


@pytest.mark.parametrize(("rows", "dead"), ROUTES.values(), ids=ROUTES)
def test_routes_that_can_never_match(rows: list[tuple[str, list[str]]], dead: bool) -> None:
    text = "routes:\n" + "".join(
        f"  - {{ name: r{number}, match: {{ path: '{path}', methods: [{', '.join(methods)}] }} }}\n"
        for number, (path, methods) in enumerate(rows)
    )
    lines = said(BASE + text)
    if dead:
        last = len(rows) - 1
        assert lines == [
            (
                f"P:{4 + last}:17: routes[{last}].match: can never match, for the route r0 before it takes these requests; "
                "put the narrower route first"
            )
        ]
    else:
        assert lines == []


NOTES = {
    "observing": ("mode: observe", "mode: refuses nothing; write enforce when you have seen enough"),
    "insecure origins": (
        "cors: { dangerously_allow_insecure_origins: true }",
        "cors.dangerously_allow_insecure_origins: lets anyone on a visitor's network be an allowed page",
    ),
    "half the world a proxy": (
        "clients: { trusted_proxies: [128.0.0.0/1] }",
        (
            "clients.trusted_proxies[0]: trusts a large part of the internet: its hosts can choose the client address; "
            "write the networks of your proxies"
        ),
    ),
    "guards of access that only observe": (
        "observe: [rate_limits, cors, session]",
        "observe: lets pass what it should refuse: cors, session; take it out when you have seen enough",
    ),
    "patterns for nothing": (
        "content_filter: { patterns: [{ name: a, pattern: b }] }",
        (
            "content_filter.patterns: is asked about nothing, for no route says where its messages are; "
            "write message: { fields: [...] } at a route"
        ),
    ),
    "texts that no route inspects": (
        "routes: [{ name: a, match: { path: /v1/chat/completions }, protocol: openai, message: null }]",
        (
            "routes[0].protocol: does not guard the texts that it knows, for the route says message: null; "
            "leave message out, or write message: {} beside it"
        ),
    ),
    "denying all": ("unmatched: deny", "unmatched: answers every request with 404, for there are no routes"),
    "egress without listener": (
        "egress: { providers: { openai: { url: https://api.openai.com, allow: [/v1/*] } } }",
        'egress.providers: has no listener, for listen.egress is off; write listen: { egress: { address: "127.0.0.1:8181" } }',
    ),
    "listener without egress": (
        "listen: { egress: {} }",
        "listen.egress: leads nowhere, for egress.providers is empty",
    ),
    "redirecting for ever": (
        "requests: { https_only: true }",
        (
            "requests.https_only: redirects every request, for there is neither TLS here nor a trusted proxy that could have "
            "had it; write listen.public.tls or clients.trusted_proxies"
        ),
    ),
    "a proxy that is not named": (
        "requests: { hosts: [chat.example.com] }",
        (
            "requests.hosts: are public names without TLS here: all clients of a proxy in front count as one while it is not "
            "named; write clients: { trusted_proxies: [its network] } if there is one"
        ),
    ),
    "embedding without cookies": (
        "security_headers: { preset: embeddable }",
        (
            "security_headers.preset: lets pages of other sites embed the chat, whose cookies (SameSite=Lax) browsers leave out "
            "there; write cookies: { partitioned: true } if the chat needs cookies or sessions"
        ),
    ),
    "answers that stream": (
        RAIL + ", about: both }]",
        (
            "guardrails[0].about: is not asked about answers that stream, nor about messages of WebSockets: they pass; "
            "write on_stream: refuse where answers must not stream"
        ),
    ),
    "learning unasked": (
        "sessions: { mode: issue, learn: { cookie: sid } }",
        "sessions.learn: has no use unless sessions.mode is learn",
    ),
    "other machines' handles": (
        EGRESS + "egress: { dangerously_listen_beyond_loopback: true, "
        "providers: { openai: { url: https://api.openai.com, allow: [/v1/*] } } }",
        "egress.dangerously_listen_beyond_loopback: lets other machines use handles",
    ),
}


@pytest.mark.parametrize(("text", "note"), NOTES.values(), ids=NOTES)
def test_notes(text: str, note: str) -> None:
    notes = read(BASE + text).notes
    assert [str(one) for one in notes] == [note]
    assert notes[0].line >= 3


def test_every_rule_is_asked() -> None:
    """A rule that is written and not listed would never be asked."""
    import sidecar.policy.document.cross_checks as module

    named = {
        name
        for name, value in vars(module).items()
        if callable(value) and getattr(value, "__module__", "") == module.__name__
    }
    rules = {name for name in named if not name.startswith("_") and name != "broken_rules"}
    assert rules == {rule.__name__ for rule in RULES}


def test_embedding_with_cookies_for_frames_is_no_remark() -> None:
    for cookies in ("{ partitioned: true }", "{ same_site: none }"):
        assert read(BASE + f"security_headers: {{ preset: embeddable }}\ncookies: {cookies}").notes == ()


@pytest.mark.parametrize(
    ("url", "listen", "noted"),
    [
        ("http://127.0.0.1:8080", "", True),
        ("http://localhost:8080", "", True),
        ("http://127.0.0.1:8081", "", False),
        ("http://backend:8080", "", False),
        ("http://127.0.0.1:8080", 'listen: { public: { address: "10.0.0.5:8080" } }\n', False),
        ("http://127.0.0.1:8080", 'listen: { public: { address: "127.0.0.1:8080" } }\n', True),
        ("unix:/run/app.sock", "", False),
    ],
    ids=["default", "a name", "another port", "another machine", "another address", "the same address", "a socket"],
)
def test_a_backend_where_the_sidecar_listens_is_remarked(url: str, listen: str, noted: bool) -> None:
    notes = read(f"version: 1\nbackend: {{ url: '{url}' }}\n{listen}").notes
    what = "is where this sidecar listens itself (listen.public); give the backend another port, or write listen.public.address"
    assert [str(each) for each in notes] == ([f"backend.url: {what}"] if noted else [])


def test_a_thousand_routes_are_held_against_each_other_in_a_second():
    """Half a million pairs: compiling the patterns of each took 8 s."""
    routes = "".join(f"  - {{ name: r{number}, match: {{ path: /api/{number}/chat }} }}\n" for number in range(1000))
    began = time.process_time()
    read(BASE + f"routes:\n{routes}")
    assert time.process_time() - began < 3.0
