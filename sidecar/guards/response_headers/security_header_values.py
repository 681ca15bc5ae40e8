"""Values of security headers, checked before they are sent to every browser."""

from __future__ import annotations

import re
from typing import Final

from sidecar.errors import Problems
from sidecar.spelling import nearest

VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
LONGEST: Final = 4096

SHAPES: Final = {
    "X-Content-Type-Options": (r"nosniff", "nosniff"),
    "X-Frame-Options": (
        r"DENY|SAMEORIGIN",
        "DENY or SAMEORIGIN; frame-ancestors of the CSP names others that may frame",
    ),
    "X-XSS-Protection": (r"0|1(; ?mode=block)?", "0"),
    "Strict-Transport-Security": (
        r"max-age=\d{1,10}(; ?includeSubDomains)?(; ?preload)?",
        "max-age=31536000; includeSubDomains",
    ),
    "Cross-Origin-Opener-Policy": (
        r"(same-origin|same-origin-allow-popups|noopener-allow-popups|unsafe-none)(; ?report-to=.+)?",
        "same-origin, same-origin-allow-popups or unsafe-none",
    ),
    "Cross-Origin-Embedder-Policy": (
        r"(require-corp|credentialless|unsafe-none)(; ?report-to=.+)?",
        "require-corp, credentialless or unsafe-none",
    ),
    "Cross-Origin-Resource-Policy": (r"same-origin|same-site|cross-origin", "same-origin, same-site or cross-origin"),
    "Origin-Agent-Cluster": (r"\?[01]", "?1"),
    "X-Permitted-Cross-Domain-Policies": (r"none|master-only|by-content-type|all", "none"),
    "X-DNS-Prefetch-Control": (r"on|off", "off"),
    "Permissions-Policy": (
        r"[a-z-]+=(\*|self|\([^()=]*\))(, ?[a-z-]+=(\*|self|\([^()=]*\)))*",
        'camera=(), microphone=(self "https://example.com")',
    ),
}
"""Header → (what its value looks like, what to write)."""

REFERRER: Final = frozenset(
    "no-referrer no-referrer-when-downgrade origin origin-when-cross-origin same-origin strict-origin "  # noqa: SIM905  # for reading
    "strict-origin-when-cross-origin unsafe-url".split()
)

DIRECTIVES: Final = frozenset(
    "default-src script-src script-src-elem script-src-attr style-src style-src-elem "  # noqa: SIM905  # for reading
    "style-src-attr img-src font-src connect-src media-src object-src frame-src child-src worker-src manifest-src "
    "prefetch-src fenced-frame-src base-uri form-action frame-ancestors navigate-to sandbox report-uri report-to "
    "upgrade-insecure-requests block-all-mixed-content require-trusted-types-for trusted-types plugin-types "
    "webrtc".split()
)

KEYWORDS: Final = frozenset(
    "self none unsafe-inline unsafe-eval wasm-unsafe-eval strict-dynamic unsafe-hashes report-sample "  # noqa: SIM905  # for reading
    "inline-speculation-rules unsafe-allow-redirects".split()
)


def check_value(name: str, value: str, problems: Problems) -> None:
    """Report what keeps a value from doing what its writer wants."""
    if VALUE.fullmatch(value) is None or len(value) > LONGEST:
        problems.add(
            "cannot be sent: empty, too long, or with line breaks or letters beyond ASCII", "write one line of ASCII"
        )
        return
    if name.startswith("Content-Security-Policy"):
        check_csp(value, problems)
    elif name == "Referrer-Policy":
        unknown = [token.strip() for token in value.split(",") if token.strip() not in REFERRER]
        if unknown:
            problems.add(f"{unknown[0]!r} is not a referrer policy", "write strict-origin-when-cross-origin")
    elif name in SHAPES and re.fullmatch(SHAPES[name][0], value, re.IGNORECASE) is None:
        problems.add(f"{value!r} is not a value that browsers follow", f"write {SHAPES[name][1]}")


def check_csp(value: str, problems: Problems) -> None:
    """Report mistakes that make a policy weaker than it looks: browsers ignore such parts silently."""
    if "," in value:
        problems.add("has a comma, which begins a second policy", "separate directives by semicolons")
    seen: set[str] = set()
    for part in value.split(";"):
        if not part.strip():
            continue
        name, *sources = part.split()
        lowered = name.lower()
        if lowered not in DIRECTIVES:
            close = nearest(lowered, DIRECTIVES)
            problems.add(f"{name!r} is not a CSP directive", f"did you mean {close}?" if close else "see CSP Level 3")
        elif lowered in seen:
            problems.add(f"{name} occurs twice, browsers follow the first", "join the two")
        seen.add(lowered)
        if lowered.endswith("-src") or lowered in {"base-uri", "form-action", "frame-ancestors"}:
            _check_sources(name, sources, problems)


def _check_sources(name: str, sources: list[str], problems: Problems) -> None:
    for source in sources:
        bare = source.strip("'\"").lower()
        if bare in KEYWORDS and source.lower() != f"'{bare}'":
            problems.add(f"{source} in {name} is read as a host", f"write '{bare}' with its quotes")
        elif (
            source.startswith("'")
            and bare not in KEYWORDS
            and not re.fullmatch(r"'(nonce-[A-Za-z0-9+/_=-]+|sha(256|384|512)-[A-Za-z0-9+/_=-]+)'", source)
        ):
            problems.add(
                f"{source} in {name} is no keyword of CSP", "write a host without quotes, or a keyword such as 'self'"
            )
    if "'none'" in [source.lower() for source in sources] and len(sources) > 1:
        problems.add(f"'none' in {name} means nothing beside other sources", "leave one of the two out")
