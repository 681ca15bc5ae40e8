"""Request headers by which a proxy tells a backend who asks, and for what: only a trusted proxy may send them.

Decided by kind, by how a name begins or ends: each product of the field has names of its own, and a list
of them is never complete. `clients.pass_headers` lets single names through.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from typing import Final

from sidecar.bounded_cache import BoundedCache
from sidecar.bounded_counts import BoundedCounts
from sidecar.errors import Problems
from sidecar.head import HOP_BY_HOP

_LOG: Final = logging.getLogger(__name__)

REWRITTEN: Final = frozenset({
    b"traceparent",
    b"host", b"content-length", b"expect", b"via", b"x-request-id", b"forwarded", b"x-forwarded-for",
    b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-port", b"x-real-ip", b"x-org-id",
})  # fmt: skip
"""Written anew for the backend."""

OTHER_READINGS: Final = re.compile(
    rb"x-(?:original|rewrite)-(?:url|uri|path|method)|x-http-method(?:-override)?|x-method-override"
    rb"|x-middleware-(?!prefetch$).*|x-invoke-.*|x-matched-path|x-now-route-matches"  # Next.js's own, CVE-2025-29927
)
"""Names by which a backend is led to another path or method than the one that guards decided about.

Proxies pass them on as clients wrote them, so that no peer's trust covers them.
"""

BEGINNINGS: Final = (
    # forwarding, in general
    b"forward", b"x-forward", b"x-original-", b"x-rewrite-", b"x-real-", b"x-proxy", b"x-cluster-client-",
    b"client-ip", b"true-client-", b"x-true-client-", b"source-ip", b"remote-", b"x-remote-", b"x-accel-",
    b"front-end-",
    # TLS, as the proxy saw it (RFC 9440 and older)
    b"client-cert", b"x-client-cert", b"x-client-verify", b"x-client-dn", b"x-client-ssl-", b"ssl-", b"x-ssl-",
    b"x-tls-client-", b"x-arr-",
    # authentication by a proxy
    b"x-auth-request-", b"x-authenticated-", b"x-authentik-", b"x-webauth-", b"x-pomerium-", b"x-consumer-",
    b"x-credential-identifier", b"x-anonymous-consumer", b"tailscale-user-", b"oidc-claim-", b"mellon-", b"shib-",
    b"iv-user", b"iv-groups", b"iv-creds", b"x-iv-", b"x-jwt-assertion", b"x-jwt-payload", b"x-userinfo", b"x-vouch-",
    b"x-tailscale-", b"x-shib-", b"x-spiffe-", b"x-saml-", b"x-oidc-", b"sm-user", b"x-okta-", b"x-kong-jwt-",
    b"gap-auth",
    # clouds, meshes, CDNs
    b"x-envoy-", b"x-ms-client-principal", b"x-ms-token-", b"x-azure-", b"x-amzn-oidc-", b"x-amzn-mtls-",
    b"x-goog-iap-", b"x-goog-authenticated-", b"x-appengine-", b"x-apigateway-", b"x-endpoint-api-userinfo",
    b"cf-connecting-", b"cf-access-", b"cf-ip", b"cf-visitor", b"cf-pseudo-", b"cf-worker", b"fastly-client",
    b"fastly-ssl", b"akamai-", b"x-akamai-", b"fly-client-", b"fly-forwarded-", b"x-vercel-forwarded-", b"x-vercel-ip-",
    b"x-vercel-oidc-", b"x-vercel-proxied-", b"x-nf-",
)  # fmt: skip
ENDINGS: Final = (
    b"-client-ip", b"-clientip", b"-connecting-ip", b"-connection-ip", b"-real-ip", b"-remote-ip", b"-remote-addr",
    b"-remote-user", b"-user-ip", b"-source-ip", b"-socket-ip", b"-socketip", b"-originating-ip", b"-proxyuser-ip",
    b"-peer-ip", b"-src-ip", b"-jwt-assertion",
    b"-forwarded-for", b"-forwarded-host", b"-forwarded-proto", b"-forwarded-user", b"-original-url", b"-rewrite-url",
)  # fmt: skip
NAMES: Final = frozenset({
    b"clientip", b"x-clientip", b"real-ip", b"user-ip", b"x-ip", b"x-host", b"x-scheme", b"x-url-scheme", b"x-proto",
    b"https", b"x-https", b"x-sendfile", b"proxy",
})  # fmt: skip

NEVER: Final = HOP_BY_HOP | REWRITTEN
CACHE: Final = 64 * 1024  # bytes


def is_claim(name: bytes) -> bool:
    """Return whether a lower-case name is a proxy's statement about the client, the connection or the user."""
    return name.startswith(BEGINNINGS) or name.endswith(ENDINGS) or name in NAMES


def is_other_reading(name: bytes) -> bool:
    """Return whether a lower-case name leads some backends to another path or method."""
    return OTHER_READINGS.fullmatch(name) is not None


class HeaderVerdicts(BoundedCache[bytes, bool]):
    """Lower-case name → whether it is dropped; decided once per name."""

    __slots__ = ("_passed", "_trusted", "claims")

    def __init__(self, passed: frozenset[bytes], *, trusted: bool) -> None:
        super().__init__(CACHE)
        self._passed = passed
        self._trusted = trusted
        self.claims: set[bytes] = set()  # the names in this cache that were dropped for what they claim

    def __missing__(self, name: bytes) -> bool:
        never = name in NEVER
        drops = never or is_other_reading(name) or not (self._trusted or name in self._passed or not is_claim(name))
        self.remember(name, drops, 2 * len(name))
        if drops and not never and name in self:
            self.claims.add(name)
        return drops

    def clear(self) -> None:
        """Forget all verdicts."""
        super().clear()
        self.claims.clear()


class IdentityHeaders:
    """Which request headers a backend never receives, and how often each was dropped.

    `passed`: lower-case names that every client may send, whatever they claim.
    """

    __slots__ = ("_dropped", "from_clients", "from_proxies")

    def __init__(self, passed: Iterable[bytes] = (), dropped: BoundedCounts | None = None) -> None:
        self.from_clients = HeaderVerdicts(frozenset(passed), trusted=False)
        self.from_proxies = HeaderVerdicts(frozenset(), trusted=True)
        self._dropped = dropped if dropped is not None else BoundedCounts()

    def has_claims(self, names: Iterable[bytes], *, trusted: bool) -> bool:
        """Return whether `count` would count any of these names, which the verdicts have just been asked about."""
        return not (self.from_proxies if trusted else self.from_clients).claims.isdisjoint(names)

    def count(self, names: Iterable[bytes], *, trusted: bool) -> None:
        """Count the claims among the names of a request, and log each name once."""
        claims = (self.from_proxies if trusted else self.from_clients).claims
        if claims and not claims.isdisjoint(names):
            for name in _sorted(claims, names):
                if self._dropped.count(name):
                    _LOG.warning("request header %s is dropped: only a trusted proxy may send it", name)


def _sorted(claims: set[bytes], names: Iterable[bytes]) -> Iterator[str]:
    return (name.decode("latin-1") for name in sorted(claims.intersection(names)))


def build_identity_headers(pass_headers: Iterable[str], dropped: BoundedCounts, problems: Problems) -> IdentityHeaders:
    """Build the verdicts of a policy; `problems` is at `clients.pass_headers`."""
    passed = []
    for number, text in enumerate(pass_headers):
        name = text.lower().encode("latin-1", "replace")
        place = problems.at(f"[{number}]")
        if name in NEVER or b"_" in name:
            place.add(f"{text!r} never passes: the sidecar writes it itself, or it belongs to one connection")
        elif is_other_reading(name):
            place.add(f"{text!r} would lead the backend to another path or method than the guards decided about")
        elif not is_claim(name):
            place.add(f"{text!r} passes anyway", "leave it out")
        passed.append(name)
    return IdentityHeaders(passed, dropped)
