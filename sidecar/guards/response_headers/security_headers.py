"""Security headers: a preset, the policy's overrides, and two ready blocks of bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from sidecar.errors import Problems
from sidecar.exchange import Exchange
from sidecar.guards.response_headers.csp_directives import with_directives
from sidecar.guards.response_headers.security_header_presets import PRESETS
from sidecar.guards.response_headers.security_header_values import check_value
from sidecar.spelling import nearest

BACKEND: Final = "backend"
"""Written for a header's value: the backend's own passes."""

CSP: Final = "Content-Security-Policy"
CSP_REPORT: Final = "Content-Security-Policy-Report-Only"
HSTS: Final = "Strict-Transport-Security"
REPORT_TO: Final = "; report-to csp"

KNOWN: Final = (
    "X-Content-Type-Options",
    "X-Frame-Options",
    "X-XSS-Protection",
    HSTS,
    CSP,
    CSP_REPORT,
    "Referrer-Policy",
    "Permissions-Policy",
    "Cross-Origin-Opener-Policy",
    "Cross-Origin-Embedder-Policy",
    "Cross-Origin-Resource-Policy",
    "Origin-Agent-Cluster",
    "X-Permitted-Cross-Domain-Policies",
    "X-DNS-Prefetch-Control",
    "Reporting-Endpoints",
)

LEAKS: Final = frozenset(
    b"server x-powered-by x-aspnet-version x-aspnetmvc-version x-generator x-runtime x-version x-backend "
    b"x-backend-server x-server x-server-name x-served-by x-host x-hostname x-node x-pod x-instance via "
    b"x-debug-token x-debug-token-link x-debug-exception x-debug-exception-file x-php-originating-script "
    b"x-drupal-cache x-drupal-dynamic-cache x-varnish x-litespeed-cache x-turbo-charged-by x-powered-cms "
    b"x-envoy-upstream-service-time x-envoy-decorator-operation x-envoy-peer-metadata "
    b"x-envoy-peer-metadata-id x-kong-upstream-latency x-kong-proxy-latency liferay-portal x-jenkins "
    b"x-redirect-by x-pingback openai-organization openai-project openai-version openai-processing-ms "
    b"anthropic-organization-id x-litellm-call-id x-litellm-model-id x-litellm-model-api-base "
    b"x-litellm-version x-litellm-response-cost x-litellm-key-spend x-litellm-key-tpm-limit "
    b"x-litellm-key-rpm-limit public-key-pins expect-ct alt-svc nel".split()
)
"""Headers that reveal the backend's software, machines or accounts, or lead browsers around us: always removed."""


def build_security_headers(
    preset: str,
    overrides: Mapping[str, str | None],
    problems: Problems,
    *,
    report_only: bool = False,
    observe: bool = False,
    report_path: str = "",
    embedders: Sequence[str] = (),
    directives: Mapping[str, str] | None = None,
) -> SecurityHeaders:
    """Build the header_writer; `problems` is at `security_headers`.

    overrides    header → a value, None (no such header), or "backend" (the backend's own passes)
    report_only  the CSP reports and blocks nothing
    observe      the same, and the backend's own CSP stays in force
    report_path  where browsers send CSP reports; "" asks for none
    embedders    who may frame the pages under `embeddable`: `cors.allowed_origins`
    directives   what single directives of the preset's CSP are instead
    """
    values: dict[str, str | None] = {}
    if preset in PRESETS:
        values.update(PRESETS[preset](embedders))
    else:
        problems.at("preset").add(f"{preset!r} is not a preset", f"write one of {', '.join(PRESETS)}")
    if directives and values.get(CSP) is not None and CSP not in overrides:
        values[CSP] = with_directives(values[CSP] or "", directives)
        check_value(CSP, values[CSP] or "", problems.at("directives"))
    for name, value in overrides.items():
        known = _spelled(name, problems)
        if known is None:
            continue
        if value is not None and value != BACKEND:
            check_value(known, value, problems.at(name))
        values[known] = value
    _report(values, report_only=report_only or observe, report_path=report_path)
    if observe and values.get(CSP_REPORT) is not None:
        del values[CSP]
    return SecurityHeaders(values)


def _spelled(name: str, problems: Problems) -> str | None:
    spellings = {known.lower(): known for known in KNOWN}
    found = spellings.get(name.lower())
    if found is None:
        close = nearest(name.lower(), spellings)
        hint = f"did you mean {spellings[close]}?" if close else f"write one of {', '.join(KNOWN)}"
        problems.at(name).add("is not a security header", hint)
    return found


def _report(values: dict[str, str | None], *, report_only: bool, report_path: str) -> None:
    """Turn the CSP into its reporting twin, and tell browsers where reports go."""
    policy = values.get(CSP)
    if policy is None or policy == BACKEND:
        return
    if report_path and "report-uri" not in policy and "report-to" not in policy:
        policy = f"{policy}; report-uri {report_path}{REPORT_TO}"
        values.setdefault("Reporting-Endpoints", f'csp="{report_path}"')
    # The enforced twin of the backend would still block: with report_only it goes.
    values[CSP], values[CSP_REPORT] = (None, policy) if report_only else (policy, values.get(CSP_REPORT))


class SecurityHeaders:
    """The header_writer. A header that is set, or set to nothing, replaces the backend's own."""

    by_head = True

    def __init__(self, values: Mapping[str, str | None]) -> None:
        self.values = {name: value for name, value in values.items() if value is not None and value != BACKEND}
        self.owns = frozenset(name.lower().encode() for name, value in values.items() if value != BACKEND)
        self.policy = self.values.get(CSP) or self.values.get(CSP_REPORT) or ""
        self.reports = "Reporting-Endpoints" in self.values
        self._https = self._block(self.values)
        # Browsers read Reporting-Endpoints over https only, and ignore report-uri beside report-to (CSP 3 §6.5.1).
        http = {name: value.replace(REPORT_TO, "") for name, value in self.values.items() if name != HSTS}
        self._http = self._block(http)

    def lines(self, exchange: Exchange) -> bytes:
        """Return the block for https or for http; the latter has no Strict-Transport-Security."""
        # A browser must ignore HSTS over plain http (RFC 6797 §8.1).
        return self._https if exchange.secure else self._http

    @staticmethod
    def _block(values: Mapping[str, str]) -> bytes:
        return b"".join(f"{name}: {value}\r\n".encode("ascii", "replace") for name, value in values.items())
