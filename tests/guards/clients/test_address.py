"""Who the client is, by which headers of whom."""

from __future__ import annotations

import pytest

from sidecar.decision import PASS, Refuse
from sidecar.errors import Problems
from sidecar.guards.clients.address import CACHED, AddressGuard, accepted_request_id, build_address
from sidecar.vocabulary import Code
from tests.support.exchanges import exchange, head


def guard(trusted=("10.0.0.0/8", "2001:db8:ffff::/48"), prefix=64, allow=(), deny=()) -> AddressGuard:
    problems = Problems("clients")
    made = build_address(trusted, prefix, allow, deny, problems)
    assert not problems.found, problems.found
    return made


PROXY = "10.0.0.1"
WALKS = {
    "no header": (PROXY, {}, PROXY),
    "untrusted peer is not believed": ("203.0.113.9", {"x_forwarded_for": "1.2.3.4"}, "203.0.113.9"),
    "untrusted peer, Forwarded": ("203.0.113.9", {"forwarded": "for=1.2.3.4"}, "203.0.113.9"),
    "one hop": (PROXY, {"x_forwarded_for": "198.51.100.7"}, "198.51.100.7"),
    "a forged item in front": (PROXY, {"x_forwarded_for": "1.2.3.4, 198.51.100.7"}, "198.51.100.7"),
    "two trusted hops": (PROXY, {"x_forwarded_for": "1.2.3.4, 198.51.100.7, 10.9.9.9"}, "198.51.100.7"),
    "all trusted: the outermost": (PROXY, {"x_forwarded_for": "10.3.3.3, 10.2.2.2"}, "10.3.3.3"),
    "port": (PROXY, {"x_forwarded_for": "198.51.100.7:4711"}, "198.51.100.7"),
    "IPv6": (PROXY, {"x_forwarded_for": "2001:db8:1:2::9"}, "2001:db8:1:2::9"),
    "IPv6 with port": (PROXY, {"x_forwarded_for": "[2001:db8:1:2::9]:443"}, "2001:db8:1:2::9"),
    "IPv6 in brackets": (PROXY, {"x_forwarded_for": "[2001:db8:1:2::9]"}, "2001:db8:1:2::9"),
    "IPv6 with zone": (PROXY, {"x_forwarded_for": "fe80::1%eth0"}, "fe80::1"),
    "mapped IPv4": (PROXY, {"x_forwarded_for": "::ffff:198.51.100.7"}, "198.51.100.7"),
    "mapped peer": ("::ffff:10.0.0.1", {"x_forwarded_for": "198.51.100.7"}, "198.51.100.7"),
    "IPv6 peer is trusted": ("2001:db8:ffff::1", {"x_forwarded_for": "198.51.100.7"}, "198.51.100.7"),
    "invalid text ends the search": (PROXY, {"x_forwarded_for": "198.51.100.7, rubbish"}, PROXY),
    "rubbish further out": (PROXY, {"x_forwarded_for": "198.51.100.7, rubbish, 10.2.2.2"}, "10.2.2.2"),
    "unknown": (PROXY, {"x_forwarded_for": "unknown"}, PROXY),
    "empty": (PROXY, {"x_forwarded_for": ""}, PROXY),
    "empty item": (PROXY, {"x_forwarded_for": "198.51.100.7, "}, PROXY),
    "leading zeros": (PROXY, {"x_forwarded_for": "198.051.100.7"}, PROXY),
    "port that is none": (PROXY, {"x_forwarded_for": "198.51.100.7:http"}, PROXY),
    "quotes": (PROXY, {"x_forwarded_for": '"198.51.100.7"'}, "198.51.100.7"),
    "Forwarded": (PROXY, {"forwarded": "for=198.51.100.7;proto=https;by=10.0.0.1"}, "198.51.100.7"),
    "Forwarded, quoted IPv6": (PROXY, {"forwarded": 'For="[2001:db8:1:2::9]:4711"'}, "2001:db8:1:2::9"),
    "Forwarded, two": (PROXY, {"forwarded": "for=1.2.3.4, for=198.51.100.7"}, "198.51.100.7"),
    "Forwarded, hidden": (PROXY, {"forwarded": "for=_hidden"}, PROXY),
    "Forwarded, without for": (PROXY, {"forwarded": "proto=https"}, PROXY),
    "X-Forwarded-For wins": (PROXY, {"x_forwarded_for": "198.51.100.7", "forwarded": "for=1.2.3.4"}, "198.51.100.7"),
    "X-Real-IP is never read": (PROXY, {"x_real_ip": "1.2.3.4"}, PROXY),
    "very long": (PROXY, {"x_forwarded_for": "1.2.3.4, " * 500 + "198.51.100.7"}, "198.51.100.7"),
    "more trusted hops than are looked at": (PROXY, {"x_forwarded_for": "1.2.3.4" + ", 10.1.1.1" * 40}, "10.1.1.1"),
}


@pytest.mark.parametrize(("peer", "fields", "expected"), WALKS.values(), ids=WALKS)
def test_the_client_is_the_first_hop_that_is_not_trusted(peer, fields, expected) -> None:
    asked = exchange(peer=peer, **fields)
    made = guard()
    assert made.check(asked) is PASS
    assert asked.client.address == expected
    again = exchange(peer=peer, **fields)
    made.check(again)
    assert again.client == asked.client


SCHEMES = {
    "untrusted peer": ("203.0.113.9", False, {"x_forwarded_proto": "https"}, False),
    "trusted peer": (PROXY, False, {"x_forwarded_for": "198.51.100.7", "x_forwarded_proto": "https"}, True),
    "without addresses": (PROXY, False, {"x_forwarded_proto": "https"}, True),
    "in capitals": (PROXY, False, {"x_forwarded_proto": "HTTPS"}, True),
    "TLS to us, plain outside": (PROXY, True, {"x_forwarded_proto": "http"}, False),
    "says nothing": (PROXY, True, {"x_forwarded_for": "198.51.100.7"}, True),
    "says rubbish": (PROXY, True, {"x_forwarded_proto": "gopher"}, True),
    "one scheme per hop": (
        PROXY,
        False,
        {"x_forwarded_for": "198.51.100.7, 10.2.2.2", "x_forwarded_proto": "https, http"},
        True,
    ),
    "a forged item in front of the hop's own": (
        PROXY,
        False,
        {"x_forwarded_for": "1.2.3.4, 198.51.100.7", "x_forwarded_proto": "https, http"},
        False,
    ),
    "more schemes than hops": (
        PROXY,
        False,
        {"x_forwarded_for": "198.51.100.7", "x_forwarded_proto": "https, http"},
        False,
    ),
    "Forwarded": (PROXY, False, {"forwarded": "for=198.51.100.7;proto=https"}, True),
    "Forwarded, plain": (PROXY, True, {"forwarded": "for=198.51.100.7;proto=http"}, False),
    "Forwarded beside X-Forwarded-Proto": (
        PROXY,
        False,
        {"forwarded": "for=198.51.100.7", "x_forwarded_proto": "https"},
        True,
    ),
}


@pytest.mark.parametrize(("peer", "secure", "fields", "expected"), SCHEMES.values(), ids=SCHEMES)
def test_the_public_scheme_is_a_trusted_proxys_word(peer, secure, fields, expected) -> None:
    asked = exchange(peer=peer, secure=secure, **fields)
    guard().check(asked)
    assert asked.secure is expected


PUBLIC_HOSTS = {
    # peer, fields, what the request's public host is
    "none said": (PROXY, {"host": "10.0.0.2:8080"}, b"10.0.0.2:8080"),
    "said": (PROXY, {"host": "127.0.0.1:8080", "x_forwarded_host": "chat.example.com"}, b"chat.example.com"),
    "said beside an address": (
        PROXY,
        {"host": "10.0.0.2", "x_forwarded_for": "198.51.100.7", "x_forwarded_host": "Chat.Example.com"},
        b"chat.example.com",
    ),
    "untrusted peer": ("203.0.113.9", {"host": "a.example", "x_forwarded_host": "b.example"}, b"a.example"),
    "untrusted peer, Forwarded": ("203.0.113.9", {"host": "a.example", "forwarded": "host=b.example"}, b"a.example"),
    "port in the host": (PROXY, {"x_forwarded_host": "chat.example.com:8443"}, b"chat.example.com:8443"),
    "port beside the host": (
        PROXY,
        {"x_forwarded_host": "chat.example.com", "x_forwarded_port": "8443"},
        b"chat.example.com:8443",
    ),
    "two ports: the host's own": (
        PROXY,
        {"x_forwarded_host": "chat.example.com:9443", "x_forwarded_port": "8443"},
        b"chat.example.com:9443",
    ),
    "usual ports are not spelled": (
        PROXY,
        {"x_forwarded_host": "chat.example.com", "x_forwarded_port": "443", "x_forwarded_proto": "https"},
        b"chat.example.com",
    ),
    "port 80 of a balancer behind TLS": (
        PROXY,
        {"x_forwarded_host": "chat.example.com", "x_forwarded_port": "80", "x_forwarded_proto": "https"},
        b"chat.example.com",
    ),
    "a port alone": (PROXY, {"host": "chat.example.com", "x_forwarded_port": "8443"}, b"chat.example.com:8443"),
    "a port alone, Host has one": (PROXY, {"host": "a.example:81", "x_forwarded_port": "8443"}, b"a.example:81"),
    "a port that is none": (PROXY, {"x_forwarded_host": "a.example", "x_forwarded_port": "70000"}, b"a.example"),
    "IPv6": (PROXY, {"x_forwarded_host": "[2001:DB8:0::1]:8443"}, b"[2001:db8::1]:8443"),
    "IPv6 and a port beside it": (
        PROXY,
        {"x_forwarded_host": "[2001:db8::1]", "x_forwarded_port": "8443"},
        b"[2001:db8::1]:8443",
    ),
    "IPv6 Host and a port": (PROXY, {"host": "[2001:db8::1]", "x_forwarded_port": "8443"}, b"[2001:db8::1]:8443"),
    "one host per hop": (
        PROXY,
        {"x_forwarded_for": "198.51.100.7, 10.2.2.2", "x_forwarded_host": "chat.example.com, inner.example"},
        b"chat.example.com",
    ),
    "a forged item in front": (
        PROXY,
        {"x_forwarded_for": "1.2.3.4, 198.51.100.7", "x_forwarded_host": "evil.example, chat.example.com"},
        b"chat.example.com",
    ),
    "more hosts than hops": (
        PROXY,
        {"x_forwarded_for": "198.51.100.7", "x_forwarded_host": "evil.example, chat.example.com"},
        b"chat.example.com",
    ),
    "Forwarded": (PROXY, {"forwarded": "for=198.51.100.7;host=chat.example.com;proto=https"}, b"chat.example.com"),
    "Forwarded, quoted with a port": (PROXY, {"forwarded": 'host="chat.example.com:8443"'}, b"chat.example.com:8443"),
    "Forwarded, quoted IPv6": (PROXY, {"forwarded": 'Host="[2001:db8::1]:8443"'}, b"[2001:db8::1]:8443"),
    "Forwarded, several": (
        PROXY,
        {"forwarded": "for=1.2.3.4;host=evil.example, for=198.51.100.7;host=chat.example.com, for=10.2.2.2;host=inner"},
        b"chat.example.com",
    ),
    "Forwarded without a host, beside X-Forwarded-Host": (
        PROXY,
        {"forwarded": "for=198.51.100.7", "x_forwarded_host": "chat.example.com"},
        b"chat.example.com",
    ),
    "X-Forwarded-For: Forwarded is the client's": (
        PROXY,
        {"host": "a.example", "x_forwarded_for": "198.51.100.7", "forwarded": "host=evil.example"},
        b"a.example",
    ),
    "userinfo": (PROXY, {"host": "a.example", "x_forwarded_host": "user@evil.example"}, b"a.example"),
    "a path": (PROXY, {"host": "a.example", "x_forwarded_host": "evil.example/x"}, b"a.example"),
    "a URL": (PROXY, {"host": "a.example", "x_forwarded_host": "https://evil.example"}, b"a.example"),
    "no address in brackets": (PROXY, {"host": "a.example", "x_forwarded_host": "[1::2::3]"}, b"a.example"),
    "endless": (PROXY, {"host": "a.example", "x_forwarded_host": "a" * 300}, b"a.example"),
    "empty": (PROXY, {"host": "a.example", "x_forwarded_host": ""}, b"a.example"),
}


@pytest.mark.parametrize(("peer", "fields", "expected"), PUBLIC_HOSTS.values(), ids=PUBLIC_HOSTS)
def test_the_public_host_is_a_trusted_proxys_word(peer, fields, expected) -> None:
    made = guard()
    for _ in range(2):  # the second time from memory
        asked = exchange(peer=peer, **fields)
        made.check(asked)
        assert asked.host == expected


def test_a_remembered_walk_takes_no_other_requests_host() -> None:
    made = guard()
    for host in ("a.example", "b.example"):
        asked = exchange(peer=PROXY, host=host, x_forwarded_port="8443")
        made.check(asked)
        assert asked.host == f"{host}:8443".encode()


LISTS = {
    "denied": ({"deny": ["203.0.113.0/24"]}, "203.0.113.9", "deny"),
    "not denied": ({"deny": ["203.0.113.0/24"]}, "203.0.114.9", None),
    "denied, mapped": ({"deny": ["203.0.113.0/24"]}, "::ffff:203.0.113.9", "deny"),
    "denied, the network is mapped": ({"deny": ["::ffff:203.0.113.0/120"]}, "203.0.113.9", "deny"),
    "denied IPv6": ({"deny": ["2001:db8::/32"]}, "2001:db8::1", "deny"),
    "allowed": ({"allow": ["203.0.113.9"]}, "203.0.113.9", None),
    "not allowed": ({"allow": ["203.0.113.9"]}, "203.0.113.10", "not on the allow list"),
    "not allowed, the other version": ({"allow": ["203.0.113.9"]}, "2001:db8::1", "not on the allow list"),
    "deny beats allow": ({"allow": ["203.0.113.0/24"], "deny": ["203.0.113.9"]}, "203.0.113.9", "deny"),
    "no address, with a list": ({"allow": ["203.0.113.9"]}, "", "not on the allow list"),
    "no address, without one": ({}, "", None),
}


@pytest.mark.parametrize(("lists", "peer", "reason"), LISTS.values(), ids=LISTS)
def test_lists(lists, peer, reason) -> None:
    asked = exchange(peer=peer)
    decision = guard(**lists).check(asked)
    expected = PASS if reason is None else Refuse(Code.IP_BLOCKED, {"reason": reason})
    assert decision == expected
    assert asked.client.refused is (reason is not None)


def test_the_lists_mean_the_client_and_not_the_proxy() -> None:
    made = guard(deny=["198.51.100.7", "10.0.0.0/8"])
    assert isinstance(made.check(exchange(peer=PROXY, x_forwarded_for="198.51.100.7")), Refuse)
    assert made.check(exchange(peer=PROXY, x_forwarded_for="198.51.100.8")) is PASS


SUBJECTS = {
    "IPv4": ("203.0.113.9", 64, "203.0.113.9", "203.0.113.0/24"),
    "IPv6": ("2001:db8:1:2:3::9", 64, "2001:db8:1:2::/64", "2001:db8:1:2::/64"),
    "a wider client": ("2001:db8:1:2:3::9", 56, "2001:db8:1::/56", "2001:db8:1:2::/64"),
    "a single address": ("2001:db8::9", 128, "2001:db8::9/128", "2001:db8::/64"),
}


@pytest.mark.parametrize(("peer", "prefix", "subject", "network"), SUBJECTS.values(), ids=SUBJECTS)
def test_what_counts_as_one_client(peer, prefix, subject, network) -> None:
    asked = exchange(peer=peer)
    guard(prefix=prefix).check(asked)
    assert (asked.client.subject, asked.client.network) == (subject, network)


@pytest.mark.parametrize(
    ("peer", "trusted", "exempt"),
    [("203.0.113.9", False, False), (PROXY, True, True), ("127.0.0.1", False, False), ("::1", False, False)],
)
def test_proxies_are_never_banned(peer, trusted, exempt) -> None:
    asked = exchange(peer=peer)
    guard().check(asked)
    assert (asked.client.trusted, asked.client.exempt) == (trusted, exempt)


def test_the_caches_stay_bounded() -> None:
    made = guard()
    for number in range(CACHED // 800 + 10):
        made.check(exchange(peer=PROXY, x_forwarded_for=f"198.51.{number >> 8 & 255}.{number & 255}, 10.0.0.9"))
        made.check(exchange(peer=PROXY, x_forwarded_for="198.51.100.7", x_forwarded_host=f"{number}.example"))
        made.check(exchange(peer=f"2001:db8::{number:x}"))
    assert 0 < len(made._forwarded) <= CACHED // 800
    assert 0 < len(made._beside) <= CACHED // 800
    assert 0 < len(made._peers) <= CACHED // 800


def test_long_headers_are_neither_kept_nor_slow() -> None:
    made = guard()
    for number in range(50):
        padding = f"{number}" + "a" * 30_000
        made.check(exchange(peer=PROXY, x_forwarded_for=f"{padding}, 198.51.100.7"))
        made.check(exchange(peer=PROXY, forwarded=padding))
        made.check(exchange(peer=PROXY, forwarded=" " * 30_000 + f"{number}"))
        made.check(exchange(peer=PROXY, x_forwarded_for="198.51.100.7", x_forwarded_host=padding))
    assert len(made._forwarded) == len(made._beside) == 0


BAD = {
    "not a network": ({"trusted_proxies": ["proxy"]}, "clients.trusted_proxies[0]"),
    "host bits": ({"deny": ["203.0.113.0/24", "10.1.2.3/8"]}, "clients.deny[1]"),
    "everybody is a proxy": ({"trusted_proxies": ["0.0.0.0/0"]}, "clients.trusted_proxies"),
    "everybody is a proxy, IPv6": ({"trusted_proxies": ["::/0"]}, "clients.trusted_proxies"),
    "prefix": ({"ipv6_prefix": 24}, "clients.ipv6_prefix"),
    "empty": ({"allow": [""]}, "clients.allow[0]"),
}


@pytest.mark.parametrize(("given", "path"), BAD.values(), ids=BAD)
def test_what_the_compiler_refuses(given, path) -> None:
    problems = Problems("clients")
    arguments = {"trusted_proxies": [], "ipv6_prefix": 64, "allow": [], "deny": []} | given
    build_address(**arguments, problems=problems)
    assert [problem.path for problem in problems.found] == [path]
    assert problems.found[0].instead


def test_all_problems_are_reported_at_once() -> None:
    problems = Problems("clients")
    build_address(["a", "b"], 8, ["c"], ["d"], problems)
    assert len(problems.found) == 5


@pytest.mark.parametrize(
    ("presented", "trusted", "expected"),
    [
        ("abc-123_x.Y", True, "abc-123_x.Y"),
        ("abc-123", False, ""),
        ("", True, ""),
        ("a b", True, ""),
        ('a"b', True, ""),
        ("x" * 128, True, "x" * 128),
        ("x" * 129, True, ""),
        ("a, b", True, ""),
        ("abc\n", True, ""),
    ],
)
def test_request_ids_of_proxies(presented, trusted, expected) -> None:
    assert accepted_request_id(head(x_request_id=presented), trusted=trusted) == expected


def test_no_request_id() -> None:
    assert accepted_request_id(head(), trusted=True) == ""
