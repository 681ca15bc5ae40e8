"""Host, https, concurrency and Fetch Metadata: small guards, a table each."""

from __future__ import annotations

import pytest

from sidecar.decision import PASS, Answer, Refuse
from sidecar.errors import Problems
from sidecar.exchange import Client
from sidecar.guards.concurrency import ConcurrencyGuard, build_concurrency
from sidecar.guards.fetch_metadata import FetchMetadataGuard
from sidecar.guards.host import CACHED, build_host
from sidecar.guards.https import HttpsGuard
from sidecar.vocabulary import Code
from tests.support.exchanges import exchange

HOSTS = ["chat.example.com", "*.preview.example.com", "admin.example.com:8443", "[2001:db8::1]"]
ASKED = {
    "listed": ("chat.example.com", True),
    "any port": ("chat.example.com:8080", True),
    "capitals": ("Chat.Example.Com", True),
    "wildcard": ("a.preview.example.com", True),
    "wildcard, deeper, with a port": ("a.b.preview.example.com:8080", True),
    "wildcard needs a label": ("preview.example.com", False),
    "wildcard, empty label": (".preview.example.com", False),
    "half a label": ("evilpreview.example.com", False),
    "its own port": ("admin.example.com:8443", True),
    "another port": ("admin.example.com:8444", False),
    "no port": ("admin.example.com", False),
    "IPv6": ("[2001:db8::1]:8080", True),
    "another": ("evil.com", False),
    "listed in front": ("chat.example.com.evil.com", False),
    "an address": ("203.0.113.9", False),
    "empty": ("", False),
}


@pytest.mark.parametrize(("host", "served"), ASKED.values(), ids=ASKED)
def test_hosts(host, served) -> None:
    problems = Problems("requests.hosts")
    made = build_host(HOSTS, problems)
    assert made is not None
    assert not problems
    expected = PASS if served else Refuse(Code.MISDIRECTED_REQUEST, {"reason": "host"})
    for _ in range(2):
        assert made.check(exchange(Host=host)) == expected


def test_without_a_list_every_host_is_served() -> None:
    assert build_host([], Problems()) is None


@pytest.mark.parametrize(
    "text", ["", "https://chat.example.com", "chat.example.com/x", "*", "a..b", "a b", "chat.*.com"]
)
def test_hosts_that_are_none(text) -> None:
    problems = Problems("requests.hosts")
    assert build_host([text], problems) is not None  # and it serves nothing, rather than all
    assert [problem.path for problem in problems.found] == ["requests.hosts[0]"]


def test_a_flood_of_hosts_stays_bounded() -> None:
    made = build_host(HOSTS, Problems())
    assert made is not None
    for number in range(CACHED + 10):
        made.check(exchange(Host=f"h{number}"))
    assert len(made._known) <= CACHED
    before = len(made._known)
    assert made.check(exchange(Host="h" * 5000)) is not PASS
    assert len(made._known) == before


REDIRECT = [(b"Location", b"https://chat.example.com/a?b=%20"), (b"Cache-Control", b"no-store")]
PLAIN = Refuse(Code.FORBIDDEN, {"reason": "https only"})
HTTPS = {
    "https": ("POST", {}, True, PASS),
    "GET": ("GET", {}, False, Answer(308, REDIRECT)),
    "HEAD": ("HEAD", {}, False, Answer(308, REDIRECT)),
    "with a port": ("GET", {"Host": "chat.example.com:8080"}, False, Answer(308, REDIRECT)),
    "POST": ("POST", {}, False, PLAIN),
    "OPTIONS": ("OPTIONS", {}, False, PLAIN),
    "WebSocket": ("GET", {"Upgrade": "websocket"}, False, PLAIN),
    "no host": ("GET", {"Host": ""}, False, PLAIN),
}


@pytest.mark.parametrize(("method", "fields", "secure", "expected"), HTTPS.values(), ids=HTTPS)
def test_https_only(method, fields, secure, expected) -> None:
    asked = exchange(method, "/a?b=%20", secure=secure, **fields)
    assert HttpsGuard().check(asked) == expected


def test_a_redirect_keeps_to_the_host() -> None:
    answer = HttpsGuard().check(exchange("GET", "//evil.com/x"))
    assert isinstance(answer, Answer)
    assert answer.fields[0] == (b"Location", b"https://chat.example.com//evil.com/x")


def open_one(made: ConcurrencyGuard, address="203.0.113.9"):
    asked = exchange(client=Client(address, address, address))
    return made.check(asked), asked


def test_one_too_many() -> None:
    made = ConcurrencyGuard(2)
    _, first = open_one(made)
    assert open_one(made)[0] is PASS
    decision, refused = open_one(made)
    assert decision == Refuse(
        Code.RATE_LIMIT_EXCEEDED,
        {"limit": "concurrent_per_client", "per": "ip", "open": 2},
        [(b"Retry-After", b"1")],
    )
    assert refused.releases == []
    assert open_one(made, "203.0.113.10")[0] is PASS
    (release,) = first.releases
    release()
    assert open_one(made)[0] is PASS
    assert open_one(made)[0] is not PASS


def test_a_place_is_given_back_once() -> None:
    counts: dict[str, int] = {}
    made = ConcurrencyGuard(2, counts)
    _, first = open_one(made)
    open_one(made)
    for _ in range(3):
        first.releases[0]()
    assert counts == {"203.0.113.9": 1}


def test_the_table_holds_open_requests_only() -> None:
    counts: dict[str, int] = {}
    made = ConcurrencyGuard(1, counts)
    asked = [open_one(made, f"203.0.113.{number}")[1] for number in range(100)]
    assert len(counts) == 100
    for one in asked:
        one.releases[0]()
    assert counts == {}


def test_a_reload_forgets_no_stream() -> None:
    counts: dict[str, int] = {}
    _, stream = open_one(ConcurrencyGuard(1, counts))
    later = ConcurrencyGuard(1, counts)
    assert open_one(later)[0] is not PASS
    stream.releases[0]()
    assert open_one(later)[0] is PASS


def test_a_limit_that_admits_nobody() -> None:
    problems = Problems("requests.concurrent_per_client")
    build_concurrency(0, problems)
    assert [problem.path for problem in problems.found] == ["requests.concurrent_per_client"]


ALLOWED = b"https://your-website.com"
SITES = {
    # method, Sec-Fetch-*, allowed Origin, passes
    "not said": ("POST", {}, None, True),
    "own page": ("POST", {"Sec_Fetch_Site": "same-origin"}, None, True),
    "a person": ("POST", {"Sec_Fetch_Site": "none"}, None, True),
    "cross-site": ("POST", {"Sec_Fetch_Site": "cross-site"}, None, False),
    "cross-site, allowed": ("POST", {"Sec_Fetch_Site": "cross-site"}, ALLOWED, True),
    "same-site": ("POST", {"Sec_Fetch_Site": "same-site"}, None, False),
    "same-site, allowed": ("POST", {"Sec_Fetch_Site": "same-site"}, ALLOWED, True),
    "unknown value": ("POST", {"Sec_Fetch_Site": "near"}, None, False),
    "empty value": ("POST", {"Sec_Fetch_Site": ""}, None, False),
    "capitals": ("POST", {"Sec_Fetch_Site": "SAME-ORIGIN"}, None, False),
    "PUT": ("PUT", {"Sec_Fetch_Site": "cross-site"}, None, False),
    "DELETE": ("DELETE", {"Sec_Fetch_Site": "cross-site"}, None, False),
    "a made-up method": ("BREW", {"Sec_Fetch_Site": "cross-site"}, None, False),
    "form": ("POST", {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"}, None, False),
    "link": ("GET", {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"}, None, True),
    "image": ("GET", {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors"}, None, True),
    "HEAD": ("HEAD", {"Sec_Fetch_Site": "cross-site"}, None, True),
    "preflight": ("OPTIONS", {"Sec_Fetch_Site": "cross-site"}, None, True),
    "socket": ("GET", {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "websocket"}, None, False),
    "socket, allowed": ("GET", {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "websocket"}, ALLOWED, True),
    "own socket": ("GET", {"Sec_Fetch_Site": "same-origin", "Sec_Fetch_Mode": "websocket"}, None, True),
}


@pytest.mark.parametrize(("method", "fields", "origin", "passes"), SITES.values(), ids=SITES)
def test_fetch_metadata(method, fields, origin, passes) -> None:
    asked = exchange(method, **fields)
    asked.origin = origin
    decision = FetchMetadataGuard().check(asked)
    if passes:
        assert decision is PASS
    else:
        assert isinstance(decision, Refuse)
        assert decision.code is Code.CSRF_BLOCKED
