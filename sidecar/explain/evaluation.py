"""One question on its way through a policy: the guards are asked in their order, one by one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from sidecar.admin.ports import Question
from sidecar.admission import admit, inspect
from sidecar.decision import NOTHING, Answer, Detail, Refuse, Rewrite, settled
from sidecar.events import SecurityEvent, Served
from sidecar.exchange import Exchange
from sidecar.explain.explanation import Explanation, GuardReport
from sidecar.explain.provenance import Provenance
from sidecar.explain.request_builder import head_of
from sidecar.guard import BodyStep, Step
from sidecar.guards.local_endpoints import CspReports, RateLimitStatus
from sidecar.guards.sessions.session_endpoint import SessionEndpoint
from sidecar.head import RequestHead
from sidecar.policy.compile import Compiled
from sidecar.policy.dry_run import AssumedSessions
from sidecar.policy.policy import Injection, Policy, Route
from sidecar.proxy.codec.request_heads import RequestHeadReader
from sidecar.proxy.forwarding_headers import request_head
from sidecar.proxy.strict_rules import Malformed, request_framing
from sidecar.services import Services
from sidecar.vault.providers import Catalogue
from sidecar.vocabulary import Code, Outcome

ENDPOINTS: Final[Mapping[type, str]] = {
    SessionEndpoint: "session_path",
    RateLimitStatus: "rate_limit_status",
    CspReports: "csp_reports",
}
"""Guards that do what they are asked for: they are named here, and not asked."""

REQUEST_ID: Final = "explained"

CARRYING: Final = frozenset({"POST", "PUT", "PATCH"})
"""Methods whose requests hardly ever come without a body."""

HasKey = Callable[[str, str], bool]
"""Whether an organization has a usable key for a provider."""


class _RefusalRecorder:
    """An EventSink that keeps the events of one guard."""

    def __init__(self) -> None:
        self.events: list[SecurityEvent] = []

    def record(self, event: SecurityEvent) -> None:
        self.events.append(event)

    def served(self, served: Served) -> None:
        """Nothing is served."""


class Evaluation:
    """One question on its way through a policy; the order is that of `proxy.listener` and `proxy.handler`."""

    def __init__(
        self,
        compiled: Compiled,
        services: Services,
        question: Question,
        has_key: HasKey | None,
        assumed: AssumedSessions | None = None,
    ) -> None:
        self._compiled = compiled
        self._policy: Policy = compiled.public
        self._services = services
        self._question = question
        self._has_key = has_key
        self._assumed = assumed
        document = compiled.document
        self._reasons = Provenance(document, "")
        self._said = Explanation(
            {"method": question.method, "path": question.target.partition("?")[0], "peer": question.address},
            {"source": document.source, "digest": document.short_digest, "mode": document.schema.mode},
        )

    async def explained(self) -> Explanation:
        """Raise ValueError when the question is none."""
        said = self._said
        body = self._question.body
        raw = head_of(self._question, self._compiled.schema.requests.hosts, said.notes)
        try:
            head, framing = self._parsed(raw)
        except Malformed as error:
            self._word("request", Refuse(error.code, {"reason": error.reason}))
            return said
        exchange, route = self._routed(head)
        if route is None:
            self._word("request", Refuse(Code.REQUEST_MALFORMED, {"reason": "ambiguous path"}))
            return said
        self._passed("request")
        if self._assumed is not None:
            self._assumed.asked = exchange
        if await self._admitted(exchange, route) and self._fits(max(framing, len(body)), route):
            changed = await self._inspected(exchange, body, route)
            if changed is not None and self._with_key(exchange, route):
                self._sent(exchange, route, *changed)
        self._tell(exchange)
        return said

    # --- the request ---------------------------------------------------------------------------

    def _parsed(self, raw: bytes) -> tuple[RequestHead, int]:
        bounds = self._policy.bounds
        if len(raw) > bounds.max_header_bytes:
            raise Malformed(Code.HEADERS_TOO_LARGE, "head")
        head = RequestHeadReader().read(raw + b"\r\n\r\n", bounds.max_target, bounds.max_fields)
        return head, request_framing(head)

    def _routed(self, head: RequestHead) -> tuple[Exchange, Route | None]:
        clock, schema = self._services.clock, self._compiled.schema
        secure = schema.listen.public.tls is not None
        exchange = Exchange(REQUEST_ID, clock.monotonic(), clock.now(), head, self._question.address, secure)
        method = head.method
        if method == "OPTIONS" and b"origin" in head.index:
            method = head.index.get(b"access-control-request-method", b"OPTIONS").decode("latin-1")
        route = self._policy.routes.find(method, head.path)
        if route is not None:
            exchange.route = route.name
            self._reasons = Provenance(self._compiled.document, route.name)
            key = self._reasons.route_key
            self._said.route = {"name": route.name, "key": key, "place": self._reasons.place(key)}
        return exchange, route

    # --- the guards ----------------------------------------------------------------------------

    async def _admitted(self, exchange: Exchange, route: Route) -> bool:
        """Ask the guards of the head one by one; return whether all let it pass."""
        for number, step in enumerate(route.steps):
            endpoint = next((name for kind, name in ENDPOINTS.items() if isinstance(step.guard, kind)), None)
            if endpoint is not None:
                self._word(endpoint, Answer(0))
                return False
            heard = _RefusalRecorder()
            decision = await settled(admit(exchange, (step,), heard))
            name = step.guard.name
            if isinstance(decision, Answer | Refuse):
                self._word(name, decision)
                self._leave([*route.steps[number + 1 :], *route.body_steps])
                return False
            self._passed(name, heard)
        return True

    def _fits(self, framing: int, route: Route) -> bool:
        if framing <= route.max_body:
            return True
        self._word("body", Refuse(Code.BODY_TOO_LARGE, {"bytes": framing, "limit": route.max_body}))
        self._leave(route.body_steps)
        return False

    async def _inspected(self, exchange: Exchange, body: bytes, route: Route) -> tuple[bytes, frozenset[bytes]] | None:
        """Ask the guards of the body; return what goes on and the names that the head loses, None: it does not."""
        notes, drop = self._said.notes, set[bytes]()
        if exchange.head.index.get(b"upgrade", b"").lower() == b"websocket":
            if route.frames is not None:
                notes.append("a WebSocket: each of its text messages will be inspected")
            return body, frozenset()
        if route.body_steps and not body and _expects_body(exchange):
            notes.append("no body was given: its guards were not asked (`Content-Length: 0` asks about an empty one)")
            self._leave(route.body_steps)
            return body, frozenset()
        for number, step in enumerate(route.body_steps):
            heard = _RefusalRecorder()
            result = await settled(inspect(exchange, body, (step,), heard))
            if isinstance(result, Refuse):
                self._word(step.guard.name, result)
                self._leave(route.body_steps[number + 1 :])
                return None
            self._passed(step.guard.name, heard, changed=isinstance(result, Rewrite))
            if isinstance(result, Rewrite):
                body = result.body
                drop |= set(result.drop)
        if route.body_steps and self._compiled.schema.content_filter.moderation is not None:
            notes.append("moderation was not asked: it would send the text to its provider")
        if route.body_steps and self._compiled.schema.guardrails:
            notes.append("guardrails were not asked: they would send the text to their services")
        return body, frozenset(drop)

    def _with_key(self, exchange: Exchange, route: Route) -> bool:
        injection = route.injection
        if injection is None:
            return True
        detail = {"provider": injection.provider, "organization": exchange.organization, "as": injection.form}
        if self._has_key is None:
            self._said.notes.append("whether there is a key is known to a running sidecar only")
        elif injection.form == "header" and not self._has_key(exchange.organization, injection.provider):
            self._word("credential", Refuse(Code.CREDENTIAL_UNAVAILABLE, detail))
            return False
        self._passed("credential", detail=detail)
        return True

    # --- what came of it -----------------------------------------------------------------------

    def _sent(self, exchange: Exchange, route: Route, body: bytes, drop: frozenset[bytes]) -> None:
        """Write down what the backend would receive, in names only."""
        target = route.target
        put = self._key_name(route.injection)
        host = exchange.host if target.preserve_host else None
        upgrade = b"Connection: Upgrade\r\nUpgrade: websocket" if b"upgrade" in exchange.head.index else b""
        raw = request_head(
            exchange,
            host=host or target.authority,
            framing=len(body),
            put=[(put.encode(), b"")] if put else [],
            drop=drop | route.dropped,
            whole=route.filters is not None and route.filters.wanted(),
            identity=self._policy.identity,
            outward=route.outward,
            prefix=route.prefix,
            upgrade=upgrade,
        )
        received = [line.partition(b":")[0].decode("latin-1") for line in raw.split(b"\r\n")[1:] if line]
        kept = {name.lower() for name in received}
        given = [key.decode("latin-1") for key, _ in exchange.head.lines]
        self._said.body = body
        self._said.backend = {
            "address": f"unix:{target.path}" if target.path else f"{target.host}:{target.port}",
            "method": exchange.head.method,
            "path": exchange.head.path,
            "headers": received,
            "removed": [name for name in given if name not in kept],
            "key_in": put,
            "body_bytes": len(body),
            "changed": body != self._question.body,
        }

    def _key_name(self, injection: Injection | None) -> str:
        if injection is None:
            return ""
        providers = self._compiled.schema.providers
        return Catalogue.load({name: each.entry() for name, each in providers.items()}).get(injection.provider).header

    def _tell(self, exchange: Exchange) -> None:
        """Add what the guards found out about who asks."""
        client = exchange.client
        self._said.request = {
            **self._said.request,
            "client": client.address,
            "counted_as": client.subject,
            "organization": exchange.organization,
            "secure": exchange.secure,
        }
        if self._services.verify is None and b"authorization" in exchange.head.index:
            self._said.notes.append("bearer tokens are not verified here: none was believed")
        report = exchange.limits
        if report is not None:
            self._said.limits = [
                {
                    "name": ask.limit.name,
                    "per": str(ask.limit.per),
                    "limit": ask.limit.limit,
                    "remaining": left.remaining,
                }
                for ask, left in zip(report.asks, report.takes, strict=True)
            ]

    def _word(self, guard: str, decision: Answer | Refuse) -> None:
        """Write down what ends the request here."""
        detail = decision.detail if isinstance(decision, Refuse) else {}
        key = self._reasons.key(guard, detail)
        place = self._reasons.place(key)
        if isinstance(decision, Refuse):
            code = decision.code
            self._said.words.append(GuardReport(guard, "refuse", detail, code.status, code.name, key, place))
        else:
            self._said.words.append(GuardReport(guard, "answer", detail, decision.status, "", key, place))

    def _passed(
        self, guard: str, heard: _RefusalRecorder | None = None, detail: Detail = NOTHING, *, changed: bool = False
    ) -> None:
        """Write down a guard that lets the request pass, and what it recorded or would have done."""
        event = heard.events[0] if heard is not None and heard.events else None
        if event is not None:
            detail = {name: value for name, value in event.detail.items() if name != "guard"}
        if event is not None and event.outcome is Outcome.OBSERVED and "would_be" in detail:
            key = self._reasons.observing(guard)
            word = GuardReport(guard, "observe", detail, int(str(detail["would_be"])), str(detail["code"]), key)
        else:
            key = self._reasons.key(guard, detail)
            word = GuardReport(guard, "change" if changed else "pass", detail, 0, "", key)
        self._said.words.append(replace(word, place=self._reasons.place(key)))

    def _leave(self, steps: Sequence[Step | BodyStep]) -> None:
        self._said.unasked.extend(step.guard.name for step in steps)


def _expects_body(exchange: Exchange) -> bool:
    """Return whether a question without a body more likely left it out than meant an empty one."""
    return exchange.head.method in CARRYING and b"content-length" not in exchange.head.index
