"""Checks across the sections of a policy. Each rule is a function; every check runs all of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from sidecar.budget import Unit
from sidecar.errors import ConfigError, Problem, Problems
from sidecar.guards.budgets.build import is_metered
from sidecar.policy.routes import Pattern
from sidecar.policy.schema.credentials import Tokens
from sidecar.policy.schema.limits_and_sessions import RateLimit
from sidecar.policy.schema.policy_schema import PolicySchema
from sidecar.policy.schema.route import LISTENER_WIDE, Route
from sidecar.policy.schema.string_types import Address, goes_in_clear
from sidecar.prices import ANY
from sidecar.vault.providers import build

Rule: TypeAlias = Callable[[PolicySchema, Problems], None]

BUILT_IN_PROVIDERS: Final = frozenset({
    "openai", "anthropic", "azure-openai", "google", "mistral", "groq", "openrouter", "stripe", "zendesk", "intercom",
})  # fmt: skip
NAMING: Final = frozenset({
    "auto", "openai", "openai-text", "openai-responses", "anthropic", "google", "rerank", "ollama", "open-webui",
})  # fmt: skip
"""Protocols whose requests name their model."""
_ANY: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared with, not listened on


def broken_rules(schema: PolicySchema, made: Collection[int] = ()) -> list[Problem]:
    """Return what every rule finds. `made` are the indexes of the routes that the backend's kind added."""
    problems = Problems()
    written = _with_written_limits(schema, made)
    for rule in RULES:
        rule(written if rule is limits_have_their_own_names else schema, problems)
    return problems.found


def _with_written_limits(schema: PolicySchema, made: Collection[int]) -> PolicySchema:
    """Leave out limits that a kind's route shares with the wider route of the operator that it is merged with."""
    if not made:
        return schema
    routes = (
        route.model_copy(update={"rate_limits": ()}) if number in made else route
        for number, route in enumerate(schema.routes)
    )
    return schema.model_copy(update={"routes": tuple(routes)})


def listeners_have_their_own_addresses(schema: PolicySchema, problems: Problems) -> None:
    """Report listeners whose host and port collide."""
    listen = schema.listen
    taken: list[tuple[str, Address]] = []
    for name, listener in (("public", listen.public), ("management", listen.management), ("egress", listen.egress)):
        if listener is None:
            continue
        for other, address in taken:
            if _collide(address, listener.address):
                what = f"is the address of listen.{other} too"
                problems.at("listen").at(name).at("address").add(what, "give each listener a port of its own")
        taken.append((name, listener.address))


def egress_stays_on_loopback(schema: PolicySchema, problems: Problems) -> None:
    """Report an egress listener that other machines could reach, unless the policy allows it by name."""
    egress = schema.listen.egress
    if egress and not egress.address.loopback and not schema.egress.dangerously_listen_beyond_loopback:
        problems.at("listen.egress.address").add(
            "would let other machines use the providers' keys",
            "write 127.0.0.1, or egress.dangerously_listen_beyond_loopback: true",
        )


def own_paths_differ(schema: PolicySchema, problems: Problems) -> None:
    """Report two of the sidecar's own endpoints at one path."""
    paths = schema.listen.public.paths
    if paths.session and paths.session == paths.rate_limit_status:
        problems.at("listen.public.paths.rate_limit_status").add("is the session's path too", "write another one")
    if paths.csp_reports and paths.csp_reports in (paths.session, paths.rate_limit_status):
        problems.at("listen.public.paths.csp_reports").add("is another of these paths too", "write another one")


def backend_tls_needs_https(schema: PolicySchema, problems: Problems) -> None:
    """Report TLS settings of a backend whose URL is not https."""
    places = [("backend", schema.backend), *((f"backends.{name}", one) for name, one in schema.backends.items())]
    for place, server in places:
        if server.tls is not None and not server.url.startswith("https:"):
            what = f"has no use, for {place}.url is not https"
            problems.at(place).at("tls").add(what, "write an https URL, or remove it")


def routes_name_backends_that_are_there(schema: PolicySchema, problems: Problems) -> None:
    """Report a route's backend that `backends` does not define."""
    for path, route in _routes(schema):
        if route.backend is not None and route.backend not in schema.backends:
            known = f"one of {', '.join(sorted(schema.backends))}" if schema.backends else "it under backends"
            problems.at(path).at("backend").add(f'"{route.backend}" is not a name of backends', f"write {known}")


def limits_have_their_own_names(schema: PolicySchema, problems: Problems) -> None:
    """Report two rate limits of one name: headers and metrics could not tell them apart."""
    first: dict[str, str] = {}
    for path, limit in _limits(schema):
        other = first.setdefault(limit.name, path)
        if other != path:
            problems.at(path).at("name").add(f"is the name of {other} too", "give each limit a name of its own")


def budgets_have_their_own_names(schema: PolicySchema, problems: Problems) -> None:
    """Report two budgets of one name: log and metrics could not tell them apart."""
    seen: set[str] = set()
    for index, budget in enumerate(schema.budgets):
        if budget.name in seen:
            at = problems.at(f"budgets[{index}].name")
            at.add("is the name of another budget too", "give each budget a name of its own")
        seen.add(budget.name)


def budgets_count_something(schema: PolicySchema, problems: Problems) -> None:
    """Report budgets that no request would be held to."""
    routes = [route for route in schema.routes if is_metered(schema, route)]
    calls = schema.listen.egress is not None and bool(schema.egress.providers)
    for index, budget in enumerate(schema.budgets):
        at = problems.at(f"budgets[{index}]")
        if not routes and not calls:
            what = "counts nothing, for no route's answers from a model can be counted"
            at.add(what, "write a route with a message or a credential, or send provider calls through listen.egress")
        elif not routes and budget.per in ("user", "ip"):
            what = "counts nothing, for provider calls of the egress listener have no user and no address"
            at.at("per").add(what, "write per: organization, session or credential")
        elif budget.per == "session" and schema.sessions.mode == "off" and not calls:
            what = "counts sessions, and sessions.mode is off"
            at.at("per").add(what, "write sessions: { mode: issue }, or per: ip")
        elif budget.per == "credential" and not calls and not any(route.credential for route in routes):
            what = "counts nothing, for no request gets a key"
            at.at("per").add(what, "write per: organization, or a route with a credential")


def budgets_in_money_have_prices(schema: PolicySchema, problems: Problems) -> None:
    """Report budgets in USD whose requests name no model: what they cost cannot be known."""
    if ANY in schema.prices:
        return
    nameless = [r.name for r in schema.routes if is_metered(schema, r) and r.protocol not in NAMING]
    for index, budget in enumerate(schema.budgets):
        if budget.limit.unit is Unit.USD and nameless:
            what = f"cannot be counted on the route {nameless[0]}, for its requests name no model, and so have no price"
            instead = 'write prices: { "*": { input: 1, output: 4 } } in USD for a million tokens, or a limit in tokens'
            problems.at(f"budgets[{index}].limit").add(what, instead)


def routes_have_their_own_names(schema: PolicySchema, problems: Problems) -> None:
    """Report two routes of one name: log and metrics could not tell them apart."""
    first: dict[str, str] = {}
    for path, route in _routes(schema):
        other = first.setdefault(route.name, path)
        if other != path:
            problems.at(path).at("name").add(f"is the name of {other} too", "give each route a name of its own")


def patterns_have_their_own_names(schema: PolicySchema, problems: Problems) -> None:
    """Report two content patterns of one name."""
    seen: set[str] = set()
    for index, pattern in enumerate(schema.content_filter.patterns):
        if pattern.name in seen:
            at = problems.at(f"content_filter.patterns[{index}].name")
            at.add("is the name of another pattern too", "give each pattern a name of its own")
        seen.add(pattern.name)


def guardrails_are_sound(schema: PolicySchema, problems: Problems) -> None:
    """Report guardrails of one name, in clear, without the model that they need, or of routes that are not there."""
    seen: set[str] = set()
    routes = {route.name for route in schema.routes}
    for index, guardrail in enumerate(schema.guardrails):
        at = problems.at(f"guardrails[{index}]")
        if guardrail.name in seen:
            at.at("name").add("is the name of another guardrail too", "give each guardrail a name of its own")
        seen.add(guardrail.name)
        if goes_in_clear(guardrail.url) and not guardrail.dangerously_send_in_clear:
            at.at("url").add(
                "would send messages in clear",
                "write an https URL, or dangerously_send_in_clear: true within a cluster",
            )
        if guardrail.kind == "openai" and guardrail.model is None:
            at.add("has no model", "write model: meta-llama/Llama-Guard-3-8B, or the one that is served")
        if guardrail.about == "requests" and guardrail.on_stream == "refuse":
            at.at("on_stream").add("has no use, for answers are not judged", "write about: both, or leave it out")
        for number, route in enumerate(guardrail.routes):
            if route not in routes:
                at.at(f"routes[{number}]").add(f'"{route}" is no route of this policy', "write the name of one")


def routes_can_match(schema: PolicySchema, problems: Problems) -> None:
    """A route is dead when earlier ones take every request that it would."""
    earlier: list[tuple[re.Pattern[str], Route]] = []  # compiled once: a thousand routes are half a million pairs
    for path, route in _routes(schema):
        pattern = Pattern(route.match.path)
        samples = pattern.samples()
        taking = [other for takes, other in earlier if all(map(takes.fullmatch, samples))]
        taken = frozenset[str]().union(*(other.match.methods for other in taking))
        own = frozenset(route.match.methods)
        if any(not other.match.methods for other in taking) or (own and own <= taken):
            what = f"can never match, for the route {taking[0].name} before it takes these requests"
            problems.at(path).at("match").add(what, "put the narrower route first")
        earlier.append((pattern.compiled(), route))


def sessions_can_be_asked_for(schema: PolicySchema, problems: Problems) -> None:
    """Report routes, limits and ownership that need sessions where there are none."""
    off = schema.sessions.mode == "off"
    for path, route in _routes(schema):
        if off and route.session == "required":
            what = "cannot be met while sessions.mode is off"
            problems.at(path).at("session").add(what, "write sessions: { mode: issue }, or session: optional")
        for index, limit in enumerate(route.rate_limits or ()):
            if limit.per == "session" and route.session == "none":
                at = problems.at(path).at(f"rate_limits[{index}]").at("per")
                at.add("counts sessions on a route that does not look at them", "write session: optional")
    for path, limit in _limits(schema):
        if off and limit.per == "session":
            what = "counts sessions, and sessions.mode is off"
            problems.at(path).at("per").add(what, "write sessions: { mode: issue }, or per: ip")
    if off and schema.ownership.mode != "off":
        what = "needs sessions to own conversations, and sessions.mode is off"
        problems.at("ownership.mode").add(what, "write sessions: { mode: issue }, or ownership: { mode: off }")


def sessions_are_complete(schema: PolicySchema, problems: Problems) -> None:
    """Report a `sessions` section without places, without a source of learned ids, or with `idle` above `max_age`."""
    sessions = schema.sessions
    at = problems.at("sessions")
    if sessions.idle is not None and sessions.idle > sessions.max_age:
        at.at("idle").add("is longer than max_age, so it never ends a session", "write a shorter time, or null")
    if sessions.mode != "off" and not sessions.places:
        at.at("in").add("is empty: no client could say its session", "write [header:X-Session-ID]")
    if sessions.mode == "learn" and sessions.learn is None:
        at.add("does not say where to learn from", "write learn: { json: $.sessionId } or learn: { cookie: NAME }")
    if sessions.learn is not None and (sessions.learn.json_path is None) == (sessions.learn.cookie is None):
        at.at("learn").add("needs one place", "write json or cookie, one of the two")


def observing_means_something(schema: PolicySchema, problems: Problems) -> None:
    """Report a route's `observe` entry that names a guard of the whole listener."""
    for path, route in _routes(schema):
        for index, name in enumerate(route.observe):
            if name in LISTENER_WIDE:
                what = f"cannot be observed on one route, for {name} guards the whole listener"
                problems.at(path).at(f"observe[{index}]").add(what, "write it under observe at the top of the policy")


def providers_are_known(schema: PolicySchema, problems: Problems) -> None:
    """Report providers that are neither built in nor described under `providers`."""
    known = BUILT_IN_PROVIDERS | set(schema.providers)
    asked = [(f"{path}.credential.provider", r.credential.provider) for path, r in _routes(schema) if r.credential]
    asked += [(f"egress.providers.{name}", name) for name in schema.egress.providers]
    if schema.content_filter.moderation:
        asked.append(("content_filter.moderation.provider", schema.content_filter.moderation.provider))
    for path, name in asked:
        if name not in known:
            instead = f"write one of {', '.join(sorted(known))}, or describe it under providers"
            problems.at(path).add("is not a provider that is known", instead)


def custom_providers_can_be_built(schema: PolicySchema, problems: Problems) -> None:
    """Report entries of `providers` that the catalogue cannot use."""
    for name, provider in schema.providers.items():
        try:
            build(name, provider.entry())
        except ConfigError as error:
            problems.at("providers").at(name).add(str(error).partition(": ")[2] or str(error), "see docs/policy.md")


def keys_travel_sealed(schema: PolicySchema, problems: Problems) -> None:
    """A key goes over TLS, or does not leave this machine."""
    for path, route in _routes(schema):
        server = schema.backends.get(route.backend or "", schema.backend)
        if route.credential and route.credential.form == "header" and goes_in_clear(server.url):
            what = f"would send a key over plain http to {urlsplit(server.url).hostname}"
            instead = "write an https backend.url, one on 127.0.0.1, or as: handle"
            problems.at(path).at("credential").add(what, instead)
    for name, provider in schema.egress.providers.items():
        if goes_in_clear(provider.url):
            what = f"would send a key over plain http to {urlsplit(provider.url).hostname}"
            problems.at("egress.providers").at(name).at("url").add(what, "write an https URL")


def handles_lead_somewhere(schema: PolicySchema, problems: Problems) -> None:
    """Report routes that make handles for a provider which the egress listener does not serve."""
    for path, route in _routes(schema):
        credential = route.credential
        if credential is None or credential.form != "handle":
            continue
        if schema.listen.egress is None:
            what = "makes handles that nothing turns into keys, for listen.egress is off"
            problems.at(path).at("credential.as").add(what, 'write listen: { egress: { address: "127.0.0.1:8181" } }')
        elif credential.provider not in schema.egress.providers:
            what = f"makes handles that nothing turns into keys, for egress.providers has no {credential.provider}"
            problems.at(path).at("credential.as").add(what, "add it to egress.providers")


def egress_allows_something(schema: PolicySchema, problems: Problems) -> None:
    """Report an egress provider without any allowed path."""
    for name, provider in schema.egress.providers.items():
        if not provider.allow:
            problems.at("egress.providers").at(name).at("allow").add("is empty", "write the paths that may be called")


def key_sets_come_safely(schema: PolicySchema, problems: Problems) -> None:
    """Report a key set whose URL is neither https nor on this machine."""
    sections: tuple[tuple[str, Tokens], ...] = (("admin", schema.admin), ("api_auth", schema.api_auth))
    for name, tokens in sections:
        if tokens.jwks is None or "://" not in tokens.jwks:
            continue
        if not tokens.jwks.startswith(("https://", "http://")) or goes_in_clear(tokens.jwks):
            what = "would take keys from anyone on the network path"
            problems.at(name).at("jwks").add(what, "write an https URL, or a file")


def webhooks_are_safe(schema: PolicySchema, problems: Problems) -> None:
    """Report a webhook without TLS beyond this machine, and anchors that are to go to a missing one."""
    events = schema.events
    if events.webhook is not None and goes_in_clear(events.webhook.url or ""):
        problems.at("events.webhook.url").add("would send names and addresses in clear", "write an https URL")
    if events.audit_anchor == "webhook" and events.webhook is None:
        what = "has nowhere to go, for events.webhook is not set"
        problems.at("events.audit_anchor").add(what, "write events: { webhook: https://… }, or audit_anchor: log")


RULES: Final[tuple[Rule, ...]] = (
    listeners_have_their_own_addresses,
    egress_stays_on_loopback,
    own_paths_differ,
    backend_tls_needs_https,
    routes_name_backends_that_are_there,
    limits_have_their_own_names,
    budgets_have_their_own_names,
    budgets_count_something,
    budgets_in_money_have_prices,
    routes_have_their_own_names,
    patterns_have_their_own_names,
    guardrails_are_sound,
    routes_can_match,
    sessions_can_be_asked_for,
    sessions_are_complete,
    observing_means_something,
    providers_are_known,
    custom_providers_can_be_built,
    keys_travel_sealed,
    handles_lead_somewhere,
    egress_allows_something,
    key_sets_come_safely,
    webhooks_are_safe,
)


def _routes(schema: PolicySchema) -> Iterator[tuple[str, Route]]:
    for index, route in enumerate(schema.routes):
        yield f"routes[{index}]", route


def _limits(schema: PolicySchema) -> Iterator[tuple[str, RateLimit]]:
    """Every limit of the policy with its path."""
    for index, limit in enumerate(schema.rate_limits):
        yield f"rate_limits[{index}]", limit
    for path, route in _routes(schema):
        for index, limit in enumerate(route.rate_limits or ()):
            yield f"{path}.rate_limits[{index}]", limit
    for index, limit in enumerate(schema.egress.rate_limits):
        yield f"egress.rate_limits[{index}]", limit


def _collide(one: Address, other: Address) -> bool:
    if one.path or other.path:
        return one.path == other.path
    if one.port != other.port or one.port == 0:
        return False
    return one.host == other.host or bool({one.host, other.host} & _ANY)
