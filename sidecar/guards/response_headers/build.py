"""Builds the header writers of a route from `security_headers`, and the rules for cookies from `cookies`."""

from __future__ import annotations

from typing import Final

from sidecar.errors import Problems
from sidecar.guards.response_headers.security_headers import SecurityHeaders, build_security_headers
from sidecar.guards.response_headers.set_cookie import build_cookie_rules
from sidecar.policy.schema.browser_headers import SecurityHeaders as Section
from sidecar.policy.schema.policy_schema import PolicySchema
from sidecar.services import Services

CSP_REPORTS: Final = "/.sidecar/csp-report"
"""Path of the public listener that browsers send CSP reports to."""


class SecurityHeaderSections:
    """The security headers of one policy: `of` builds the writer of one section, once."""

    def __init__(self, schema: PolicySchema, problems: Problems) -> None:
        self._default = schema.security_headers
        self._embedders = schema.cors.allowed_origins
        self._problems = problems
        cookies = schema.cookies
        self.cookies = build_cookie_rules(
            cookies.readable, cookies.same_site, cookies.partitioned, problems.at("cookies")
        )
        self._built: dict[int, SecurityHeaders] = {}

    @property
    def collects_reports(self) -> bool:
        """Whether browsers are asked for CSP reports."""
        return self._default.report_only

    def of(self, section: Section | None) -> SecurityHeaders:
        """Return the writer of a route's own section, or of the policy's."""
        headers = section or self._default
        found = self._built.get(id(headers))
        if found is None:
            found = self._built[id(headers)] = build_security_headers(
                headers.preset,
                headers.overrides(),
                self._problems.at("security_headers"),
                report_only=headers.report_only,
                report_path=CSP_REPORTS if headers.report_only else "",
                embedders=self._embedders,
                directives=headers.directives,
            )
        return found


def build(schema: PolicySchema, _: Services, problems: Problems) -> SecurityHeaderSections:
    """Build the security headers of a policy; `problems` stands at its root."""
    return SecurityHeaderSections(schema, problems)
