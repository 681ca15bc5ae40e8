"""What to write so that a page works: the key and its new value."""

from __future__ import annotations

import pytest

from sidecar.guards.response_headers.csp_advice import CSP, Advice, advice, allows, governing, parsed
from sidecar.guards.response_headers.security_header_presets import APP_CSP, PRESETS
from sidecar.stores.csp_violations import Violation

STRICT = PRESETS["strict"](())["Content-Security-Policy"] or ""
OWN = "default-src 'none'; script-src 'self'"
PRESET, DIRECTIVES, WRITTEN = "security_headers.preset", "security_headers.directives", f"security_headers.{CSP}"


@pytest.mark.parametrize(
    ("violation", "policy", "preset", "written", "expected"),
    [
        pytest.param(
            ("script-src-elem", "inline"), STRICT, "strict", False, Advice(PRESET, "", "write preset: app"),
            id="inline code under strict",
        ),
        pytest.param(
            ("worker-src", "blob"), STRICT, "strict", False, Advice(PRESET, "", "write preset: app"), id="a worker",
        ),
        pytest.param(
            ("img-src", "cdn.example"), STRICT, "strict", False,
            Advice(DIRECTIVES, "", "write directives: { img-src: \"'self' data: https://cdn.example\" }"),
            id="what no preset allows",
        ),
        pytest.param(
            ("script-src", "eval"), APP_CSP, "app", False,
            Advice(
                DIRECTIVES, "",
                "write directives: { script-src: \"'self' 'unsafe-inline' 'wasm-unsafe-eval' blob: 'unsafe-eval'\" }",
            ),
            id="eval under app",
        ),
        pytest.param(
            ("connect-src", "wss://live.example:8443"), OWN, "app", True,
            Advice(WRITTEN, "", "add wss://live.example:8443 to default-src"), id="a policy that is written out",
        ),
        pytest.param(
            ("font-src", "fonts.example"), "default-src 'none'", "none", False,
            Advice(DIRECTIVES, "", 'write directives: { font-src: "https://fonts.example" }'), id="nothing is allowed yet",
        ),
        pytest.param(("script-src", "extension"), STRICT, "strict", False, Advice(PRESET), id="an extension's own code"),
        pytest.param(("other", "cdn.example"), STRICT, "strict", False, Advice(PRESET), id="no directive of CSP"),
    ],
)  # fmt: skip
def test_advice(violation, policy, preset, written, expected) -> None:
    assert advice(Violation(*violation), policy, preset=preset, written=written) == expected


def test_which_directive_decides() -> None:
    policy = parsed("default-src 'self'; script-src 'none'; Script-Src *; base-uri 'none';;")
    assert policy == {"default-src": ["'self'"], "script-src": ["'none'"], "base-uri": ["'none'"]}
    assert governing(policy, "script-src-elem") == "script-src"
    assert governing(policy, "img-src") == "default-src"
    assert governing(policy, "form-action") == "form-action"
    assert allows(policy, "img-src", "'self'")
