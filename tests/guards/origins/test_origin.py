"""Origin patterns: which are written right, and which origins they stand for."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import Problems
from sidecar.guards.origins.origin import OriginPattern, build_pattern, is_loopback, is_public_suffix, is_same_origin

GOOD = {
    "https://example.com": OriginPattern("https", "example.com"),
    "https://example.com:8443": OriginPattern("https", "example.com", "8443"),
    "https://*.example.com": OriginPattern("https", "example.com", subdomains=True),
    "https://*.example.com:*": OriginPattern("https", "example.com", subdomains=True, any_port=True),
    "https://example.com.": OriginPattern("https", "example.com."),
    "https://foo_bar.example.com": OriginPattern("https", "foo_bar.example.com"),
    "https://*.corp": OriginPattern("https", "corp", subdomains=True),
    "https://intranet": OriginPattern("https", "intranet"),
    "http://localhost": OriginPattern("http", "localhost"),
    "http://app.localhost:*": OriginPattern("http", "app.localhost", any_port=True),
    "http://127.0.0.1:3000": OriginPattern("http", "127.0.0.1", "3000"),
    "http://[::1]:3000": OriginPattern("http", "[::1]", "3000"),
    "https://192.0.2.1": OriginPattern("https", "192.0.2.1"),
    "https://[2001:db8::1]:8443": OriginPattern("https", "[2001:db8::1]", "8443"),
    "capacitor://localhost": OriginPattern("capacitor", "localhost"),
    "https://xn--bcher-kva.example": OriginPattern("https", "xn--bcher-kva.example"),
    "http://foo:443": OriginPattern("http", "foo", "443"),
}


@pytest.mark.parametrize(("text", "expected"), GOOD.items(), ids=GOOD)
def test_patterns(text, expected) -> None:
    problems = Problems("o")
    assert build_pattern(text, problems, insecure=True) == expected
    assert not problems.found
    assert expected.spelled() == text


BAD = {
    # text: (what is wrong, what to write)
    "https://example.com/": ("not an origin", "write https://example.com"),
    "https://example.com/chat": ("not an origin", "write https://example.com"),
    "https://example.com?x": ("not an origin", "write https://example.com"),
    "https://example.com#x": ("not an origin", "write https://example.com"),
    "https://me:pw@example.com": ("not an origin", "write https://example.com"),
    "HTTPS://Example.com": ("not an origin", "write https://example.com"),
    "example.com": ("not an origin", "write https://example.com"),
    "example.com/chat": ("not an origin", "write https://example.com"),
    "*.example.com": ("not an origin", "write https://*.example.com"),
    "": ("not an origin", "write scheme://host"),
    "https://": ("not an origin", "write scheme://host"),
    " https://example.com": ("not an origin", "write https://example.com"),
    "https://example.com\n": ("not an origin", "write https://example.com"),
    "https://Example.com": ("capitals", "write example.com"),
    "https://b\xfccher.example": ("not in the form", "write xn--bcher-kva.example"),
    "https://exa*mple.com": ("not an origin", "a wildcard stands for whole labels"),
    "https://*example.com": ("not an origin", "a wildcard stands for whole labels"),
    "https://www.*.com": ("not an origin", "a wildcard stands for whole labels"),
    "https://*": ("not an origin", "a wildcard stands for whole labels"),
    "*://example.com": ("not an origin", "write scheme://host"),
    "https://*.com": ("anyone can register", "write https://*.your-name.com"),
    "https://*.co.uk": ("anyone can register", "write https://*.your-name.co.uk"),
    "https://*.github.io": ("anyone can register", "write https://*.your-name.github.io"),
    "https://*.vercel.app": ("anyone can register", "write https://*.your-name.vercel.app"),
    "https://*.com.": ("anyone can register", "write"),
    "https://*.192.0.2.1": ("no subdomains", "write the address"),
    "https://*.[::1]": ("no subdomains", "write the address"),
    "https://192.0.2": ("not an IPv4", "write it as"),
    "https://0x7f.1": ("not an IPv4", "write it as"),
    "https://192.0.2.1.": ("not an IPv4", "write it as"),
    "https://[2001:db8:0:0::1]": ("not spelled", "write [2001:db8::1]"),
    "https://[2001:DB8::1]": ("not spelled", "write [2001:db8::1]"),
    "https://[::1::]": ("not an IPv6", "write it as"),
    "https://example.com:443": ("port of https anyway", "write https://example.com"),
    "http://localhost:80": ("port of http anyway", "write http://localhost"),
    "https://example.com:0": ("not a port", "write 1 to 65535"),
    "https://example.com:65536": ("not a port", "write 1 to 65535"),
    "https://example.com:080": ("not a port", "write 1 to 65535"),
    "https://example..com": ("not a host name", "write a name"),
    "https://-a.com": ("not a host name", "write a name"),
    f"https://{'a' * 64}.com": ("not a host name", "write a name"),
    "http://example.com": ("plain http", "write https://example.com"),
    "http://192.168.0.1": ("plain http", "write https://192.168.0.1"),
    "file://x": ("no origin of its own", "serve the page"),
}


@pytest.mark.parametrize(("text", "expected"), BAD.items(), ids=[text or "empty" for text in BAD])
def test_what_is_no_pattern(text, expected) -> None:
    problems = Problems("o")
    assert build_pattern(text, problems) is None
    (problem,) = problems.found
    assert expected[0] in problem.what
    assert expected[1] in problem.instead


def test_insecure_origins_are_a_decision() -> None:
    problems = Problems()
    assert build_pattern("http://example.com", problems, insecure=True) is not None
    assert not problems.found


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("a.localhost", True),
        ("127.9.9.9", True),
        ("[::1]", True),
        ("localhost.evil.com", False),
        ("192.168.0.1", False),
        ("[2001:db8::1]", False),
    ],
)
def test_loopback(host, expected) -> None:
    assert is_loopback(host) is expected


def test_suffixes_that_are_not_listed_are_an_operators_own() -> None:
    assert not is_public_suffix("internal")
    assert is_public_suffix("co.uk")


def oracle(pattern: OriginPattern, origin: str) -> bool:
    """The slow and plain way: take the origin apart, compare part by part."""
    found = re.fullmatch(r"([a-z]+)://([a-z0-9_.-]+)(?::([0-9]+))?", origin)
    if found is None:
        return False
    scheme, host, port = found.group(1), found.group(2), found.group(3) or ""
    if scheme != pattern.scheme or len(host) > 253:
        return False
    if origin.endswith(":") or (port and (port[0] == "0" or int(port) > 65535)):
        return False
    if not pattern.any_port and port != pattern.port:
        return False
    if pattern.any_port and port == {"https": "443", "http": "80"}[scheme]:
        return False
    labels, own = host.split("."), pattern.host.split(".")
    if not pattern.subdomains:
        return labels == own
    front = labels[: -len(own)]
    shaped = all(re.fullmatch(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?", label) and len(label) < 64 for label in front)
    return labels[-len(own) :] == own and bool(front) and shaped


pieces = st.sampled_from(
    [
        "https",
        "http",
        "://",
        "a",
        "b-",
        "-",
        ".",
        "example",
        ".com",
        "example.com",
        ":",
        ":1",
        ":443",
        "80",
        "@",
        "/",
        "*",
    ]
)
patterns = st.builds(
    OriginPattern,
    st.sampled_from(["https", "http"]),
    st.sampled_from(["example.com", "a.example.com", "a"]),
    st.sampled_from(["", "1", "8080"]),
    st.booleans(),
).flatmap(lambda p: st.sampled_from([p, OriginPattern(p.scheme, p.host, "", p.subdomains, any_port=True)]))
origins = st.one_of(
    st.lists(pieces, max_size=8).map("".join),
    st.builds(
        lambda scheme, front, host, port: f"{scheme}://{front}{host}{port}",
        st.sampled_from(["https", "http"]),
        st.sampled_from(["", "x.", "x.y.", ".", "x..", "-x.", "x_y.", "xa", "evil.com/.", "a" * 64 + "."]),
        st.sampled_from(["example.com", "a.example.com", "a", "example.com.example.com"]),
        st.sampled_from(["", ":1", ":8080", ":80", ":443", ":0", ":01", ":99999", ":", ":x"]),
    ),
)


@given(patterns, origins)
def test_matching_agrees_with_the_plain_way(pattern, origin) -> None:
    assert pattern.matches(origin.encode()) == oracle(pattern, origin)


@given(patterns)
def test_a_pattern_without_a_wildcard_matches_itself_alone(pattern) -> None:
    if pattern.exact:
        spelled = pattern.spelled().encode()
        assert pattern.matches(spelled)
        for wrong in (spelled + b".", spelled + b":1", b"x" + spelled, spelled.upper(), spelled[:-1]):
            assert not pattern.matches(wrong)


@given(
    st.sampled_from([b"http", b"https", b"ftp"]),
    st.sampled_from([b"a.com", b"b.com", b"[::1]"]),
    st.sampled_from([b"", b":80", b":443", b":8080"]),
    st.sampled_from([b"a.com", b"A.com", b"b.com", b"[::1]"]),
    st.sampled_from([b"", b":80", b":443", b":8080"]),
    st.booleans(),
)
def test_same_origin_agrees_with_the_plain_way(scheme, name, port, host, host_port, secure) -> None:
    default = {b"http": b":80", b"https": b":443"}
    if port == default.get(scheme):
        return  # no browser spells it
    same_name = name == host.lower()
    same_port = (port or default.get(scheme)) == (host_port or default.get(scheme))
    strong = scheme == b"https" or (scheme == b"http" and not secure)
    expected = same_name and same_port and strong
    assert is_same_origin(scheme + b"://" + name + port, host + host_port, secure=secure) is expected
