"""The egress listener's policy: provider calls of the backend, with a handle in them and the key put in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urlsplit

from sidecar.clock import Clock
from sidecar.errors import Problems
from sidecar.events import EventSink
from sidecar.guard import HeaderWriter, Step
from sidecar.guards.budgets.build import Budgets
from sidecar.guards.clients.address import AddressGuard, build_address
from sidecar.guards.clients.identity_headers import IdentityHeaders
from sidecar.guards.egress.egress_path import EgressPathGuard
from sidecar.guards.egress.phantom_key import KEY_HEADERS, PhantomKeyGuard
from sidecar.guards.egress.provider_limit import ProviderLimitGuard
from sidecar.guards.limits.rate_limit import RateLimitGuard, RateLimitHeaderWriter
from sidecar.guards.local_endpoints import Unmatched
from sidecar.head import HOP_BY_HOP
from sidecar.messages.protocols.model_apis import OPENAI
from sidecar.messages.protocols.pages import PLAIN
from sidecar.messages.protocols.recognition import recognise
from sidecar.policy.backend_target import build_target
from sidecar.policy.policy import BackendTarget, Injection, Policy, RequestBounds, Route
from sidecar.policy.routes import Pattern, RouteTable
from sidecar.policy.schema.credentials import EgressProvider
from sidecar.policy.schema.policy_schema import PolicySchema
from sidecar.redaction.filters import build_redaction
from sidecar.responses.budget_meter import BudgetMeter
from sidecar.responses.filters import ResponseObserver, RouteResponseFilters
from sidecar.responses.provider_refusals import ProviderRefusals
from sidecar.responses.token_usage import TokenUsage, UsageCounter
from sidecar.services import HandleRegistry, SecretMatchers
from sidecar.stores.budget_ledger import BudgetLedger
from sidecar.stores.provider_limits import ProviderLimits

PREFIX: Final = "egress:"
"""Before a provider's name in the route's: no route of a policy can be named so."""

MAX_UPLOAD: Final = 512 * 1024 * 1024
"""Bytes of a request's body: the largest file that the large providers take. It streams."""
MAX_READ: Final = 32 * 1024 * 1024
"""Bytes of a request to a model that is read, to know its model and its bounds: with pictures in it."""
ASKING: Final = (
    "/chat/completions", "/completions", "/responses", "/messages", "/embeddings", "/api/generate", "/api/chat",
    "/*:generateContent", "/*:streamGenerateContent",
)  # fmt: skip
"""How the paths end by which models are asked."""
MAX_CONNECTIONS: Final = 256

UNASKED: Final = frozenset({
    *KEY_HEADERS, b"cookie", b"origin", b"referer", b"from", b"dnt", b"accept-language", b"save-data", b"priority",
    b"upgrade-insecure-requests", b"x-requested-with", b"x-session-id", b"x-csrf-token", b"x-xsrf-token",
    b"x-sidecar-sanitized", b"traceparent", b"tracestate", b"baggage", b"early-data",
})  # fmt: skip
"""What a backend may pass on from its browser, and a provider has no use for."""

UNANSWERED: Final = frozenset({b"x-request-id", b"alt-svc", b"strict-transport-security", b"nel", b"report-to"})
"""Response headers about the provider's own connection; the request id is the sidecar's."""

_OPENAI_LIKE: Final = frozenset({"openai", "azure-openai", "google", "mistral", "groq", "openrouter"})


@dataclass(frozen=True, slots=True)
class Shared:
    """What the egress listener has in common with the rest of a policy.

    handles    resolves phantom keys; None without a vault: every call is refused
    provider_limits  until when providers refuse calls
    keys       the plain keys that responses must not contain
    limits     the guard of `egress.rate_limits`
    enforce    whether those limits refuse, or only observe; `enforce_budgets` for budgets
    counter    provider → what counts its tokens and their cost
    nowhere    a target for the routes that never send anything
    """

    events: EventSink
    handles: HandleRegistry | None
    counter: Callable[[str], UsageCounter]
    budgets: Budgets
    ledger: BudgetLedger
    provider_limits: ProviderLimits
    clock: Clock
    keys: SecretMatchers
    bounds: RequestBounds
    limits: RateLimitGuard
    enforce: bool
    enforce_budgets: bool
    nowhere: BackendTarget


def build_egress(schema: PolicySchema, shared: Shared, digest: str, problems: Problems) -> Policy:
    """Build one row for each provider's allowed path, and refusals for all else; `problems` is at `egress`."""
    build = _Egress(schema, shared)
    rows: list[tuple[Pattern, Route]] = []
    for name, provider in schema.egress.providers.items():
        rows += build.rows(name, provider, problems.at("providers").at(name))
    closed = build.closed("unmatched", (Step(Unmatched(_no_methods)),))
    return Policy(digest, shared.bounds, RouteTable(rows, closed), build.closed("malformed", ()), IdentityHeaders())


class _Egress:
    """The parts of the egress policy while it is built."""

    def __init__(self, schema: PolicySchema, shared: Shared) -> None:
        self._schema = schema
        self._shared = shared
        # The caller is the backend in this pod: no forwarding headers count, and no list of clients applies.
        self._address: AddressGuard = build_address((), 64, (), (), Problems())
        self._stamps: tuple[HeaderWriter, ...] = (RateLimitHeaderWriter(shared.limits),) if shared.limits.limits else ()
        sessions = (place.name.lower().encode() for place in schema.sessions.places if place.kind == "header")
        self._dropped = UNASKED.union(sessions)

    def rows(self, name: str, provider: EgressProvider, problems: Problems) -> list[tuple[Pattern, Route]]:
        """Return a provider's routes; the last takes every path that is not allowed."""
        target = build_target(
            provider.url,
            provider.tls,
            provider.timeouts,
            problems,
            preserve_host=False,
            max_connections=MAX_CONNECTIONS,
        )
        redaction = build_redaction(None, (), problems)
        shared = self._shared
        budget = shared.budgets.for_calls(name, provider.name or "", enforce=shared.enforce_budgets)
        rows = []
        for path, is_read in paths_of(provider.allow, metered=budget is not None):
            pattern = Pattern(f"/{name}{path}")
            steps = self._calls(name, pattern)
            spoken = protocol(name, (path,))
            counter = shared.counter(name)
            usage: ResponseObserver = TokenUsage(counter)
            if budget is not None:
                usage = BudgetMeter(counter, shared.ledger, shared.events, spoken)
            observers: tuple[ResponseObserver, ...] = (usage,)
            if provider.heed_limits:
                key = provider.name or ""
                observers = (ProviderRefusals(shared.provider_limits, name, key, shared.clock.now), usage)
                steps = (*steps, Step(ProviderLimitGuard(shared.provider_limits, name, key)))
            answers = RouteResponseFilters(redaction, shared.keys, observers, shared.events)
            if budget is not None and not is_read:
                steps = (*steps, budget[0])
            row = self._route(name, provider, target, steps, spoken, answers)
            if budget is not None and is_read:
                row = replace(row, body_steps=(budget[1],), max_body=MAX_READ)
            rows.append((pattern, row))
        refused = (Step(self._address), Step(EgressPathGuard(name, None)))
        last = self._route(name, provider, target, refused, protocol(name, provider.allow), None)
        return [*rows, (Pattern(f"/{name}/*"), last)]

    def _calls(self, name: str, pattern: Pattern) -> tuple[Step, ...]:
        """Return the guards of a call: peer, path, handle, limits. Path and handle have no observe mode."""
        custom = self._schema.providers.get(name)
        header = custom.header.lower().encode() if custom is not None else b""
        steps = [
            Step(self._address),
            Step(EgressPathGuard(name, pattern.literal())),
            Step(PhantomKeyGuard(name, header, self._shared.handles)),
        ]
        limits = self._shared.limits
        if limits.limits:
            steps.append(Step(limits, self._shared.enforce))
        return tuple(steps)

    def _route(
        self,
        name: str,
        provider: EgressProvider,
        target: BackendTarget,
        steps: tuple[Step, ...],
        spoken: str,
        answers: RouteResponseFilters | None,
    ) -> Route:
        return Route(
            name=PREFIX + name,
            target=target,
            steps=steps,
            header_writers=self._stamps,
            removed=HOP_BY_HOP.union(UNANSWERED, *(header_writer.owns for header_writer in self._stamps)),
            cookies=_no_cookie,
            max_body=MAX_UPLOAD,
            dropped=self._dropped,
            protocol=spoken,
            prefix=f"/{name}".encode(),
            base=urlsplit(provider.url).path.rstrip("/").encode(),
            outward=True,
            injection=Injection(name, "header", name=provider.name or "", sealed=True),
            filters=answers,
        )

    def closed(self, name: str, steps: tuple[Step, ...]) -> Route:
        """Return a route that refuses in its guards and sends nothing."""
        return Route(
            name=PREFIX + name,
            target=self._shared.nowhere,
            steps=(Step(self._address), *steps),
            header_writers=(),
            removed=HOP_BY_HOP,
            cookies=_no_cookie,
            max_body=0,
            outward=True,
        )


def paths_of(allowed: Sequence[str], *, metered: bool) -> Iterator[tuple[str, bool]]:
    """Yield the patterns of a provider's calls, and whether their bodies are read: those that ask a model are, where
    budgets count them.
    """
    for path in allowed:
        if metered and path.endswith("/*"):
            for ending in ASKING:
                yield f"{path[:-2]}/**{ending}", True
        yield path, metered and path.endswith(tuple(ending.lstrip("/*") for ending in ASKING))


def protocol(provider: str, paths: Sequence[str]) -> str:
    """Return the protocol in whose error shape the clients of a provider read refusals."""
    if provider == "anthropic":
        return provider
    if provider in _OPENAI_LIKE:
        return OPENAI.name
    found = next((known for path in paths if (known := recognise(path, None)) is not None), PLAIN)
    return found.name


def _no_methods(_: str) -> frozenset[str]:
    return frozenset()


def _no_cookie(_: bytes, __: bool) -> bytes | None:
    # A provider's cookies would tie the calls of many organizations together in the backend's client.
    return None
