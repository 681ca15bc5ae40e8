"""Security headers: presets, overrides, and the values that the compiler refuses."""

from __future__ import annotations

import pytest

from sidecar.errors import Problems
from sidecar.guards.response_headers.security_header_presets import PRESETS
from sidecar.guards.response_headers.security_headers import LEAKS, SecurityHeaders, build_security_headers
from tests.support.exchanges import exchange


def build(preset="strict", overrides=None, **changes) -> SecurityHeaders:
    problems = Problems("security_headers")
    made = build_security_headers(preset, overrides or {}, problems, **changes)
    assert not problems.found, problems.found
    return made


def stamped(made: SecurityHeaders, *, secure=True) -> dict[str, str]:
    lines = made.lines(exchange(secure=secure)).decode().split("\r\n")
    assert lines.pop() == ""
    told = dict(line.split(": ", 1) for line in lines)
    assert len(told) == len(lines)
    return told


STRICT = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-XSS-Protection": "0",
    "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
    "Referrer-Policy": "strict-origin-when-cross-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def test_strict() -> None:
    told = stamped(build())
    assert {name: told[name] for name in STRICT} == STRICT
    assert told["Content-Security-Policy"].startswith("default-src 'self'; script-src 'self'; ")
    assert "unsafe" not in told["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in told["Content-Security-Policy"]
    assert "microphone=()" in told["Permissions-Policy"]
    # Chromium does not know this name, and says so in the console of every page.
    assert "bluetooth" not in told["Permissions-Policy"]


def test_app_lets_chat_pages_work() -> None:
    told = stamped(build("app"))
    policy = told["Content-Security-Policy"]
    assert "script-src 'self' 'unsafe-inline' 'wasm-unsafe-eval' blob:" in policy
    assert "worker-src 'self' blob:" in policy
    assert "img-src 'self' data: blob:;" in policy
    assert "frame-ancestors 'self'" in policy
    assert told["X-Frame-Options"] == "SAMEORIGIN"
    assert "microphone=(self)" in told["Permissions-Policy"]
    assert told["Cross-Origin-Embedder-Policy"] == "unsafe-none"


def test_embeddable_names_who_may_frame() -> None:
    made = build("embeddable", embedders=["https://your-website.com", "https://*.x.com:*", "https://[::1]", "null"])
    told = stamped(made)
    assert told["Content-Security-Policy"].endswith("frame-ancestors 'self' https://your-website.com https://*.x.com:*")
    assert "X-Frame-Options" not in told
    assert b"x-frame-options" in made.owns
    assert told["Cross-Origin-Resource-Policy"] == "cross-origin"


def test_none_leaves_the_backends() -> None:
    made = build("none")
    assert stamped(made) == {}
    assert made.owns == frozenset()


@pytest.mark.parametrize("preset", PRESETS)
def test_hsts_is_told_over_https_only(preset) -> None:
    made = build(preset)
    plain, secure = stamped(made, secure=False), stamped(made)
    assert "Strict-Transport-Security" not in plain
    secure.pop("Strict-Transport-Security", None)
    assert plain == secure


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_pass_their_own_checks(preset) -> None:
    build("none", PRESETS[preset](["https://a.example.com"]))


def test_overrides() -> None:
    made = build(
        overrides={
            "content-security-policy": "default-src 'self'",
            "X-Frame-Options": None,
            "Referrer-Policy": "backend",
        }
    )
    told = stamped(made)
    assert told["Content-Security-Policy"] == "default-src 'self'"
    assert "X-Frame-Options" not in told
    assert b"x-frame-options" in made.owns
    assert "Referrer-Policy" not in told
    assert b"referrer-policy" not in made.owns


def test_report_only() -> None:
    made = build(report_only=True, report_path="/csp")
    told = stamped(made)
    assert "Content-Security-Policy" not in told
    assert told["Content-Security-Policy-Report-Only"].endswith("; report-uri /csp; report-to csp")
    assert told["Reporting-Endpoints"] == 'csp="/csp"'
    assert {b"content-security-policy", b"content-security-policy-report-only"} <= made.owns
    # Frames are not stopped by a reporting policy: the old header still is.
    assert told["X-Frame-Options"] == "DENY"


def test_report_path_beside_an_enforced_policy() -> None:
    told = stamped(build(report_path="/csp"))
    assert told["Content-Security-Policy"].endswith("report-uri /csp; report-to csp")
    # Over http browsers do not read Reporting-Endpoints, and would not use report-uri beside report-to.
    http = stamped(build(report_path="/csp"), secure=False)
    assert http["Content-Security-Policy"].endswith("; report-uri /csp")


@pytest.mark.parametrize("name", [b"server", b"x-powered-by", b"x-aspnet-version", b"via", b"openai-organization"])
def test_what_tells_of_the_backend(name) -> None:
    assert name in LEAKS


def test_leaks_hold_nothing_that_a_page_needs() -> None:
    needed = {b"content-type", b"set-cookie", b"cache-control", b"etag", b"location", b"retry-after", b"vary", b"date"}
    assert not needed & LEAKS
    assert all(name == name.lower() for name in LEAKS)


BAD = {
    "preset": ("strct", {}, "preset", "not a preset"),
    "unknown header": ("strict", {"X-Frame-Option": "DENY"}, "X-Frame-Option", "not a security header"),
    "line break": ("strict", {"Referrer-Policy": "origin\r\nX: y"}, "Referrer-Policy", "cannot be sent"),
    "empty": ("strict", {"Referrer-Policy": ""}, "Referrer-Policy", "cannot be sent"),
    "not ASCII": ("strict", {"Referrer-Policy": "\xfc"}, "Referrer-Policy", "cannot be sent"),
    "too long": ("strict", {"Permissions-Policy": "a=()" * 2000}, "Permissions-Policy", "cannot be sent"),
    "frame options": ("strict", {"X-Frame-Options": "ALLOW-FROM x"}, "X-Frame-Options", "not a value"),
    "sniff": ("strict", {"X-Content-Type-Options": "sniff"}, "X-Content-Type-Options", "not a value"),
    "hsts": ("strict", {"Strict-Transport-Security": "1y"}, "Strict-Transport-Security", "not a value"),
    "referrer": ("strict", {"Referrer-Policy": "none"}, "Referrer-Policy", "not a referrer policy"),
    "opener": ("strict", {"Cross-Origin-Opener-Policy": "yes"}, "Cross-Origin-Opener-Policy", "not a value"),
    "permissions": ("strict", {"Permissions-Policy": "camera 'none'"}, "Permissions-Policy", "not a value"),
    "directive": ("strict", {"Content-Security-Policy": "scrpt-src 'self'"}, "Content-Security-Policy", "not a CSP"),
    "self without quotes": (
        "strict",
        {"Content-Security-Policy": "default-src self"},
        "Content-Security-Policy",
        "host",
    ),
    "none and more": (
        "strict",
        {"Content-Security-Policy": "default-src 'none' 'self'"},
        "Content-Security-Policy",
        "means nothing",
    ),
    "twice": (
        "strict",
        {"Content-Security-Policy": "img-src a.com; img-src b.com"},
        "Content-Security-Policy",
        "twice",
    ),
    "comma": ("strict", {"Content-Security-Policy": "img-src a.com, b.com"}, "Content-Security-Policy", "comma"),
    "quoted host": ("strict", {"Content-Security-Policy": "img-src 'a.com'"}, "Content-Security-Policy", "no keyword"),
}


@pytest.mark.parametrize(("preset", "overrides", "path", "what"), BAD.values(), ids=BAD)
def test_what_the_compiler_refuses(preset, overrides, path, what) -> None:
    problems = Problems("security_headers")
    build_security_headers(preset, overrides, problems)
    assert [problem.path for problem in problems.found] == [f"security_headers.{path}"]
    assert what in problems.found[0].what
    assert problems.found[0].instead


GOOD = [
    "default-src 'self'",
    "default-src 'none'; script-src 'nonce-abc123' 'strict-dynamic' 'sha256-AAAA='; upgrade-insecure-requests",
    "sandbox allow-scripts; report-uri https://r.example.com/x",
    "default-src 'self';",
    "connect-src 'self' wss://chat.example.com https://*.example.com:*",
]


@pytest.mark.parametrize("value", GOOD)
def test_policies_that_pass(value) -> None:
    assert stamped(build(overrides={"Content-Security-Policy": value}))["Content-Security-Policy"] == value
