"""Which names claim who asks, and which only look like it."""

from __future__ import annotations

import pytest

from sidecar.bounded_counts import BoundedCounts
from sidecar.errors import Problems
from sidecar.guards.clients.identity_headers import (
    CACHE,
    IdentityHeaders,
    build_identity_headers,
    is_claim,
    is_other_reading,
)

CLAIMS = [
    "X-Vouch-User",
    "X-Vouch-Idp-Claims-Email",
    "X-Tailscale-User",
    "X-Shib-User",
    "X-Spiffe-Id",
    "X-Saml-Attribute",
    "X-Oidc-Email",
    "X-Okta-User",
    "X-Iv-User",
    "Sm-User",
    "Gap-Auth",
    "X-Kong-Jwt-Claim-Sub",
    "Teleport-Jwt-Assertion",
    "X-Peer-IP",
    "X-Cdn-Src-Ip",
    "X-Vercel-Proxied-For",
    "Forwarded-For",
    "Forwarded-User",
    "X-Forwarded",
    "X-Forwarded-Uri",
    "X-Forwarded-Prefix",
    "X-Forwarded-Email",
    "X-Forwarded-Client-Cert",
    "X-Forward-For",
    "Client-IP",
    "X-Client-IP",
    "X-Cluster-Client-IP",
    "Proxy-Client-IP",
    "WL-Proxy-Client-IP",
    "HTTP-Client-IP",
    "X-ProxyUser-Ip",
    "True-Client-IP",
    "Fastly-Client-IP",
    "Fly-Client-IP",
    "CF-Connecting-IP",
    "CF-Connecting-IPv6",
    "CF-Access-Jwt-Assertion",
    "CF-Access-Authenticated-User-Email",
    "CF-IPCountry",
    "X-Nf-Client-Connection-Ip",
    "X-Sucuri-ClientIP",
    "X-Azure-ClientIP",
    "X-Azure-SocketIP",
    "X-AppEngine-User-IP",
    "X-Original-Forwarded-For",
    "X-Original-Host",
    "X-Originating-IP",
    "X-Real-Host",
    "X-Remote-Addr",
    "X-Remote-User",
    "Remote-User",
    "Remote-Groups",
    "Remote-Email",
    "Remote-Addr",
    "Client-Cert",
    "Client-Cert-Chain",
    "X-Client-Cert",
    "X-Client-Verify",
    "X-Client-DN",
    "SSL-Client-Cert",
    "SSL-Client-Verify",
    "SSL-Client-S-DN",
    "X-SSL-Client-Verify",
    "X-SSL-Cert",
    "X-TLS-Client-Cert",
    "X-ARR-ClientCert",
    "X-ARR-SSL",
    "X-Auth-Request-User",
    "X-Auth-Request-Groups",
    "X-Auth-Request-Access-Token",
    "X-Authenticated-User",
    "X-Authenticated-Userid",
    "X-Authenticated-Scope",
    "X-Authentik-Username",
    "X-WebAuth-User",
    "X-Pomerium-Jwt-Assertion",
    "X-Consumer-Username",
    "Tailscale-User-Login",
    "Shib-Session-ID",
    "OIDC-Claim-Email",
    "X-Ms-Client-Principal",
    "X-Ms-Client-Principal-Id",
    "X-Ms-Token-AAD-Access-Token",
    "X-Amzn-Oidc-Data",
    "X-Amzn-Oidc-Identity",
    "X-Amzn-Mtls-Clientcert",
    "X-Goog-IAP-JWT-Assertion",
    "X-Goog-Authenticated-User-Email",
    "X-Apigateway-Api-Userinfo",
    "X-Endpoint-Api-UserInfo",
    "X-Envoy-External-Address",
    "X-Envoy-Original-Path",
    "X-Envoy-Peer-Metadata",
    "X-Vercel-Forwarded-For",
    "X-Vercel-Ip-Country",
    "X-Host",
    "X-Scheme",
    "X-URL-Scheme",
    "Front-End-Https",
    "X-Accel-Redirect",
    "X-Sendfile",
    "Proxy",
]
OTHER = [
    "X-Original-URL",
    "X-Rewrite-URL",
    "X-Original-URI",
    "X-Original-Method",
    "X-HTTP-Method",
    "X-HTTP-Method-Override",
    "X-Method-Override",
    "X-Middleware-Subrequest",
    "X-Middleware-Rewrite",
    "X-Middleware-Next",
    "X-Invoke-Path",
    "X-Invoke-Status",
    "X-Matched-Path",
    "X-Now-Route-Matches",
]
ORDINARY = [
    "X-Auth-Token",
    "X-Auth-Key",
    "X-Goog-Api-Key",
    "X-Goog-Api-Client",
    "X-User-Agent",
    "X-User-Id",
    "X-Client-Data",
    "X-Client-Info",
    "X-Client-Version",
    "X-Client-Name",
    "X-Client-Request-Id",
    "X-Ms-Client-Request-Id",
    "X-Ms-Date",
    "X-Amz-Date",
    "X-Amzn-Trace-Id",
    "X-Amz-Security-Token",
    "X-Requested-With",
    "X-Request-Start",
    "X-Session-ID",
    "X-Session-Token",
    "X-CSRF-Token",
    "X-XSRF-Token",
    "X-Xsrftoken",
    "X-Api-Key",
    "Api-Key",
    "X-Access-Token",
    "X-Stainless-Lang",
    "X-Middleware-Prefetch",
    "Next-Action",
    "Next-Router-State-Tree",
    "RSC",
    "Cookie",
    "Authorization",
    "User-Agent",
    "Accept",
    "Accept-Language",
    "Referer",
    "Origin",
    "Tracestate",
    "B3",
    "X-B3-TraceId",
    "Sec-Fetch-Site",
    "Sec-CH-UA",
    "Client-Version",
    "Openai-Organization",
    "Anthropic-Version",
    "Mcp-Session-Id",
    "Last-Event-ID",
    "If-None-Match",
    "Range",
    "Content-Type",
    "Content-Encoding",
    "CF-Turnstile-Response",
    "Remote",
    "X-Device-Ip-Hash",
    "Via-Test",
    "X-Vercel-AI-Ui-Message-Stream",
    "X-Supabase-Api-Version",
    "X-Forgery-Protection",
    "Sslmode",
    "Authentication",
    "Original-Message",
    "X-Sslmode",
]


@pytest.mark.parametrize("name", CLAIMS)
def test_claims(name):
    assert is_claim(name.lower().encode())


@pytest.mark.parametrize("name", OTHER)
def test_other_readings(name):
    assert is_other_reading(name.lower().encode())


@pytest.mark.parametrize("name", ORDINARY)
def test_ordinary_names(name):
    key = name.lower().encode()
    assert not is_claim(key)
    assert not is_other_reading(key)
    assert not IdentityHeaders().from_clients[key]


def test_proxies_may_claim_but_not_redirect():
    headers = IdentityHeaders()
    names = (b"remote-user", b"x-middleware-subrequest", b"connection", b"x-forwarded-for", b"accept")
    assert [headers.from_clients[name] for name in names] == [True, True, True, True, False]
    assert [headers.from_proxies[name] for name in names] == [False, True, True, True, False]


def test_the_policy_may_let_one_pass():
    problems, counts = Problems(), BoundedCounts()
    headers = build_identity_headers(["Remote-User"], counts, problems)
    assert problems.found == []
    assert not headers.from_clients[b"remote-user"]
    assert headers.from_clients[b"remote-groups"]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("X-Forwarded-For", "[0]: 'X-Forwarded-For' never passes: the sidecar writes it itself"),
        ("Connection", "[0]: 'Connection' never passes"),
        ("X_Forwarded_User", "[0]: 'X_Forwarded_User' never passes"),
        ("X-Rewrite-Url", "[0]: 'X-Rewrite-Url' would lead the backend to another path"),
        ("X-Auth-Token", "[0]: 'X-Auth-Token' passes anyway; leave it out"),
    ],
)
def test_what_cannot_be_let_through(name, says):
    problems = Problems()
    build_identity_headers([name], BoundedCounts(), problems)
    assert [str(problem).startswith(says) for problem in problems.found] == [True], problems.found


def test_what_was_dropped_is_counted_and_logged_once(caplog):
    counts = BoundedCounts()
    headers = IdentityHeaders(dropped=counts)
    for _ in range(3):
        for name in (asked := [b"remote-user", b"accept", b"connection"]):
            headers.from_clients[name]
        headers.count(asked, trusted=False)
    assert counts.most_common() == {"remote-user": 3}
    assert caplog.messages == ["request header remote-user is dropped: only a trusted proxy may send it"]


def test_invented_names_take_bounded_memory():
    counts = BoundedCounts()
    headers = IdentityHeaders(dropped=counts)
    for number in range(20_000):
        name = b"x-forwarded-%d-%s" % (number, b"a" * (number % 900))
        assert headers.from_clients[name]
        headers.count([name], trusted=False)
    held = headers.from_clients
    assert sum(map(len, held)) <= CACHE
    assert sum(map(len, held.claims)) <= CACHE
    assert len(counts.most_common()) <= 65
