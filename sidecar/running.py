"""A sidecar that runs: its listeners, the live policy, and what follows changes."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from sidecar.admin.auth import Authority
from sidecar.admin.backend_probe import BackendProbe
from sidecar.admin.policy_verifier import PolicyVerifier
from sidecar.admin.ports import Ports
from sidecar.admin.server import ManagementServer
from sidecar.admin.why import MOST_EVENTS
from sidecar.anomalies.watch import UsageWatch
from sidecar.clock import Clock
from sidecar.decision import Detail
from sidecar.errors import StoreUnavailable
from sidecar.exchange import Exchange
from sidecar.explain.candidate import Candidates
from sidecar.explain.explainer import Explainer
from sidecar.explain.provenance import Provenance
from sidecar.guards.clients.networks import parse_address
from sidecar.live_views import PolicyView, StoredKeys
from sidecar.policy.compile import Compiled, compile_policy
from sidecar.policy.document.read import PolicyDocument
from sidecar.policy.live import LivePolicy
from sidecar.policy.schema.listeners import ServerTls
from sidecar.policy.schema.policy_schema import PolicySchema
from sidecar.policy.watch import PolicyWatch
from sidecar.policy_needs import catalogue_of, log_keys, log_path, needs_keys, needs_tokens, unusual, webhook_target
from sidecar.proxy.codec.parser import require_compiled_parser
from sidecar.proxy.credential_injection import VaultKeys
from sidecar.proxy.descriptors import DescriptorReserve
from sidecar.proxy.exchange_context import ProxyServices
from sidecar.proxy.handler import Handler
from sidecar.proxy.in_flight import ActivityCounts
from sidecar.proxy.listener import Listener
from sidecar.proxy.request_ids import request_ids
from sidecar.proxy.revocations import Revocations
from sidecar.proxy.tls import Certificate
from sidecar.proxy.upstream import Pools
from sidecar.redaction.known_secrets import InThread, KnownSecretsSource
from sidecar.revoked import Cause, Revoked, SubjectKind
from sidecar.secret import Secret
from sidecar.services import Services
from sidecar.settings import Settings
from sidecar.stores.budget_ledger import BudgetLedger
from sidecar.stores.factory import Stores
from sidecar.telemetry.cost_ledger import CostLedger
from sidecar.telemetry.fanout import Fanout
from sidecar.telemetry.gauges import Gauges, WebhookState
from sidecar.telemetry.history import TrafficHistory
from sidecar.telemetry.log import Log
from sidecar.telemetry.metrics import Metrics
from sidecar.telemetry.recent_events import RecentEvents
from sidecar.telemetry.webhook import Webhook
from sidecar.trace_context import Traces
from sidecar.vault.errors import VaultError
from sidecar.vault.models import SIDECAR, Actor

if TYPE_CHECKING:
    from sidecar.vault.vault import Vault

_log = logging.getLogger(__name__)
COUNT_SECONDS: Final = 5.0
TOKENS_OF_CLIENTS: Final = "a policy that names organizations by tokens"
DRAINING: Final = "draining"
"""Why a process that is about to end is not ready."""
KEYS_IN_REQUESTS: Final = "a policy that puts keys into requests"


class Source(Protocol):
    """Where the policy comes from."""

    @property
    def policy(self) -> Path | str:
        """The file to watch, or the name of where the text came from."""
        ...

    def draft(self) -> PolicyDocument:
        """Read the policy anew; the document lists its problems instead of raising them."""
        ...

    def read(self, text: str) -> PolicyDocument:
        """Read another policy with the same environment, as `draft` does."""
        ...


@dataclass(frozen=True, slots=True)
class Foundation:
    """What is open before a policy is compiled. `vault` None: there is no master secret."""

    settings: Settings
    clock: Clock
    events: Fanout
    metrics: Metrics
    recent: RecentEvents
    history: TrafficHistory
    log: Log
    webhook: Webhook
    stores: Stores
    vault: Vault | None
    traces: Traces


class Running:
    """The listeners of one process over the policy in force. Made by `Sidecar.start`.

    `ending` ends everything, also what was opened before; `stop` calls it.
    """

    def __init__(self, foundation: Foundation, source: Source, schema: PolicySchema) -> None:
        """Compile the policy, or raise PolicyError; nothing listens yet."""
        self._foundation = foundation
        self._source = source
        self.ending = AsyncExitStack()
        self.vault = foundation.vault
        self.stores = foundation.stores
        self.events = foundation.events
        self._clock = foundation.clock
        self._log = foundation.log
        self._metrics = foundation.metrics
        self._reasons: list[str] = ["starting"]
        self._tasks: list[asyncio.Task[Any]] = []
        self._pools = Pools(asyncio.get_running_loop())
        self._activity = ActivityCounts()
        self._descriptors = DescriptorReserve(self.events, self._clock)
        self._sessions: int | None = None
        self._places: dict[str, str] = {}  # key → file:line, of the policy in `_places_of`; as many as it has keys
        self._places_of: PolicyDocument | None = None
        self._hung_up = asyncio.Event()
        secret = foundation.settings.jwt_secret
        self._public_tokens = PolicyVerifier(self._clock, secret, schema.api_auth)
        self._admin_tokens = PolicyVerifier(self._clock, secret, schema.admin)
        self._reader = InThread()
        self.ending.push_async_callback(self._reader.close)
        self._services = self._build_services()
        self.live: LivePolicy[Compiled] = LivePolicy(self._compile(), self.events, self._clock)
        self.live.current.adopt(self._services)
        self._policy = PolicyView(self.live)
        self._keys = StoredKeys(self.vault)
        self._declare_routes()
        require_compiled_parser()
        new_id = request_ids(os.urandom)
        shared = ProxyServices(
            upstream=self._pools.pool,
            events=self.events,
            clock=self._clock,
            limits=self._metrics.decided,
            keys=VaultKeys(self.vault),
            activity=self._activity,
            descriptors=self._descriptors,
            traces=foundation.traces,
            place=self._place,
        )
        listen = schema.listen
        self.public = Listener(
            shared,
            lambda: self.live.current.public,
            new_id,
            self._certificate(listen.public.tls),
            trusts=self._trusts if listen.public.proxy_protocol else None,
        )
        self.egress: Listener | None = None
        if listen.egress is not None:
            self.egress = Listener(shared, lambda: self.live.current.egress, new_id)
        self._backend = BackendProbe(
            lambda: (self.live.current.schema.ready, self.live.current.backend), self._clock, self.events
        )
        address = listen.management.address
        self._verifying = asyncio.Lock()
        self._costs = CostLedger(self._clock, foundation.events, self.vault.costs if self.vault is not None else None)
        self._usage = UsageWatch(self._clock, foundation.events, self.stores.usage)
        self.revocations = Revocations(self._clock, self._exchanges, self._is_spared)
        self.stores.revoked = self._revoked
        if self.vault is not None:
            self.vault.on_change = self._vault_changed
        self.management = ManagementServer(self._ports(new_id), address.host, address.port, address.path)

    async def open(self, schema: PolicySchema) -> None:
        """Listen, and follow what may change. Raises SidecarError when an address cannot be had."""
        listen = schema.listen
        address = listen.public.address
        await self.public.open(address.host, address.port, address.path)
        if self.egress is not None and listen.egress is not None:
            address = listen.egress.address
            await self.egress.open(address.host, address.port, address.path)
        await self.management.start()
        self._metrics.watch(self._gauges())
        self._usage.use(unusual(schema))
        self._costs.start()
        self._follow()
        self._reasons.clear()

    def _trusts(self, peer: str) -> bool:
        return self.live.current.address.trusts(peer)  # of the policy of this moment

    def _exchanges(self) -> list[Handler]:
        """Return what runs on both listeners now."""
        return self.public.running() + (self.egress.running() if self.egress is not None else [])

    def _revoked(self, revoked: Revoked) -> None:
        """End what depends on a subject; forget the usage of an organization that was erased."""
        self.revocations.end(revoked)
        if revoked.kind is SubjectKind.ORGANIZATION:
            self._usage.forget(revoked.name)
            self._costs.drop(revoked.name)

    def _is_spared(self, exchange: Exchange) -> bool:
        """Return whether no ban ends a client's requests: what the guard of bans lets pass."""
        client = exchange.client
        if self.live.current.schema.clients.ban is None:
            return True
        return client.exempt or (not client.trusted and self._services.proxies.is_probable(exchange.peer))

    async def _vault_changed(self) -> None:
        """End what depends on handles that are revoked and on credentials that are deleted by now."""
        vault, stands_on = self.vault, self.revocations.stands_on()
        if vault is None:
            return
        for credential in stands_on.credentials - vault.credential_ids():
            self.revocations.end(Revoked(SubjectKind.CREDENTIAL, credential, Cause.DELETED))
        for organization, session in stands_on.sessions:
            if vault.handles.is_session_revoked(organization, session, self._clock.now()):
                self.revocations.end(Revoked(SubjectKind.SESSION, session, Cause.REVOKED, organization))
        if stands_on.handles:
            for handle in await vault.handles.which_revoked(stands_on.handles):
                self.revocations.end(Revoked(SubjectKind.HANDLE, handle, Cause.REVOKED))

    def _build_services(self) -> Services:
        vault, stores = self.vault, self.stores
        return Services(
            rates=stores.rates,
            budgets=BudgetLedger(stores.budgets, self._clock),
            waits=self._foundation.settings.redis_url is not None,
            bans=stores.bans,
            sessions=stores.sessions,
            events=self.events,
            clock=self._clock,
            open_requests={},
            started=0.0 if self._foundation.settings.redis_url is not None else self._clock.now(),
            secrets=vault.known_secrets if vault is not None else None,
            matchers=self._matchers(),
            key_of=self._key_supplier,
            verify=self._public_tokens.claims,
            handles=vault.handles if vault is not None else None,
            tokens=self._metrics.tokens,
            cost=self._metrics.cost,
            ended=self._session_ended,
        )

    def _matchers(self) -> KnownSecretsSource | None:
        """Return what finds the vault's keys in answers; it reads in each key as soon as that is open."""
        if self.vault is None:
            return None
        found = KnownSecretsSource(self.vault.known_secrets, self._reader)
        self.vault.on_opened(found.matcher)
        return found

    def _compile(self) -> Compiled:
        compiled = compile_policy(self._source.draft(), self._services)
        if self.vault is None and needs_keys(compiled.schema):
            self._foundation.settings.master_secret(KEYS_IN_REQUESTS)  # a reload cannot open the vault it needs
        if needs_tokens(compiled.schema):
            self._foundation.settings.token_secret(TOKENS_OF_CLIENTS)
        webhook_target(compiled.schema.events, self._foundation.settings)  # ConfigError: it cannot be used
        return compiled

    def _declare_routes(self) -> None:
        compiled = self.live.current
        self._metrics.declare(
            route.name for policy in (compiled.public, compiled.egress) for route in policy.routes.rows()
        )

    def _certificate(self, tls: ServerTls | None) -> Any:
        if tls is None:
            return None
        certificate = Certificate(Path(tls.certificate), Path(tls.key), tls.min_version)
        self._tasks.append(asyncio.create_task(certificate.follow()))
        return certificate.context

    def _ports(self, new_id: Callable[[], str]) -> Ports:
        vault = self.vault
        return Ports(
            clock=self._clock,
            events=self.events,
            metrics=self._metrics,
            recent=self._foundation.recent,
            history=self._foundation.history,
            authority=Authority(self._admin_tokens, self._clock),
            policy=self._policy,
            rates=self.stores.rates,
            budgets=self.stores.budgets,
            bans=self.stores.bans,
            sessions=self.stores.sessions,
            credentials=vault.credentials if vault is not None else None,
            handles=vault.handles if vault is not None else None,
            audit=vault.audit if vault is not None else None,
            journal=vault.journal if vault is not None else None,
            suggestions=self._suggestions,
            explain=Explainer(lambda: self.live.current.document, self._services, self._keys.has),
            candidates=Candidates(self._source.read, lambda: self.live.current.document, self._foundation.history.kept),
            not_ready=lambda: tuple(self._reasons),
            backend_ready=self._backend.reason,
            subject_of=self._subject_of,
            stores=self.stores.states,
            new_id=new_id,
            undeclared_proxies=self._services.proxies.peers,
            dropped_headers=self._services.dropped_headers.most_common,
            why=self._why,
            maintenance=self._services.maintenance,
            drain=self.begin_drain,
            revoke=self.stores.revoke,
            end_sessions=self._end_sessions,
            verify_audit=self._verify_audit if vault is not None else None,
            providers=self._keys.providers,
            costs=self._costs,
            usage=self.stores.usage,
        )

    def _follow(self) -> None:
        """Follow the policy file, SIGHUP, and the number of sessions."""
        if isinstance(self._source.policy, Path):
            watch = PolicyWatch(self._source.policy, self._reload_now, seen=self.live.current.document.text_digest)
            self._tasks.append(asyncio.create_task(watch.run()))
        self._tasks.append(asyncio.create_task(self._reload_on_hang_up()))
        self._tasks.append(asyncio.create_task(self._count_sessions()))
        self._tasks.append(asyncio.create_task(self._foundation.history.run(), name="history"))

    # --- while it runs -------------------------------------------------------------------------

    async def _reload_on_hang_up(self) -> None:
        """Reload once for any number of SIGHUPs that arrive while a reload runs."""
        while True:
            await self._hung_up.wait()
            self._hung_up.clear()
            await self._reload_now()

    async def _reload_now(self) -> None:
        try:
            await self.reload()
        except Exception:  # noqa: BLE001  the watch must go on
            _log.exception("the policy was not taken over completely")

    async def reload(self) -> None:
        """Take over a changed policy, or keep the one in force; what happened is an event either way."""
        before = self.live.current
        if await self.live.reload_in_thread(self._compile) is not None:
            return
        compiled = self.live.current
        compiled.adopt(self._services)
        self._declare_routes()
        if self.vault is not None:
            self.vault.audit_retention = compiled.schema.events.audit_retention
            if compiled.schema.providers != before.schema.providers:
                self.vault.use_catalogue(catalogue_of(compiled.schema))
        self._pools.keep(compiled.targets())
        await self._take_over(before.schema, compiled.schema)

    async def _take_over(self, before: PolicySchema, schema: PolicySchema) -> None:
        """Tell the parts that outlive a policy what has changed for them."""
        self._public_tokens.use(schema.api_auth)
        self._admin_tokens.use(schema.admin)
        self.stores.sessions.bound(schema.sessions.per_client)
        self._usage.use(unusual(schema))
        self._foundation.webhook.use(webhook_target(schema.events, self._foundation.settings))
        if schema.stores != before.stores:
            self.stores.use_timeout(schema.stores.redis.timeout)
        written = schema.events
        if log_keys(written) != log_keys(before.events):
            leave = self._log.redirect(written.log, log_path(written.file), access=written.access, form=written.form)
            await asyncio.to_thread(leave)

    def _key_supplier(self, provider: str) -> Callable[[str], Awaitable[Secret | None]]:
        async def supply(organization: str) -> Secret | None:
            if self.vault is None:
                return None
            try:
                found = await self.vault.credential(organization, provider, self._clock.now())
            except (VaultError, StoreUnavailable):
                return None  # the guard that asks says what becomes of a message then
            # The client wants the key alone; it writes the header itself.
            return Secret(found.value.reveal().removeprefix("Bearer "))

        return supply

    async def _session_ended(self, organization: str, session: str) -> bool:
        """End what runs for a session that its owner ended, and refuse every handle that was made for it.

        Return False when the vault cannot be reached.
        """
        return await self._end_sessions(SIDECAR, organization, [session], Cause.ENDED)

    async def _end_sessions(
        self, actor: Actor, organization: str, sessions: Sequence[str], cause: Cause = Cause.REVOKED
    ) -> bool:
        """End what runs for sessions that were ended, and refuse every handle that was made for them.

        `organization`: empty when it is not known; then handles are not refused. Return False when they were not.
        """
        for session in sessions:
            self.stores.revoke(Revoked(SubjectKind.SESSION, session, cause, organization))
        routes = self.live.current.schema.routes
        if not sessions:
            return True
        if self.vault is None or not any(route.credential and route.credential.form == "handle" for route in routes):
            return True
        if not organization:
            return False
        try:
            await self.vault.handles.revoke_sessions(actor, organization, sessions)
        except (VaultError, StoreUnavailable):
            return False
        return True

    async def _verify_audit(self, anchors: Sequence[str]) -> Mapping[str, Any] | None:
        """Return what is proven of the audit log; None while another verification runs: each reads all of it."""
        if self.vault is None or self._verifying.locked():
            return None
        async with self._verifying:
            return (await self.vault.verify_audit(anchors=self.vault.anchors(anchors))).as_json()

    def _why(self, request_id: str, organization: str | None) -> Mapping[str, Any] | None:
        """Return why a request was refused, from what is kept of it; None when nothing of it is a refusal."""
        from sidecar.explain.why import reason  # not for a sidecar that is never asked

        found = reason(self._foundation.recent.latest(limit=MOST_EVENTS, organization=organization), request_id)
        history = self._foundation.history
        if found is None and history.about(request_id, organization):
            # A flood displaces recent events of its own kind; this history is longer.
            found = reason(history.refusals(organization), request_id)
        return None if found is None else {**found.plain(), "lines": found.lines()}

    def _place(self, route: str, guard: str, detail: Detail) -> str:
        """Return `file:line` of the key that made a guard refuse, "" if the policy in force does not say."""
        document = self.live.current.document
        if self._places_of is not document:
            self._places_of, self._places = document, {}
        key = Provenance(document, route).key(guard, detail)
        if key not in self._places:
            self._places[key] = document.origin(key) if key else ""
        return self._places[key]

    def _subject_of(self, text: str) -> str:
        address = parse_address(text)
        if address is None:
            return text
        return self.live.current.address.client(address, trusted=False).subject

    async def _count_sessions(self) -> None:
        """Keep the number for the gauge: a scrape must not wait for a store across the network."""
        while True:
            try:
                self._sessions = await self.stores.sessions.count(self._clock.now())
            except StoreUnavailable:
                self._sessions = None
            await asyncio.sleep(COUNT_SECONDS)

    def _suggestions(self) -> Mapping[str, Any] | None:
        """Return what was observed as routes; None where the policy does not ask for it."""
        schema, services = self.live.current.schema, self._services
        if schema.mode != "observe" or not schema.suggestions:
            return None
        # Not for a policy that enforces.
        from sidecar.policy.kinds.recognition import recognise
        from sidecar.suggest.routes import suggestions
        from sidecar.suggest.yaml_text import document

        table = services.observations
        return document(
            table,
            backend=schema.backend.url,
            kind=recognise(suggestions(table)),
            violations=services.csp.pairs(),
            proxies=services.proxies.peers(),
        )

    def _gauges(self) -> Gauges:
        webhook = self._foundation.webhook
        return Gauges(
            active_requests=lambda: self._activity.requests,
            active_streams=self._activity.streams,
            sessions=lambda: self._sessions,
            bans=self.stores.bans.count,
            stores=self.stores.states,
            policy=self._policy.reload_state,
            credentials=self._keys.states,
            log_dropped=self._log.dropped,
            csp_reports=lambda: self._services.csp.reports,
            csp_violations=lambda: self._services.csp.directives,
            undeclared_proxies=lambda: self._services.proxies.requests,
            descriptors_short=lambda: self._descriptors.short,
            webhook=lambda: WebhookState(webhook.delivered, webhook.lost, webhook.waiting),
            budgets=self._services.budgets.ratios,
        )

    # --- ending --------------------------------------------------------------------------------

    def hang_up(self) -> None:
        """Do what SIGHUP asks for: open the log anew, read the policy again."""
        self._log.reopen()
        self._hung_up.set()

    def begin_drain(self) -> None:
        """Report not ready, and close kept connections after their response; requests are still served."""
        if DRAINING in self._reasons:
            return
        self._reasons.append(DRAINING)
        for listener in (self.public, self.egress):
            if listener is not None:
                listener.announce_end()

    async def drain(self) -> None:
        """Report not ready; take connections until load balancers have noticed; then let running requests end."""
        listen = self.live.current.schema.listen
        self.begin_drain()
        listeners = [self.public, *([self.egress] if self.egress is not None else [])]
        await asyncio.sleep(listen.drain_delay)
        await asyncio.gather(*(listener.drain(listen.drain) for listener in listeners))

    async def stop(self) -> None:
        """End everything that was started, in the reverse order."""
        await self.ending.aclose()

    async def close(self) -> None:
        """End what this object made: tasks, listeners, connections to the backend."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.revocations.close()
        await self._usage.close()
        await self._costs.close()
        self._public_tokens.close()
        self._admin_tokens.close()
        for listener in (self.public, self.egress):
            if listener is not None:
                await listener.close()
        await self.management.stop()
        await self._backend.close()
        self._pools.close()
