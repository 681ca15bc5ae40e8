"""Cookies of the backend: what is added, what is left, what is dropped."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import Problems
from sidecar.guards.response_headers.set_cookie import CookieRules, build_cookie_rules, harden_set_cookie

CASES = {
    # line, over https, over http
    "bare": ("sid=1", "sid=1; Secure; HttpOnly; SameSite=Lax", "sid=1; HttpOnly; SameSite=Lax"),
    "complete": ("sid=1; Secure; HttpOnly; SameSite=Strict", None, None),
    "in other letters": ("sid=1; secure; HTTPONLY; samesite=lax", None, None),
    "Secure over http stays": (
        "a=1; Secure",
        "a=1; Secure; HttpOnly; SameSite=Lax",
        "a=1; Secure; HttpOnly; SameSite=Lax",
    ),
    "None needs Secure": (
        "a=1; SameSite=None",
        "a=1; SameSite=None; Secure; HttpOnly",
        "a=1; SameSite=None; Secure; HttpOnly",
    ),
    "unknown SameSite": (
        "a=1; SameSite=Maybe",
        "a=1; SameSite=Maybe; Secure; HttpOnly; SameSite=Lax",
        "a=1; SameSite=Maybe; HttpOnly; SameSite=Lax",
    ),
    "empty SameSite": (
        "a=1; SameSite",
        "a=1; SameSite; Secure; HttpOnly; SameSite=Lax",
        "a=1; SameSite; HttpOnly; SameSite=Lax",
    ),
    "two SameSites: the last": (
        "a=1; SameSite=Lax; SameSite=None",
        "a=1; SameSite=Lax; SameSite=None; Secure; HttpOnly",
        "a=1; SameSite=Lax; SameSite=None; Secure; HttpOnly",
    ),
    "__Host-": (
        "__Host-a=1; Path=/",
        "__Host-a=1; Path=/; Secure; HttpOnly; SameSite=Lax",
        "__Host-a=1; Path=/; Secure; HttpOnly; SameSite=Lax",
    ),
    "__secure- in other letters": (
        "__secure-a=1",
        "__secure-a=1; Secure; HttpOnly; SameSite=Lax",
        "__secure-a=1; Secure; HttpOnly; SameSite=Lax",
    ),
    "made to be read": ("csrftoken=1", "csrftoken=1; Secure; SameSite=Lax", "csrftoken=1; SameSite=Lax"),
    "Angular's": ("XSRF-TOKEN=1", "XSRF-TOKEN=1; Secure; SameSite=Lax", "XSRF-TOKEN=1; SameSite=Lax"),
    "attributes stay": (
        "a=1; Path=/x; Domain=example.com; Max-Age=5; Expires=Wed, 21 Oct 2026 07:28:00 GMT",
        "a=1; Path=/x; Domain=example.com; Max-Age=5; Expires=Wed, 21 Oct 2026 07:28:00 GMT; Secure; HttpOnly; SameSite=Lax",
        "a=1; Path=/x; Domain=example.com; Max-Age=5; Expires=Wed, 21 Oct 2026 07:28:00 GMT; HttpOnly; SameSite=Lax",
    ),
    "attributes of tomorrow stay": (
        "a=1; Partitioned; Secure",
        "a=1; Partitioned; Secure; HttpOnly; SameSite=Lax",
        "a=1; Partitioned; Secure; HttpOnly; SameSite=Lax",
    ),
    "a semicolon at the end": ("a=1; ", "a=1; Secure; HttpOnly; SameSite=Lax", "a=1; HttpOnly; SameSite=Lax"),
    "empty value": ("a=", "a=; Secure; HttpOnly; SameSite=Lax", "a=; HttpOnly; SameSite=Lax"),
    "the value has an equals sign": ("a=b=c", "a=b=c; Secure; HttpOnly; SameSite=Lax", "a=b=c; HttpOnly; SameSite=Lax"),
    "the value is called Secure": (
        "a=Secure",
        "a=Secure; Secure; HttpOnly; SameSite=Lax",
        "a=Secure; HttpOnly; SameSite=Lax",
    ),
    "bytes beyond ASCII": (
        "a=\xe4",
        "a=\xe4; Secure; HttpOnly; SameSite=Lax",
        "a=\xe4; HttpOnly; SameSite=Lax",
    ),
}


@pytest.mark.parametrize(("line", "https", "http"), CASES.values(), ids=CASES)
def test_cookies(line, https, http) -> None:
    for secure, expected in ((True, https), (False, http)):
        hardened = harden_set_cookie(line.encode("latin-1"), secure)
        assert hardened == (expected or line).encode("latin-1")
        assert harden_set_cookie(hardened, secure) == hardened


@pytest.mark.parametrize(
    "line", ["", "=1", "sid", " =x", "; Secure", "=__Host-a=1", "a\x00=1", "a=1\r\nSet-Cookie: b=2", "a=\x7f"]
)
def test_lines_that_are_dropped(line) -> None:
    assert harden_set_cookie(line.encode(), secure=True) is None


READABLE = {
    "Streamlit's": ("_streamlit_xsrf=2|a; Path=/", True),
    "csrf in the name": ("csrf_token=1", True),
    "with a prefix": ("__Host-csrftoken=1; Path=/", True),
    "Next.js' language": ("NEXT_LOCALE=de", True),
    "named by the policy": ("Theme=dark", True),
    "named by the policy, prefixed": ("__Secure-theme=dark", True),
    "a session": ("sid=1", False),
    "csrf in the value": ("sid=csrf", False),
}


@pytest.mark.parametrize(("line", "readable"), READABLE.values(), ids=READABLE)
def test_cookies_that_scripts_read_stay_readable_and_are_hardened_otherwise(line, readable) -> None:
    hardened = harden_set_cookie(line.encode(), True, CookieRules(frozenset({b"theme"})))
    additions = b"; Secure" + (b"" if readable else b"; HttpOnly") + b"; SameSite=Lax"
    assert hardened == line.encode() + additions


RULES = {
    # rules, line, over http (without TLS in sight)
    "lax leaves Strict": (CookieRules(same_site="lax"), "a=1; SameSite=Strict", "a=1; SameSite=Strict; HttpOnly"),
    "lax in place of None": (
        CookieRules(same_site="lax"),
        "a=1; SameSite=None; Secure",
        "a=1; Secure; HttpOnly; SameSite=Lax",
    ),
    "none where nothing is said": (CookieRules(same_site="none"), "a=1", "a=1; Secure; HttpOnly; SameSite=None"),
    "none in place of Lax": (
        CookieRules(same_site="none"),
        "a=1; samesite = lax ; Path=/",
        "a=1; Path=/; Secure; HttpOnly; SameSite=None",
    ),
    "none is there": (
        CookieRules(same_site="none"),
        "a=1; SameSite=None; Secure; HttpOnly",
        "a=1; SameSite=None; Secure; HttpOnly",
    ),
    "partitioned": (
        CookieRules(partitioned=True),
        "a=1; Path=/",
        "a=1; Path=/; Secure; HttpOnly; SameSite=None; Partitioned",
    ),
    "partitioned already": (
        CookieRules(partitioned=True),
        "a=1; Secure; SameSite=None; partitioned",
        "a=1; Secure; SameSite=None; partitioned; HttpOnly",
    ),
}


@pytest.mark.parametrize(("rules", "line", "expected"), RULES.values(), ids=RULES)
def test_the_policys_rules_take_the_place_of_the_backends_word(rules, line, expected) -> None:
    hardened = harden_set_cookie(line.encode(), False, rules)
    assert hardened == expected.encode()
    assert harden_set_cookie(hardened, False, rules) == hardened


def test_partitioned_and_lax_contradict_each_other() -> None:
    problems = Problems("cookies")
    build_cookie_rules((), "lax", True, problems)
    assert [problem.path for problem in problems.found] == ["cookies.same_site"]


@given(
    st.lists(st.sampled_from([b"a=1", b"; ", b";", b"=", b"Secure", b"SameSite=None", b"HttpOnly", b" ", b"x"])),
    st.booleans(),
)
def test_hardening_only_adds_and_only_once(parts, secure) -> None:
    line = b"".join(parts)
    hardened = harden_set_cookie(line, secure)
    if hardened is not None:
        assert hardened.startswith(line.rstrip(b"; \t"))
        assert harden_set_cookie(hardened, secure) == hardened
        attributes = [part.partition(b"=")[0].strip().lower() for part in hardened.split(b";")[1:]]
        assert b"httponly" in attributes
        assert b"samesite" in attributes
        assert not secure or b"secure" in attributes
