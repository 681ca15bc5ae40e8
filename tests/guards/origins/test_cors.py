"""CORS as a table: what is asked, what is decided, what is stamped."""

from __future__ import annotations

import pytest

from sidecar.decision import PASS, Answer, Refuse
from sidecar.errors import Problems
from sidecar.exchange import Client
from sidecar.guards.origins.cors import CACHED, CORS_HEADERS, OWN_EXPOSED, CorsGuard, build_cors
from sidecar.vocabulary import Code
from tests.support.exchanges import exchange

ORIGINS = (
    "https://your-website.com",
    "https://*.preview.your-website.com",
    "https://admin.your-website.com:8443",
    "http://localhost:3000",
    "https://any.your-website.com:*",
    "https://[2001:db8::1]",
    "https://xn--bcher-kva.example",
    "chrome-extension://abcdefghijklmnop",
)


def build(origins=ORIGINS, **changes):
    problems = Problems("cors")
    arguments = {
        "allowed_origins": list(origins),
        "allowed_methods": ["GET", "POST", "DELETE"],
        "allowed_headers": ["content-type", "Authorization", "x-session-id"],
        "exposed_headers": [],
        "allow_credentials": True,
        "max_age": 600,
        "dangerously_allow_insecure_origins": False,
    } | changes
    return build_cors(**arguments, problems=problems), problems


def guard(origins=ORIGINS, **changes) -> CorsGuard:
    made, problems = build(origins, **changes)
    assert not problems.found, problems.found
    return made


def stamped(made: CorsGuard, asked) -> dict[str, str]:
    lines = made.header_writer.lines(asked).decode().split("\r\n")
    assert lines.pop() == ""
    return dict(line.split(": ", 1) for line in lines)


ASKED = {
    # (Origin, allowed)
    "listed": ("https://your-website.com", True),
    "not listed": ("https://malicious-site.com", False),
    "plain http of a listed one": ("http://your-website.com", False),
    "another port": ("https://your-website.com:444", False),
    "default port spelled": ("https://your-website.com:443", False),
    "capitals in the host": ("https://Your-Website.com", False),
    "capitals in the scheme": ("HTTPS://your-website.com", False),
    "trailing slash": ("https://your-website.com/", False),
    "trailing dot": ("https://your-website.com.", False),
    "path": ("https://your-website.com/x", False),
    "userinfo": ("https://user@your-website.com", False),
    "listed as userinfo": ("https://your-website.com@evil.com", False),
    "listed as a prefix": ("https://your-website.com.evil.com", False),
    "listed as a suffix": ("https://evil-your-website.com", False),
    "listed as a fragment": ("https://evil.com#your-website.com", False),
    "blank in front": (" https://your-website.com", False),
    "two origins": ("https://your-website.com https://evil.com", False),
    "two header lines": ("https://your-website.com, https://your-website.com", False),
    "NUL": ("https://your-website.com\x00.evil.com", False),
    "subdomain of an exact one": ("https://www.your-website.com", False),
    "null": ("null", False),
    "NULL": ("NULL", False),
    "empty": ("", False),
    "star": ("*", False),
    "rubbish": ("rubbish", False),
    "file": ("file://", False),
    "port": ("https://admin.your-website.com:8443", True),
    "port missing": ("https://admin.your-website.com", False),
    "port with zeros": ("https://admin.your-website.com:08443", False),
    "localhost": ("http://localhost:3000", True),
    "localhost, other port": ("http://localhost:3001", False),
    "localhost, a name below": ("http://evil.localhost:3000", False),
    "localhost by address": ("http://127.0.0.1:3000", False),
    "any port: none": ("https://any.your-website.com", True),
    "any port: some": ("https://any.your-website.com:65535", True),
    "any port: too high": ("https://any.your-website.com:65536", False),
    "any port: zero": ("https://any.your-website.com:0", False),
    "any port: empty": ("https://any.your-website.com:", False),
    "any port: zeros": ("https://any.your-website.com:0080", False),
    "any port: the default spelled": ("https://any.your-website.com:443", False),
    "any port: a name": ("https://any.your-website.com:80.evil.com", False),
    "wildcard: one label": ("https://pr-7.preview.your-website.com", True),
    "wildcard: two labels": ("https://a.b.preview.your-website.com", True),
    "wildcard: its own suffix again": ("https://preview.your-website.com.preview.your-website.com", True),
    "wildcard: none": ("https://preview.your-website.com", False),
    "wildcard: empty label": ("https://.preview.your-website.com", False),
    "wildcard: empty label inside": ("https://a..preview.your-website.com", False),
    "wildcard: half a label": ("https://evilpreview.your-website.com", False),
    "wildcard: star": ("https://*.preview.your-website.com", False),
    "wildcard: capitals": ("https://PR.preview.your-website.com", False),
    "wildcard: hyphen in front": ("https://-a.preview.your-website.com", False),
    "wildcard: hyphen at the end": ("https://a-.preview.your-website.com", False),
    "wildcard: underscore": ("https://a_b.preview.your-website.com", True),
    "wildcard: 63 letters": (f"https://{'a' * 63}.preview.your-website.com", True),
    "wildcard: 64 letters": (f"https://{'a' * 64}.preview.your-website.com", False),
    "wildcard: too long": (f"https://{'a.' * 120}preview.your-website.com", False),
    "wildcard: userinfo": ("https://evil.com@a.preview.your-website.com", False),
    "wildcard: slash": ("https://evil.com/.preview.your-website.com", False),
    "wildcard: backslash": ("https://evil.com\\.preview.your-website.com", False),
    "wildcard: question mark": ("https://evil.com?.preview.your-website.com", False),
    "wildcard: port": ("https://a.preview.your-website.com:8443", False),
    "wildcard: more behind": ("https://a.preview.your-website.com.evil.com", False),
    "wildcard: plain http": ("http://a.preview.your-website.com", False),
    "wildcard: quote": ("https://a'.preview.your-website.com", False),
    "wildcard: not ASCII": ("https://\xe4.preview.your-website.com", False),
    "IPv6": ("https://[2001:db8::1]", True),
    "IPv6 spelled otherwise": ("https://[2001:db8:0:0::1]", False),
    "IPv6 without brackets": ("https://2001:db8::1", False),
    "IDNA": ("https://xn--bcher-kva.example", True),
    "IDNA in letters": ("https://b\xfccher.example", False),
    "extension": ("chrome-extension://abcdefghijklmnop", True),
    "another extension": ("chrome-extension://abcdefghijklmnoq", False),
    "very long": ("https://" + "a" * 5000, False),
}


@pytest.mark.parametrize(("origin", "allowed"), ASKED.values(), ids=ASKED)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_origins(origin, allowed, method) -> None:
    made = guard()
    asked = exchange(method, Origin=origin)
    for _ in range(2):  # once to learn, once from memory
        decision = made.check(asked)
        headers = stamped(made, asked)
        if allowed:
            assert decision is PASS
            assert asked.origin == origin.encode("latin-1")
            assert headers["Access-Control-Allow-Origin"] == origin
            assert headers["Access-Control-Allow-Credentials"] == "true"
        else:
            assert isinstance(decision, Refuse)
            assert decision.code is Code.CORS_BLOCKED
            assert asked.origin is None
            assert "Access-Control-Allow-Origin" not in headers
        assert headers["Vary"] == "Origin"


SAME = {
    # (Origin, Host, secure, passes)
    "same": ("http://chat.example.com", "chat.example.com", False, True),
    "same, https": ("https://chat.example.com", "chat.example.com", True, True),
    "stronger than we know of": ("https://chat.example.com", "chat.example.com", False, True),
    "weaker": ("http://chat.example.com", "chat.example.com", True, False),
    "port": ("http://chat.example.com:8080", "chat.example.com:8080", False, True),
    "port in Host only": ("http://chat.example.com", "chat.example.com:8080", False, False),
    "port in Origin only": ("http://chat.example.com:8080", "chat.example.com", False, False),
    "default port spelled in Host": ("http://chat.example.com", "chat.example.com:80", False, True),
    "default port of https spelled in Host": ("https://chat.example.com", "chat.example.com:443", True, True),
    "the other default port": ("https://chat.example.com", "chat.example.com:80", False, False),
    "capitals in Host": ("http://chat.example.com", "Chat.Example.COM", False, True),
    "IPv6": ("http://[::1]:8080", "[::1]:8080", False, True),
    "another host": ("http://evil.com", "chat.example.com", False, False),
    "a name below": ("http://a.chat.example.com", "chat.example.com", False, False),
    "a name above": ("http://example.com", "chat.example.com", False, False),
    "another scheme": ("ftp://chat.example.com", "chat.example.com", False, False),
    "no scheme": ("chat.example.com", "chat.example.com", False, False),
    "userinfo": ("http://x@chat.example.com", "chat.example.com", False, False),
    "null": ("null", "null", False, False),
    "empty": ("http://", "", False, False),
}


@pytest.mark.parametrize(("origin", "host", "secure", "passes"), SAME.values(), ids=SAME)
def test_a_page_of_our_own_host_passes(origin, host, secure, passes) -> None:
    asked = exchange("POST", secure=secure, Origin=origin, Host=host)
    decision = guard([]).check(asked)
    assert (decision is PASS) is passes
    assert (asked.origin is not None) is passes


def test_a_request_without_origin_passes() -> None:
    made, asked = guard(), exchange("POST")
    assert made.check(asked) is PASS
    assert stamped(made, asked) == {"Vary": "Origin"}


def test_a_preflight_is_answered_here() -> None:
    made = guard()
    asked = exchange(
        "OPTIONS",
        Origin="https://your-website.com",
        Access_Control_Request_Method="POST",
        Access_Control_Request_Headers="content-type,x-session-id",
    )
    assert made.check(asked) == Answer(
        204,
        [
            (b"Access-Control-Allow-Methods", b"GET, POST, DELETE"),
            (b"Access-Control-Allow-Headers", b"content-type, authorization, x-session-id"),
            (b"Access-Control-Max-Age", b"600"),
        ],
    )
    assert stamped(made, asked) == {
        "Access-Control-Allow-Origin": "https://your-website.com",
        "Access-Control-Allow-Credentials": "true",
        "Access-Control-Expose-Headers": ", ".join(OWN_EXPOSED),
        "Vary": "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
    }


def test_a_foreign_preflight_is_refused() -> None:
    made = guard()
    asked = exchange("OPTIONS", Origin="https://evil.com", Access_Control_Request_Method="POST")
    assert isinstance(made.check(asked), Refuse)
    assert stamped(made, asked)["Vary"].startswith("Origin, ")


def test_access_to_a_private_network_is_never_granted() -> None:
    asked = exchange(
        "OPTIONS",
        Origin="https://your-website.com",
        Access_Control_Request_Method="GET",
        Access_Control_Request_Private_Network="true",
    )
    made = guard()
    decision = made.check(asked)
    assert isinstance(decision, Answer)
    assert not any(b"private" in name.lower() for name, _ in decision.fields)
    assert b"private" not in made.header_writer.lines(asked).lower()


def test_options_without_a_requested_method_is_the_backends() -> None:
    assert guard().check(exchange("OPTIONS", Origin="https://your-website.com")) is PASS


STARS = {
    "headers": (
        {"allowed_headers": ["*"]},
        "x-a, x-b",
        {b"Access-Control-Allow-Headers": b"x-a, x-b"},
    ),
    "headers that are none": ({"allowed_headers": ["*"]}, "x-a: y", {}),
    "too many headers": ({"allowed_headers": ["*"]}, ", ".join(["x"] * 40), {}),
    "no headers allowed": ({"allowed_headers": []}, "x-a", {}),
}


@pytest.mark.parametrize(("changes", "wanted", "expected"), STARS.values(), ids=STARS)
def test_a_star_among_the_headers_is_answered_by_name(changes, wanted, expected) -> None:
    asked = exchange(
        "OPTIONS",
        Origin="https://your-website.com",
        Access_Control_Request_Method="GET",
        Access_Control_Request_Headers=wanted,
    )
    decision = guard(**changes).check(asked)
    assert isinstance(decision, Answer)
    assert {name: value for name, value in decision.fields if name.endswith(b"Headers")} == expected


def test_any_origin_without_credentials() -> None:
    made = guard(["*"], allow_credentials=False)
    asked = exchange(Origin="https://anybody.example")
    assert made.check(asked) is PASS
    headers = stamped(made, asked)
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in headers
    assert isinstance(made.check(exchange(Origin="null")), Refuse)


def test_null_without_credentials() -> None:
    made = guard(["null"], allow_credentials=False)
    asked = exchange(Origin="null")
    assert made.check(asked) is PASS
    assert stamped(made, asked)["Access-Control-Allow-Origin"] == "null"


def test_exposed_headers_join_our_own_once() -> None:
    made = guard(exposed_headers=["X-Mine", "x-request-id", "x-mine"])
    exposed = stamped(made, exchange(Origin="https://your-website.com"))["Access-Control-Expose-Headers"]
    assert exposed.split(", ") == [*OWN_EXPOSED, "X-Mine"]


def test_the_backends_own_headers_are_replaced() -> None:
    assert guard().header_writer.owns == CORS_HEADERS
    assert b"vary" not in guard().header_writer.owns


def test_observing_leaves_the_backends_headers_alone() -> None:
    made = guard(observe=True)
    assert made.header_writer.owns == frozenset()
    assert made.header_writer.lines(exchange(Origin="https://your-website.com")) == b""
    asked = exchange("OPTIONS", Origin="https://your-website.com", Access_Control_Request_Method="GET")
    decision = made.check(asked)
    assert isinstance(decision, Answer)
    assert (b"Access-Control-Allow-Origin", b"https://your-website.com") in decision.fields
    assert isinstance(made.check(exchange(Origin="https://evil.com")), Refuse)


def test_refusals_of_earlier_guards_are_stamped_too() -> None:
    made, asked = guard(), exchange(Origin="https://your-website.com")
    assert stamped(made, asked)["Access-Control-Allow-Origin"] == "https://your-website.com"


def test_a_flood_of_origins_stays_bounded() -> None:
    made = guard()
    for number in range(CACHED // 120 + 10):
        asked = exchange(Origin=f"https://a{number}.preview.your-website.com", Host=f"h{number}")
        made.check(asked)
        made.check(exchange(Origin=f"https://evil{number}.com", Host=f"h{number}"))
        made.header_writer.lines(asked)
    assert 0 < len(made._known) <= CACHED // 120
    assert 0 < len(made.header_writer._known) <= CACHED // 120
    assert 0 < len(made._same._known) <= CACHED // 120


BAD = {
    "star with credentials": ({"allowed_origins": ["*"]}, "allowed_origins[0]", "credentials"),
    "null with credentials": (
        {"allowed_origins": ["https://a.example.com", "null"]},
        "allowed_origins[1]",
        "credentials",
    ),
    "method": ({"allowed_methods": ["GET", "get"]}, "allowed_methods[1]", "case-sensitive"),
    "forbidden method": ({"allowed_methods": ["TRACE"]}, "allowed_methods[0]", "forbidden"),
    "two methods in one": ({"allowed_methods": ["GET, POST"]}, "allowed_methods[0]", "not a name"),
    "header": ({"allowed_headers": ["x y"]}, "allowed_headers[0]", "not a name"),
    "line break": ({"exposed_headers": ["x\r\ny: z"]}, "exposed_headers[0]", "not a name"),
    "exposed star": ({"exposed_headers": ["*"]}, "exposed_headers", "credentials"),
    "negative age": ({"max_age": -1}, "max_age", "not a time"),
    "age beyond all browsers": ({"max_age": 86_401}, "max_age", "not a time"),
}


@pytest.mark.parametrize(("changes", "path", "what"), BAD.values(), ids=BAD)
def test_what_the_compiler_refuses(changes, path, what) -> None:
    _, problems = build(**changes)
    assert [problem.path for problem in problems.found] == [f"cors.{path}"]
    assert what in problems.found[0].what
    assert problems.found[0].instead


def test_all_problems_are_reported_at_once() -> None:
    _, problems = build(["*", "http://a.com", "https://*.com"], allowed_methods=["get"], max_age=-5)
    assert len(problems.found) == 5


ATTESTED = {
    # trusted peer, X-Forwarded-Host, Sec-Fetch-Site: passes
    "the browser says so": (True, None, "same-origin", True),
    "another site": (True, None, "cross-site", False),
    "a sibling": (True, None, "same-site", False),
    "nothing said": (True, None, None, False),
    "an untrusted peer": (False, None, "same-origin", False),
    "the proxy knows better": (True, "chat.example.com", "same-origin", False),
}


@pytest.mark.parametrize(("trusted", "host", "site", "passes"), ATTESTED.values(), ids=ATTESTED)
def test_where_host_is_unknown_the_browsers_word_counts(trusted, host, site, passes) -> None:
    client = Client("10.0.0.1", "10.0.0.1", "10.0.0.0/24", trusted)
    fields = {"host": "127.0.0.1:8080", "origin": "https://page.example.com"}
    if site is not None:
        fields["sec_fetch_site"] = site
    asked = exchange("POST", client=client, **fields)
    asked.public_host = host.encode() if host is not None else None
    decision = guard().check(asked)
    assert (decision is PASS) is passes
