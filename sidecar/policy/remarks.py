"""What is allowed, but probably not meant: told by `sidecar check` and at start, never a reason to refuse."""

from __future__ import annotations

from ipaddress import ip_network

from sidecar.errors import Problem, Problems
from sidecar.policy.schema import PolicySchema


def remarks(schema: PolicySchema) -> list[Problem]:
    """Return every remark."""
    notes = Problems()
    _dangers(schema, notes)
    _nothing_comes_of_it(schema, notes)
    return notes.found


def _dangers(schema: PolicySchema, notes: Problems) -> None:
    if schema.mode == "observe":
        notes.at("mode").add("refuses nothing", "write enforce when you have seen enough")
    if schema.cors.dangerously_allow_insecure_origins:
        notes.at("cors.dangerously_allow_insecure_origins").add("lets anyone on a visitor's network be an allowed page")
    if schema.egress.dangerously_listen_beyond_loopback:
        notes.at("egress.dangerously_listen_beyond_loopback").add("lets other machines use handles")
    for index, network in enumerate(schema.clients.trusted_proxies):
        if ip_network(network).prefixlen == 0:
            notes.at(f"clients.trusted_proxies[{index}]").add("lets every client choose its own address")


def _nothing_comes_of_it(schema: PolicySchema, notes: Problems) -> None:
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
