"""Which key of the policy allows what a Content-Security-Policy blocked. Pure."""

from __future__ import annotations

from typing import Final, NamedTuple

from sidecar.guards.response_headers.security_header_presets import APP_CSP
from sidecar.stores.csp_violations import OTHER, Violation

CSP: Final = "Content-Security-Policy"
SOURCES: Final = {
    "inline": "'unsafe-inline'",
    "eval": "'unsafe-eval'",
    "wasm-eval": "'wasm-unsafe-eval'",
    "self": "'self'",
    "data": "data:",
    "blob": "blob:",
    "filesystem": "filesystem:",
}
"""What a browser says was blocked → the source that allows it."""

_FALLBACKS: Final = {
    "script-src-elem": "script-src", "script-src-attr": "script-src", "style-src-elem": "style-src",
    "style-src-attr": "style-src", "worker-src": "script-src",
}  # fmt: skip
_NO_DEFAULT: Final = frozenset({"base-uri", "form-action", "frame-ancestors", "report-uri", "report-to", "sandbox"})


class Advice(NamedTuple):
    """The key that decides, where it is (`policy.yaml:12`, `default`), and what to write to allow it."""

    key: str
    place: str = ""
    instead: str = ""


def parsed(policy: str) -> dict[str, list[str]]:
    """Return directive → sources; the first of a name counts (CSP 3 §2.2.1)."""
    found: dict[str, list[str]] = {}
    for part in policy.split(";"):
        name, *sources = part.split() or [""]
        if name:
            found.setdefault(name.lower(), sources)
    return found


def governing(policy: dict[str, list[str]], directive: str) -> str:
    """Return the directive of a policy that decides in place of one that it may not have."""
    base = _FALLBACKS.get(directive, directive)
    for name in (directive, base):
        if name in policy:
            return name
    return base if base in _NO_DEFAULT or "default-src" not in policy else "default-src"


def source_of(blocked: str) -> str:
    """Return the source expression that allows what was blocked; "" when none would."""
    if blocked in (OTHER, "extension", "about") or blocked.startswith("trusted-types"):
        return ""
    return SOURCES.get(blocked, blocked if "://" in blocked else f"https://{blocked}")


def allows(policy: dict[str, list[str]], directive: str, source: str) -> bool:
    """Return whether a policy's own words already hold a source for a directive."""
    return source in policy.get(governing(policy, directive), ())


def advice(violation: Violation, policy: str, *, preset: str, written: bool) -> Advice:
    """Return what to write so that a violation becomes allowed.

    policy   the Content-Security-Policy in force
    preset   the preset that it comes from
    written  it is in the policy word for word, in place of the preset's
    """
    source = source_of(violation.blocked)
    if not source or violation.directive == OTHER:
        return Advice(f"security_headers.{CSP}" if written else "security_headers.preset")
    current = parsed(policy)
    name = governing(current, violation.directive)
    if written:
        return Advice(f"security_headers.{CSP}", instead=f"add {source} to {name}")
    if preset == "strict" and allows(parsed(APP_CSP), violation.directive, source):
        return Advice("security_headers.preset", instead="write preset: app")
    kept = [each for each in current.get(name, []) if each != "'none'"]
    wanted = _FALLBACKS.get(violation.directive, violation.directive) if name == "default-src" else name
    return Advice(
        "security_headers.directives", instead=f'write directives: {{ {wanted}: "{" ".join([*kept, source])}" }}'
    )
