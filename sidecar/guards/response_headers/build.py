"""Builds the header writers of a route from `security_headers`, and the rules for cookies from `cookies`."""

from __future__ import annotations

from collections.abc import Callable

from sidecar.errors import Problems
from sidecar.guards.response_headers.csp_advice import Advice, advice
from sidecar.guards.response_headers.csp_reports import CspReportGuard
from sidecar.guards.response_headers.security_headers import SecurityHeaders, build_security_headers
from sidecar.guards.response_headers.set_cookie import build_cookie_rules
from sidecar.policy.schema.browser_headers import SecurityHeaders as Section
from sidecar.policy.schema.policy_schema import PolicySchema
from sidecar.services import Services
from sidecar.stores.csp_violations import Violation


class SecurityHeaderSections:
    """The security headers of one policy: `of` builds the writer of one section, once."""

    def __init__(self, schema: PolicySchema, services: Services, problems: Problems) -> None:
        self._default = schema.security_headers
        self._observe = schema.mode == "observe"
        self._violations = services.csp
        self._path = schema.listen.public.paths.csp_reports
        self._embedders = schema.cors.allowed_origins
        self._problems = problems
        cookies = schema.cookies
        self.cookies = build_cookie_rules(
            cookies.readable, cookies.same_site, cookies.partitioned, problems.at("cookies")
        )
        self._built: dict[tuple[int, bool], SecurityHeaders] = {}
        sections = [schema.security_headers, *(route.security_headers for route in schema.routes)]
        self._collects = any(self.of(each, observe=self._observe).reports for each in sections if each is not None)

    @property
    def report_path(self) -> str | None:
        """The path of the public listener that browsers send CSP reports to; None where they are not asked for any."""
        return self._path if self._collects else None

    def report_guard(self, origin: Callable[[str], str]) -> CspReportGuard:
        """Return the guard that reads browsers' reports; `origin` tells where a key of the policy is."""
        policy = self.of(None, observe=self._observe).policy
        preset, written = self._default.preset, "Content-Security-Policy" in self._default.overrides()

        def advise(violation: Violation) -> Advice:
            found = advice(violation, policy, preset=preset, written=written)
            return found._replace(place=origin(found.key))

        return CspReportGuard(self._violations, advise)

    def of(self, section: Section | None, *, observe: bool) -> SecurityHeaders:
        """Return the writer of a route's own section, or of the policy's; `observe`: the CSP blocks nothing."""
        headers = section or self._default
        found = self._built.get((id(headers), observe))
        if found is None:
            found = self._built[id(headers), observe] = build_security_headers(
                headers.preset,
                headers.overrides(),
                self._problems.at("security_headers"),
                report_only=headers.report_only,
                observe=observe,
                report_path=self._path or "",
                embedders=self._embedders,
                directives=headers.directives,
            )
        return found


def build(schema: PolicySchema, services: Services, problems: Problems) -> SecurityHeaderSections:
    """Build the security headers of a policy; `problems` is at its root."""
    return SecurityHeaderSections(schema, services, problems)
