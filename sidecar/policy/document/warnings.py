"""Warnings: what is allowed but probably not meant. `sidecar check` and the start print them."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Final
from urllib.parse import urlsplit

from sidecar.errors import Problem, Problems
from sidecar.guards.clients.address import UNIX_PEERS
from sidecar.guards.origins.origin import is_loopback
from sidecar.policy.kinds.coverage import uncovered
from sidecar.policy.schema.policy_schema import PolicySchema

_PROTECTING: Final = frozenset(
    {"address", "host", "https", "cors", "fetch_metadata", "session", "ownership", "redaction"}
)
"""Guards of access and of secrets: while one of them only observes, nothing is protected by it."""

EVERY_ADDRESS: Final = ("0.0.0.0", "::")  # noqa: S104 - compared with, not listened on
_WIDEST: Final = 7
"""Bits of a network that may be one's own: `10.0.0.0/8` and `fc00::/7`."""


def remarks(schema: PolicySchema) -> list[Problem]:
    """Return every remark."""
    notes = Problems()
    _dangers(schema, notes)
    _own_address(schema, notes)
    _embedding(schema, notes)
    _unread(schema, notes)
    _nothing_comes_of_it(schema, notes)
    _streams_are_not_judged(schema, notes)
    return notes.found


def _dangers(schema: PolicySchema, notes: Problems) -> None:
    if schema.mode == "observe":
        notes.at("mode").add("refuses nothing", "write enforce when you have seen enough")
    unenforced = [name for name in schema.observe if name in _PROTECTING]
    if unenforced and schema.mode == "enforce":
        what = f"lets pass what it should refuse: {', '.join(unenforced)}"
        notes.at("observe").add(what, "take it out when you have seen enough")
    if schema.cors.dangerously_allow_insecure_origins:
        notes.at("cors.dangerously_allow_insecure_origins").add("lets anyone on a visitor's network be an allowed page")
    if schema.egress.dangerously_listen_beyond_loopback:
        notes.at("egress.dangerously_listen_beyond_loopback").add("lets other machines use handles")
    for index, network in enumerate(schema.clients.trusted_proxies):
        if network != UNIX_PEERS and ip_network(network).prefixlen < _WIDEST:
            what = "trusts a large part of the internet: its hosts can choose the client address"
            notes.at(f"clients.trusted_proxies[{index}]").add(what, "write the networks of your proxies")


def _own_address(schema: PolicySchema, notes: Problems) -> None:
    """Note a backend at the port where the sidecar listens: many chats and the sidecar have 8080 by default."""
    public = schema.listen.public.address
    servers = [("backend", schema.backend), *((f"backends.{name}", one) for name, one in schema.backends.items())]
    for place, server in servers:
        parts = urlsplit(server.url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        host = parts.hostname or ""
        if public.port == port and is_loopback(host) and public.host in (*EVERY_ADDRESS, host):
            what = "is where this sidecar listens itself (listen.public)"
            notes.at(f"{place}.url").add(what, "give the backend another port, or write listen.public.address")


def _embedding(schema: PolicySchema, notes: Problems) -> None:
    """Note pages that may be in frames of other sites, where browsers leave Lax cookies out."""
    if schema.cookies.partitioned or schema.cookies.same_site == "none":
        return
    places = [("security_headers.preset", schema.security_headers)] + [
        (f"routes[{index}].security_headers.preset", route.security_headers)
        for index, route in enumerate(schema.routes)
        if route.security_headers is not None
    ]
    for place, headers in places:
        if headers.preset == "embeddable":
            what = "lets pages of other sites embed the chat, whose cookies (SameSite=Lax) browsers leave out there"
            notes.at(place).add(what, "write cookies: { partitioned: true } if the chat needs cookies or sessions")


def _unread(schema: PolicySchema, notes: Problems) -> None:
    """Note texts that pass uninspected."""
    open_paths: dict[str, list[str]] = {}
    for each in uncovered(schema):
        if each.route >= 0:
            what = f"lets {each.operation} of {each.kind} pass unread ({each.pattern.path}), which holds text"
            notes.at(f"routes[{each.route}].message").add(what, "leave message out, or write message: {}")
        else:
            open_paths.setdefault(each.kind, []).append(each.pattern.path)
    for kind, paths in open_paths.items():
        what = f"speaks {kind}'s API, which may hold text at {', '.join(paths)} too, where no route looks at all of it"
        notes.at("backend.kind").add(what, f"write kind: {kind}, or unmatched: deny")
    what = "leaves markup in the turns of other roles, which any client may claim"
    if schema.message.roles:
        notes.at("message.roles").add(what, "leave it out unless all clients are servers")
    for index, route in enumerate(schema.routes):
        if route.message is not None and route.message.roles and route.message.roles != schema.message.roles:
            notes.at(f"routes[{index}].message.roles").add(what, "leave it out unless all clients are servers")


def _nothing_comes_of_it(schema: PolicySchema, notes: Problems) -> None:
    if schema.content_filter.patterns and not any(route.message for route in schema.routes):
        what = "is asked about nothing, for no route says where its messages are"
        notes.at("content_filter.patterns").add(what, "write message: { fields: [...] } at a route")
    told = {each.route for each in uncovered(schema)}
    for index, route in enumerate(schema.routes):
        if route.protocol != "plain" and route.message is None and index not in told:
            what = "does not guard the texts that it knows, for the route says message: null"
            notes.at(f"routes[{index}].protocol").add(what, "leave message out, or write message: {} beside it")
    plain = schema.listen.public.tls is None and not schema.clients.trusted_proxies
    if plain and schema.requests.hosts and not schema.requests.https_only:
        what = "are public names without TLS here: all clients of a proxy in front count as one while it is not named"
        notes.at("requests.hosts").add(what, "write clients: { trusted_proxies: [its network] } if there is one")
    if schema.unmatched == "deny" and not schema.routes:
        notes.at("unmatched").add("answers every request with 404, for there are no routes")
    if schema.egress.providers and schema.listen.egress is None:
        what = "has no listener, for listen.egress is off"
        notes.at("egress.providers").add(what, 'write listen: { egress: { address: "127.0.0.1:8181" } }')
    if schema.listen.egress is not None and not schema.egress.providers:
        notes.at("listen.egress").add("leads nowhere, for egress.providers is empty")
    if schema.requests.https_only and schema.listen.public.tls is None and not schema.clients.trusted_proxies:
        what = "redirects every request, for there is neither TLS here nor a trusted proxy that could have had it"
        notes.at("requests.https_only").add(what, "write listen.public.tls or clients.trusted_proxies")
    if schema.sessions.learn is not None and schema.sessions.mode != "learn":
        notes.at("sessions.learn").add("has no use unless sessions.mode is learn")


def _streams_are_not_judged(schema: PolicySchema, notes: Problems) -> None:
    for index, guardrail in enumerate(schema.guardrails):
        if guardrail.about != "requests" and guardrail.on_stream == "pass":
            what = "is not asked about answers that stream, nor about messages of WebSockets: they pass"
            notes.at(f"guardrails[{index}].about").add(what, "write on_stream: refuse where answers must not stream")
