"""Every section: what is refused with which words at which place, and what silence means."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sidecar.messages.protocols.catalogue import BY_NAME
from sidecar.policy.document.cross_checks import BUILT_IN_PROVIDERS
from sidecar.policy.document.effective_values import values
from sidecar.policy.schema import route
from sidecar.policy.schema.policy_schema import PolicySchema
from sidecar.policy.schema.quantities import as_duration, as_size, octets, seconds
from sidecar.policy.schema.string_types import Address
from sidecar.vault.providers import Catalogue
from tests.support.policies import BASE, read, said

LIMIT = "name: a, per: ip, limit: 5, window: 1m"

# What is written below BASE (so from line 3), and all that is said about it.
REFUSED = {
    # --- keys
    "unknown key": ("corss: {}", '3:1: corss: is not a key that is known here; did you mean "cors"?'),
    "unknown deep key": (
        "cors:\n  max_age: 5m\n  allowed_origin: [x]",
        '5:3: cors.allowed_origin: is not a key that is known here; did you mean "allowed_origins"?',
    ),
    "unlike any key": (
        "ownership: { zzz: 1 }",
        "3:14: ownership.zzz: is not a key that is known here; there are mode, adopt",
    ),
    "hyphen for underscore": (
        "rate-limits: []",
        '3:1: rate-limits: is not a key that is known here; did you mean "rate_limits"?',
    ),
    "header in small letters": (
        "security_headers: { x-frame-options: DENY }",
        '3:21: security_headers.x-frame-options: is not a key that is known here; did you mean "X-Frame-Options"?',
    ),
    "unknown key in a list": (
        "routes:\n  - name: a\n    match: { path: /a, method: [GET] }",
        '5:24: routes[0].match.method: is not a key that is known here; did you mean "methods"?',
    ),
    "unknown key in a map": (
        "egress: { providers: { openai: { url: https://a.example, allow: [/], alow: [] } } }",
        '3:70: egress.providers.openai.alow: is not a key that is known here; did you mean "allow"?',
    ),
    "python name of an alias": (
        "clients: { ban: { length: 5m } }",
        "3:19: clients.ban.length: is not a key that is known here; there are strikes, within, for",
    ),
    "missing": (f"rate_limits: [{{ {LIMIT[:-12]} }}]", "3:15: rate_limits[0].window: is missing; write window: 1m"),
    "missing section": ("routes:\n  - name: a", "4:5: routes[0].match: is missing; write match: { path: /api/chat, methods: [POST] }"),
    # --- kinds
    "empty section": ("cors:", "3:6: cors: is empty; write its keys, indented, or leave it out"),
    "word for a section": ("cors: strict", "3:7: cors: must be a mapping of keys; write its keys, indented, or leave it out"),
    "list for a section": ("cors: [a]", "3:1: cors: must be a mapping of keys; write its keys, indented, or leave it out"),
    "word for a list": (
        "cors: { allowed_origins: https://a.example }",
        "3:26: cors.allowed_origins: must be a list; write `[one, two]`, or each item in a line after `- `",
    ),
    "null for a list": ("routes:", "3:8: routes: must be a list; write `[one, two]`, or each item in a line after `- `"),
    "yes": (
        "requests: { https_only: yes }",
        "3:25: requests.https_only: is neither true nor false; write true or false (YAML 1.2 has no yes, no, on, off)",
    ),
    "number as text": (
        'requests: { max_headers: "50" }',
        "3:26: requests.max_headers: is not a whole number; write 8 to 1000, without quotes or unit",
    ),
    "true as a number": (
        "requests: { max_headers: true }",
        "3:26: requests.max_headers: is not a whole number; write 8 to 1000, without quotes or unit",
    ),
    "fraction": (
        "requests: { max_headers: 8.5 }",
        "3:26: requests.max_headers: is not a whole number; write 8 to 1000, without quotes or unit",
    ),
    "out of range": ("requests: { max_headers: 2000 }", "3:26: requests.max_headers: is out of range; write 8 to 1000"),
    "limit of none": (
        "rate_limits: [{ name: a, per: ip, limit: 0, window: 1m }]",
        "3:42: rate_limits[0].limit: is out of range; write 1 to 1000000000",
    ),
    # --- words
    "near word": ("mode: enforced", '3:7: mode: is not known here; did you mean "enforce"?'),
    "far word": ("mode: x", "3:7: mode: is not known here; write enforce or observe"),
    "off without quotes is a word": ("mode: off", "3:7: mode: is not known here; write enforce or observe"),
    "not a word": ("unmatched: 404", "3:12: unmatched: is not a word that is known here; write proxy or deny"),
    "observed grammar": (
        "observe: [shape]",
        ("3:11: observe[0]: is not known here; write address, ban, host, https, user_agent, cors, fetch_metadata, concurrency, "
        "rate_limits, session, message, content_filter, redaction, links, ownership or budgets"),
    ),
    "a key pasted as a word is not repeated": (
        "redaction: { patterns: [sk-proj-abcdefghijklmnopqrstuvwxyz] }",
        "3:25: redaction.patterns[0]: is not a shape of a key that is known here; write one of",
    ),
    # --- durations and sizes
    "no unit": ("cors: { max_age: 600 }", "3:18: cors.max_age: has no unit; write a duration like 600s"),
    "odd unit": (
        "cors: { max_age: 10 min }",
        "3:18: cors.max_age: is not a duration; write a number and one of ms, s, m, h, d, like 10m",
    ),
    "no duration": (
        "cors: { max_age: soon }",
        "3:18: cors.max_age: is not a duration; write a number and one of ms, s, m, h, d, like 24h",
    ),
    "too long": ("cors: { max_age: 48h }", "3:18: cors.max_age: is out of range (48h); write 0s to 24h"),
    "window too short": (
        "rate_limits: [{ name: a, per: ip, limit: 1, window: 10ms }]",
        "3:53: rate_limits[0].window: is out of range (10ms); write 1s to 31d",
    ),
    "size without unit": ("requests: { max_body: 1024 }", "3:23: requests.max_body: has no unit; write a size like 1024B"),
    "decimal megabytes": (
        "requests: { max_body: 1MB }",
        "3:23: requests.max_body: is not a size; write a whole number and one of B, KiB, MiB, GiB, like 1MiB",
    ),
    "size out of range": (
        "requests: { max_target: 1MiB }",
        "3:25: requests.max_target: is out of range (1MiB); write 64B to 64KiB",
    ),
    # --- texts
    "port alone": (
        "listen: { management: { address: 9090 } }",
        '3:34: listen.management.address: is not an address to listen on; write "host:port", like "0.0.0.0:8080" or "[::]:8080"',
    ),
    "port too high": (
        'listen: { management: { address: "127.0.0.1:70000" } }',
        '3:34: listen.management.address: is not an address to listen on; write "host:port", like "0.0.0.0:8080" or "[::]:8080"',
    ),
    "bits beyond the prefix": (
        "clients: { deny: [10.0.0.1/8] }",
        "3:19: clients.deny[0]: has bits set beyond its prefix; write 10.0.0.0/8, or the address alone",
    ),
    "no network": (
        "clients: { trusted_proxies: [ingress] }",
        "3:30: clients.trusted_proxies[0]: is not a network; write an address or a network, like 10.0.0.0/8 or 2001:db8::/32",
    ),
    "host with scheme": (
        "requests: { hosts: [https://a.example] }",
        "3:21: requests.hosts[0]: is not a host; write one without scheme or path, like chat.example.com",
    ),
    "host as a bad key": (
        "organizations: { hosts: { a/b: acme } }",
        "3:27: organizations.hosts.a/b: as a key is not a host; write one without scheme, port or path, like chat.example.com",
    ),
    "method in small letters": (
        "routes: [{ name: a, match: { path: /a, methods: [get] } }]",
        "3:50: routes[0].match.methods[0]: is not a method; write it in capitals, like GET or POST",
    ),
    "relative path": (
        "routes: [{ name: a, match: { path: api } }]",
        "3:36: routes[0].match.path: is not a path; begin it with /, like /api/chat",
    ),
    "two stars": (
        "routes: [{ name: a, match: { path: /a/** } }]",
        "3:36: routes[0].match.path: holds `**` that is no segment of its own; write /**/ between segments, or end the path with /*",
    ),
    "dot segment": (
        "routes: [{ name: a, match: { path: /a/../b } }]",
        "3:36: routes[0].match.path: holds a dot segment; write the path that it leads to",
    ),
    "blank at a path's end": (
        "routes: [{ name: a, match: { path: '/api/chat ' } }]",
        "3:36: routes[0].match.path: has a blank at the edge of a segment, and would match nothing; leave it out",
    ),
    "query in a path": (
        'routes: [{ name: a, match: { path: "/a?b" } }]',
        "3:36: routes[0].match.path: is not a path; leave out `?`, `#`, `;`, `\\` and `//`",
    ),
    "percent-escape in a path": (
        "routes: [{ name: a, match: { path: /a%20b } }]",
        "3:36: routes[0].match.path: holds a percent-escape; write the character that it stands for",
    ),
    "star in an own path": (
        "listen: { public: { paths: { session: /api/* } } }",
        "3:39: listen.public.paths.session: holds a `*`; write one exact path",
    ),
    "JSON path": (
        "routes: [{ name: a, match: { path: /a }, message: { fields: [message] } }]",
        ("3:62: routes[0].message.fields[0]: is not a path into JSON (a path starts with `$` at character 1); "
        "write one like $.messages[*].content"),
    ),
    "session in the query": (
        "sessions: { in: [query:sid] }",
        "3:18: sessions.in[0]: would put session ids into logs and Referer headers; write header:…, cookie:… or body:$.…",
    ),
    "session nowhere": (
        "sessions: { in: [X-Session-ID] }",
        "3:18: sessions.in[0]: is not a place of a session; write header:X-Session-ID, cookie:__Host-session or body:$.sessionId",
    ),
    "pattern of content": (
        'content_filter: { patterns: [{ name: a, pattern: "(?=x)" }] }',
        ("3:50: content_filter.patterns[0].pattern: is not a pattern (invalid perl operator: (?=); "
        "write RE2's syntax: no look-around, no back-references"),
    ),
    "name": (
        "organizations: { default: 'a b' }",
        "3:27: organizations.default: is not a name; write letters, digits, `-`, `_`, `.`; at most 63 of them",
    ),
    "empty name": (
        "organizations: { default: '' }",
        "3:27: organizations.default: is empty; write letters, digits, `-`, `_`, `.`; at most 63 of them",
    ),
    "header that breaks the line": (
        'security_headers: { X-Frame-Options: "DENY\\r\\nX: y" }',
        "3:38: security_headers.X-Frame-Options: is not a header's value; write one line of printable ASCII",
    ),
    "header as a number": (
        "security_headers: { X-XSS-Protection: 0 }",
        "3:39: security_headers.X-XSS-Protection: is not a header's value; write one line of text, null for none, or `backend`",
    ),
    "origin as a list": (
        "cors: { allowed_origins: [[a]] }",
        "3:27: cors.allowed_origins[0]: is not an origin; write scheme and host, like https://chat.example.com",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "line"), REFUSED.values(), ids=REFUSED)
def test_refused_with_its_place(text: str, line: str) -> None:
    (only,) = said(BASE + text + "\n")
    assert only.startswith(f"P:{line}")
    assert only == f"P:{line}" or line.endswith("write one of")


BACKENDS = {
    "ftp://a": "is not an http or https URL; write one like https://api.example.com",
    "a.example:80": "is not an http or https URL; write one like https://api.example.com",
    "http://": "is not an http or https URL; write one like https://api.example.com",
    "http://a:x": "is not a URL; write one like https://api.example.com",
    "http://a:99999": "is not a URL; write one like https://api.example.com",
    "http://a:0": "is not an http or https URL; write one like https://api.example.com",
    "http://a b": "is not a URL; write one like https://api.example.com",
    "http://[::1": "is not a URL; write one like https://api.example.com",
    "http://user:pw@a": "holds a user or password; keep it out of the policy; credentials belong into the vault",
    "http://a?x=1": "has a query or a fragment; write scheme, host and port alone",
    "http://a#x": "has a query or a fragment; write scheme, host and port alone",
    "http://a/api": "has a path; write scheme, host and port alone: requests keep their own paths",
    "http://a_b..c": "has a host that is none; write one like https://api.example.com",
}


@pytest.mark.parametrize(("url", "what"), BACKENDS.items(), ids=BACKENDS)
def test_backend_urls_that_are_none(url: str, what: str) -> None:
    assert said(f'version: 1\nbackend: {{ url: "{url}" }}\n') == [f"P:2:17: backend.url: {what}"]


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:3001", "https://chat.example.com", "http://chat_app:80", "http://[::1]:80"]
)
def test_backend_urls(url: str) -> None:
    assert read(f'version: 1\nbackend: {{ url: "{url}/" }}\n').schema.backend.url == url


@pytest.mark.parametrize("version", ["2", '"1"', "1.0", "true", "~"])
def test_versions_that_are_not_known(version: str) -> None:
    what = "is not a version of the policy that is known here; write version: 1"
    assert said(f"version: {version}\nbackend: {{ url: http://127.0.0.1:1 }}\n") == [f"P:1:10: version: {what}"]


def test_what_must_be_there() -> None:
    assert said("mode: enforce\n") == [
        "P:1:1: version: is missing; write version: 1",
        "P:1:1: backend: is missing; write backend: { url: http://127.0.0.1:3001 }",
    ]


def test_every_problem_at_once_in_the_order_of_the_file() -> None:
    text = """version: 2
mode: enforced
clients: { trusted_proxies: [10.0.0.1/8, foo], bann: null }
requests: { max_body: 1MB, max_body: 2MiB }
rate_limits:
  - { name: a, per: ip, limit: 5 }
  - { name: b, per: session, limit: 5, window: 1m }
  - { name: b, per: ip, limit: 5, window: 1m }
routes:
  - { name: x, match: { path: api } }
  - { name: y, match: { path: /a/* }, credential: { provider: opnai } }
  - { name: y, match: { path: /a/b }, session: required, mesage: {} }
"""
    heads = [re.match(r"P:(\d+:\d+: [^:]+):", line)[1] for line in said(text)]  # type: ignore[index]
    assert heads == [
        "1:1: backend",
        "1:10: version",
        "2:7: mode",
        "3:30: clients.trusted_proxies[0]",
        "3:42: clients.trusted_proxies[1]",
        "3:48: clients.bann",
        "4:23: requests.max_body",
        "4:28: requests.max_body",
        "6:5: rate_limits[0].window",
        # Rules are asked although other parts are wrong, and speak of the file's own indexes.
        "7:21: rate_limits[1].per",
        "8:13: rate_limits[2].name",
        "10:31: routes[0].match.path",
        "11:63: routes[1].credential.provider",
        "12:13: routes[2].name",
        "12:16: routes[2].match",
        "12:48: routes[2].session",
        "12:58: routes[2].mesage",
    ]
    assert "P:8:13: rate_limits[2].name: is the name of rate_limits[1] too; give each limit a name of its own" in said(
        text
    )


def test_a_fault_is_reported_once() -> None:
    text = """version: 1
backend: { url: http://127.0.0.1:1 }
sessions: { mode: isue }
providers: { acme: { host: [a.example] } }
listen: { egress: { address: "127.0.0.1:8181" } }
egress: { providers: { acme: { url: https://a.example, allow: /v1 } } }
routes:
  - { name: a, match: { path: /a, methods: [get] } }
  - { name: b, match: { path: /a/b }, session: required, credential: { provider: acme, as: handle } }
"""
    assert [line.split(":")[1] for line in said(text)] == ["3", "4", "4", "6", "8"]


def test_aliased_faults_are_each_told() -> None:
    text = BASE + "clients: { allow: &a [x, 10.0.0.0/8], deny: *a }\nmode: observed\n"
    assert [line.split(": ")[1] for line in said(text)] == ["clients.allow[0]", "clients.deny[0]", "mode"]


SILENCE = {
    "mode": "enforce",
    "observe": "[]",
    "unmatched": "proxy",
    "listen.public.address": "0.0.0.0:8080",
    "listen.public.tls": "null",
    "listen.public.paths.session": "/api/session",
    "listen.public.paths.rate_limit_status": "/api/rate-limit/status",
    "listen.public.paths.csp_reports": "/.csp-reports",
    "listen.management.address": "127.0.0.1:9090",
    "listen.egress": "null",
    "listen.drain": "30s",
    "backend.preserve_host": "true",
    "backend.timeouts.connect": "2s",
    "backend.timeouts.first_byte": "1m",
    "backend.timeouts.idle": "5m",
    "backend.max_connections": "4096",
    "clients.trusted_proxies": "[]",
    "clients.ipv6_prefix": "64",
    "clients.allow": "[]",
    "clients.deny": "[]",
    "clients.ban.strikes": "20",
    "clients.ban.within": "1m",
    "clients.ban.for": "15m",
    "requests.hosts": "[]",
    "requests.max_body": "1MiB",
    "requests.max_header_bytes": "32KiB",
    "requests.max_target": "8KiB",
    "requests.https_only": "false",
    "requests.concurrent_per_client": "20",
    "cors.allowed_origins": "[]",
    "cors.allowed_methods": "[GET, POST, DELETE]",
    "cors.allowed_headers": "[content-type, authorization, x-session-id]",
    "cors.exposed_headers": "[]",
    "cors.allow_credentials": "true",
    "cors.max_age": "10m",
    "cors.dangerously_allow_insecure_origins": "false",
    "security_headers.preset": "app",
    "security_headers.report_only": "false",
    "organizations.from": "[token, header, host]",
    "organizations.hosts": "{}",
    "organizations.default": "default",
    "rate_limits[0].name": "ip-minute",
    "rate_limits[0].limit": "60",
    "rate_limits[0].window": "1m",
    "rate_limits[1].limit": "1000",
    "rate_limits[1].window": "1h",
    "rate_limits[2].limit": "3000",
    "rate_limits[2].counts": "all",
    "rate_limits[3].per": "organization",
    "rate_limits[3].organizations": "named",
    "sessions.mode": "off",
    "sessions.in": "[header:X-Session-ID, cookie:__Host-session, body:$.sessionId]",
    "sessions.max_age": "24h",
    "sessions.bind_to": "prefix",
    "routes": "[]",
    "egress.providers": "{}",
    "redaction.known_secrets": "true",
    "redaction.patterns": "[openai, stripe, aws, private_key]",
    "stores.redis.timeout": "60ms",
    "events.log": "stdout",
    "events.file": "null",
    "events.audit_retention": "90d",
}


def test_what_silence_means() -> None:
    effective = dict(values(read(BASE).schema))
    assert {path: effective.get(path) for path in SILENCE} == SILENCE


def test_null_switches_off() -> None:
    text = """clients: { ban: null }
requests: { concurrent_per_client: null }
websocket: { messages_per_minute: null }
listen: { public: { tls: null, paths: { session: null, rate_limit_status: null } }, egress: null }
events: { log: null }
security_headers: { X-Frame-Options: null, Referrer-Policy: backend, Content-Security-Policy: "default-src 'none'" }
routes: [{ name: a, match: { path: /a }, message: null, credential: null }]
"""
    schema = read(BASE + text).schema
    assert (schema.clients.ban, schema.requests.concurrent_per_client, schema.events.log) == (None, None, None)
    assert schema.security_headers.overrides() == {
        "X-Frame-Options": None,
        "Referrer-Policy": "backend",
        "Content-Security-Policy": "default-src 'none'",
    }


def test_null_is_the_origin_of_that_name() -> None:
    """The builder of the list of origins reports what is wrong with it."""
    assert read(BASE + "cors: { allowed_origins: [null] }").schema.cors.allowed_origins == ("null",)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ('"0.0.0.0:9191"', Address("0.0.0.0", 9191)),
        ('"[::]:9191"', Address("::", 9191)),
        ("localhost:0", Address("localhost", 0)),
        ('":9191"', Address("0.0.0.0", 9191)),
    ],
    ids=str,
)
def test_addresses(text: str, meant: Address) -> None:
    assert read(BASE + f"listen: {{ management: {{ address: {text} }} }}").schema.listen.management.address == meant


@pytest.mark.parametrize(
    ("text", "value", "back"),
    [("500ms", 0.5, "500ms"), ("1.5s", 1.5, "1.5s"), ("90s", 90, "90s"), ("120s", 120, "2m"), ("24h", 86400, "24h"),
     ("1d", 86400, "24h"), ("7d", 604800, "7d"), ("0s", 0, "0ms")],
)  # fmt: skip
def test_durations(text: str, value: float, back: str) -> None:
    assert seconds(text) == value
    assert as_duration(value) == back
    assert seconds(back) == value


@pytest.mark.parametrize(
    ("text", "value"), [("0B", 0), ("500B", 500), ("64KiB", 65536), ("1MiB", 2**20), ("3GiB", 3 * 2**30)]
)
def test_sizes(text: str, value: int) -> None:
    assert octets(text) == value
    assert as_size(value) == text


def test_values_never_change() -> None:
    schema = read(BASE).schema
    with pytest.raises(ValueError, match="frozen"):
        schema.requests.max_body = 1  # type: ignore[misc]


def test_the_lists_of_words_are_those_of_the_parts_that_know_them() -> None:
    from typing import get_args

    assert set(get_args(route.Protocol)) <= set(BY_NAME)
    assert {provider.name for provider in Catalogue.load()} == BUILT_IN_PROVIDERS


def test_every_key_is_described() -> None:
    def undescribed(section: type, path: str) -> list[str]:
        return [f"{path}.{name}" for name, field in section.model_fields.items() if not field.description]

    from sidecar.policy.schema.base_model import Section

    sections, found = [PolicySchema, *Section.__subclasses__()], []
    for section in sections:
        found += undescribed(section, section.__name__)
    assert found == []


def test_the_policies_of_the_project_are_fine() -> None:
    for path in sorted((Path(__file__).parents[3] / "config").glob("*.yaml")):
        assert said(path.read_text()) == [], path
