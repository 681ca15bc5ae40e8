"""The composition root: builds every part once, joins them, and ends them in order."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sidecar import __version__
from sidecar.admin.auth import Authority
from sidecar.admin.policy_verifier import PolicyVerifier
from sidecar.admin.ports import Ports as AdminPorts
from sidecar.admin.server import ManagementServer
from sidecar.clock import Clock, SystemClock
from sidecar.errors import StoreUnavailable
from sidecar.events import EventSink
from sidecar.explain.explainer import Explainer
from sidecar.guards.clients.networks import parse_address
from sidecar.limit import Limit
from sidecar.policy.compile import Compiled, compile_policy
from sidecar.policy.document.read import draft_policy
from sidecar.policy.dry_run import isolated_services
from sidecar.policy.live import LivePolicy
from sidecar.policy.schema.listeners import ServerTls
from sidecar.policy.schema.policy_schema import PolicySchema
from sidecar.policy.watch import PolicyWatch
from sidecar.proxy.credential_injection import VaultKeys
from sidecar.proxy.exchange_context import ProxyServices
from sidecar.proxy.in_flight import ActivityCounts
from sidecar.proxy.listener import Listener
from sidecar.proxy.request_ids import request_ids
from sidecar.proxy.tls import Certificate
from sidecar.proxy.upstream import Pools
from sidecar.secret import Secret
from sidecar.services import Services
from sidecar.settings import Settings
from sidecar.stores.factory import Stores, open_stores
from sidecar.telemetry.fanout import Fanout
from sidecar.telemetry.gauges import CredentialState, Gauges, PolicyState
from sidecar.telemetry.log import Log
from sidecar.telemetry.metrics import Metrics
from sidecar.telemetry.recent_events import RecentEvents
from sidecar.vault.errors import VaultError
from sidecar.vault.models import SIDECAR, State
from sidecar.vault.providers import Catalogue

if TYPE_CHECKING:
    from sidecar.vault.keys import MasterKeys
    from sidecar.vault.vault import Vault

_log = logging.getLogger(__name__)
COUNT_EVERY: Final = 5.0
KEYS_IN_REQUESTS: Final = "a policy that puts keys into requests"


class Sidecar:
    """One process: three listeners, one policy. `start()`, then `stop()`; `run()` does both around a signal."""

    def __init__(
        self,
        settings: Settings,
        policy: Path | str,
        environ: Mapping[str, str],
        *,
        name: str = "",
        prepare: Callable[[Vault | None], Awaitable[None]] | None = None,
        store_timeout: float = 0.2,
    ) -> None:
        self._settings = settings
        self._source = policy
        self._environ = environ
        self._name = name
        self._store_timeout = store_timeout  # seconds that Redis may take to answer before memory takes over
        self._prepare = prepare  # called once the vault is open and nobody can ask yet
        self._clock: Clock = SystemClock()
        self._reasons: list[str] = ["starting"]
        self._tasks: list[asyncio.Task[Any]] = []
        self._pools: Pools
        self._open_requests: dict[str, int] = {}
        self._activity = ActivityCounts()
        self._metrics = Metrics(__version__)
        self._recent = RecentEvents()
        self._reports = 0
        self._sessions: int | None = None
        self._hung_up = asyncio.Event()
        self.public: Listener
        self.egress: Listener | None = None
        self.management: ManagementServer
        self.vault: Vault | None = None

    # --- starting ------------------------------------------------------------------------------

    async def start(self) -> None:
        """Build everything and listen; raises ConfigError, PolicyError or SidecarError with one clear line each."""
        masters = self._derive_masters()
        document = draft_policy(self._source, self._environ, name=self._name)
        if document.problems:
            compile_policy(document, isolated_services())  # refuses with these and with what only building finds
        schema = document.schema
        self._pools = Pools(asyncio.get_running_loop())
        written = schema.events
        self._log = Log.to(written.log, _path(written.file), self._clock, access=written.access)
        self.events: EventSink = Fanout([self._metrics, self._recent, self._log], self._metrics.sink_failed)
        self.stores: Stores = open_stores(
            self._settings.redis_url,
            clock=self._clock,
            events=self.events,
            per_client=schema.sessions.per_client,
            timeout=self._store_timeout,
        )
        await self.stores.start()
        self.vault = await self._open_vault(schema, masters)
        if self._prepare is not None:
            await self._prepare(self.vault)
        self._public_tokens = PolicyVerifier(self._clock, self._settings.jwt_secret, schema.api_auth)
        self._services = Services(
            rates=self.stores.rates,
            waits=self._settings.redis_url is not None,
            bans=self.stores.bans,
            sessions=self.stores.sessions,
            events=self.events,
            clock=self._clock,
            open_requests=self._open_requests,
            secrets=self.vault.known_secrets if self.vault is not None else None,
            key_of=self._key_supplier,
            verify=self._public_tokens.claims,
            reports=self._report,
            handles=self.vault.handles if self.vault is not None else None,
            tokens=self._metrics.tokens,
            ended=self._session_ended,
        )
        self.live: LivePolicy[Compiled] = LivePolicy(self._compile(), self.events, self._clock)
        self.live.current.adopt(self._services)
        await self._listen(schema)
        self._follow()
        self._reasons.clear()

    def _compile(self) -> Compiled:
        compiled = compile_policy(draft_policy(self._source, self._environ, name=self._name), self._services)
        if self.vault is None and _needs_keys(compiled.schema):
            self._settings.master_secret(KEYS_IN_REQUESTS)  # a reload cannot open the vault that this one needs
        return compiled

    def _derive_masters(self) -> asyncio.Task[MasterKeys] | None:
        """Begin with what takes longest and needs a thread alone, when there is a master secret."""
        settings = self._settings
        if settings.encryption_key is None and settings.jwt_secret is None:
            return None
        from sidecar.vault.keys import MasterKeys  # with it the cryptography: not for a sidecar without a vault

        keys = MasterKeys.derive(
            self._clock,
            encryption_key=settings.encryption_key,
            previous=settings.encryption_key_previous,
            jwt_secret=settings.jwt_secret,
        )
        masters = asyncio.create_task(keys)
        self._tasks.append(masters)
        return masters

    async def _open_vault(self, schema: PolicySchema, masters: asyncio.Task[MasterKeys] | None) -> Vault | None:
        """Open the vault when there is a master secret; a policy that needs keys cannot do without."""
        settings = self._settings
        if masters is None:
            if _needs_keys(schema):
                settings.master_secret(KEYS_IN_REQUESTS)
            return None
        if settings.encryption_key is None:
            _log.warning(
                "ENCRYPTION_KEY is not set: the vault's keys are derived from JWT_SECRET; give it one of its own"
            )
        from sidecar.vault.vault import Vault

        url = settings.database_url.reveal()
        vault = await Vault.open(url, await masters, _catalogue(schema), clock=self._clock, events=self.events)
        vault.audit_retention = schema.events.audit_retention
        return vault

    async def _listen(self, schema: PolicySchema) -> None:
        new_id = request_ids(os.urandom)
        parts = ProxyServices(
            upstream=self._pools.pool,
            events=self.events,
            clock=self._clock,
            limits=self._metrics.decided,
            keys=VaultKeys(self.vault),
            activity=self._activity,
        )
        listen = schema.listen
        self.public = Listener(parts, lambda: self.live.current.public, new_id, self._certificate(listen.public.tls))
        await self.public.open(listen.public.address.host, listen.public.address.port)
        if listen.egress is not None:
            self.egress = Listener(parts, lambda: self.live.current.egress, new_id)
            await self.egress.open(listen.egress.address.host, listen.egress.address.port)
        admin = await self._admin_parts(schema, new_id)
        self.management = ManagementServer(admin, listen.management.address.host, listen.management.address.port)
        await self.management.start()
        self._metrics.watch(self._gauges())

    def _certificate(self, tls: ServerTls | None) -> Any:
        if tls is None:
            return None
        certificate = Certificate(Path(tls.certificate), Path(tls.key), tls.min_version)
        self._tasks.append(asyncio.create_task(certificate.follow()))
        return certificate.context

    async def _admin_parts(self, schema: PolicySchema, new_id: Callable[[], str]) -> AdminPorts:
        self._admin_tokens = PolicyVerifier(self._clock, self._settings.jwt_secret, schema.admin)
        vault = self.vault
        return AdminPorts(
            clock=self._clock,
            events=self.events,
            metrics=self._metrics,
            recent=self._recent,
            authority=Authority(self._admin_tokens, self._clock),
            policy=_PolicyView(self.live),
            rates=self.stores.rates,
            bans=self.stores.bans,
            sessions=self.stores.sessions,
            credentials=vault.credentials if vault is not None else None,
            handles=vault.handles if vault is not None else None,
            audit=vault.audit if vault is not None else None,
            journal=vault.journal if vault is not None else None,
            explain=Explainer(lambda: self.live.current.document, self._services, self._has_key),
            not_ready=lambda: tuple(self._reasons),
            subject_of=self._subject_of,
            stores=self.stores.states,
            new_id=new_id,
        )

    def _follow(self) -> None:
        """Watch what may change while running."""
        if isinstance(self._source, Path):
            watch = PolicyWatch(self._source, self._reload_now, seen=self.live.current.document.text_digest)
            self._tasks.append(asyncio.create_task(watch.run()))
        self._tasks.append(asyncio.create_task(self._reload_when_told()))
        self._tasks.append(asyncio.create_task(self._count_sessions()))

    # --- while it runs -------------------------------------------------------------------------

    async def _reload_when_told(self) -> None:
        """Reload once for any number of hang-ups that come meanwhile."""
        while True:
            await self._hung_up.wait()
            self._hung_up.clear()
            await self._reload_now()

    async def _reload_now(self) -> None:
        try:
            await self.reload()
        except Exception:  # noqa: BLE001  whoever watches must go on watching
            _log.exception("the policy was not taken over completely")

    async def reload(self) -> None:
        """Take over a changed policy, or keep the one in force; what happened is an event either way."""
        before = self.live.current
        if await self.live.reload_in_thread(self._compile) is not None:
            return
        compiled = self.live.current
        compiled.adopt(self._services)
        if self.vault is not None:
            self.vault.audit_retention = compiled.schema.events.audit_retention
            if compiled.schema.providers != before.schema.providers:
                self.vault.use_catalogue(_catalogue(compiled.schema))
        self._pools.keep(compiled.targets())
        await self._take_over(before.schema, compiled.schema)

    async def _take_over(self, before: PolicySchema, schema: PolicySchema) -> None:
        """Tell the parts that outlive a policy what has changed for them."""
        self._public_tokens.use(schema.api_auth, self._clock)
        self._admin_tokens.use(schema.admin, self._clock)
        self.stores.sessions.bound(schema.sessions.per_client)
        written = schema.events
        if (written.log, written.file, written.access) != (before.events.log, before.events.file, before.events.access):
            leave = self._log.redirect(written.log, _path(written.file), access=written.access)
            await asyncio.to_thread(leave)

    def _key_supplier(self, provider: str) -> Callable[[str], Awaitable[Secret | None]]:
        async def supply(organization: str) -> Secret | None:
            if self.vault is None:
                return None
            try:
                found = await self.vault.credential(organization, provider, self._clock.now())
            except VaultError:
                return None
            # The client wants the key alone; it writes the header itself.
            return Secret(found.value.reveal().removeprefix("Bearer "))

        return supply

    async def _session_ended(self, organization: str, session: str) -> bool:
        """Refuse from now on every handle that was made for a session; False when the vault cannot be reached."""
        routes = self.live.current.schema.routes
        if self.vault is None or not any(route.credential and route.credential.form == "handle" for route in routes):
            return True
        try:
            await self.vault.handles.revoke_session(SIDECAR, organization, session)
        except (VaultError, StoreUnavailable):
            return False
        return True

    def _has_key(self, organization: str, provider: str) -> bool:
        """Say whether there is a key to use, without reading it: a read is an audited event."""
        if self.vault is None:
            return False
        return any(
            each.state is State.ACTIVE and (each.organization, each.provider) == (organization, provider)
            for each in self.vault.expiries()
        )

    def _report(self) -> None:
        self._reports += 1

    def _subject_of(self, text: str) -> str:
        address = parse_address(text)
        if address is None:
            return text
        return self.live.current.address.client(address, trusted=False).subject

    async def _count_sessions(self) -> None:
        """Keep the gauge's number: a scrape must not wait for a store across the network."""
        while True:
            try:
                self._sessions = await self.stores.sessions.count(self._clock.now())
            except StoreUnavailable:
                self._sessions = None
            await asyncio.sleep(COUNT_EVERY)

    def _gauges(self) -> Gauges:
        return Gauges(
            active_requests=lambda: self._activity.requests,
            active_streams=self._activity.streams,
            sessions=lambda: self._sessions,
            bans=self.stores.bans.count,
            stores=self.stores.states,
            policy=self._policy_state,
            credentials=self._credentials,
            log_dropped=self._log.dropped,
            csp_reports=lambda: self._reports,
        )

    def _policy_state(self) -> PolicyState:
        return PolicyState(self.live.current.digest, self.live.last_reload_successful, self.live.last_reload_at)

    def _credentials(self) -> Sequence[CredentialState]:
        if self.vault is None:
            return ()
        return [
            CredentialState(
                each.organization, each.provider, each.name, each.expires_at, each.state is State.UNDECRYPTABLE
            )
            for each in self.vault.expiries()
        ]

    # --- ending --------------------------------------------------------------------------------

    async def run(self, started: Callable[[Sidecar], None] | None = None) -> None:
        """Start, serve until SIGTERM or SIGINT, drain, stop."""
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        try:
            await self.start()
            # What lives from now on until the end need not be looked at again; what requests make has few cycles.
            gc.collect()
            gc.freeze()
            gc.set_threshold(20_000, 20, 50)
            loop.add_signal_handler(signal.SIGHUP, self._hang_up)
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, stopping.set)
            if started is not None:
                started(self)
            await stopping.wait()
            await self.drain()
        finally:
            await self.stop()

    def _hang_up(self) -> None:
        self._log.reopen()
        self._hung_up.set()

    async def drain(self) -> None:
        """Not ready at once; new connections until balancers have noticed; then what runs gets its time."""
        listen = self.live.current.schema.listen
        self._reasons.append("draining")
        await asyncio.sleep(listen.drain_delay)
        listeners = [self.public, *([self.egress] if self.egress is not None else [])]
        await asyncio.gather(*(listener.drain(listen.drain) for listener in listeners))

    async def stop(self) -> None:
        """End everything that was started, in the reverse order; safe after a start that failed half-way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for name in ("_public_tokens", "_admin_tokens"):
            verifier = getattr(self, name, None)
            if verifier is not None:
                verifier.close()
        for name in ("public", "egress"):
            listener = getattr(self, name, None)
            if listener is not None:
                await listener.close()
        if hasattr(self, "management"):
            await self.management.stop()
        if hasattr(self, "_pools"):
            self._pools.close()
        if self.vault is not None:
            await self.vault.close()
        if hasattr(self, "stores"):
            await self.stores.close()
        if hasattr(self, "_log"):
            await asyncio.to_thread(self._log.close)


class _PolicyView:
    """The live policy, as the admin API shows it."""

    def __init__(self, live: LivePolicy[Compiled]) -> None:
        self._live = live

    def state(self) -> Mapping[str, Any]:
        live = self._live
        return {
            "digest": live.current.digest,
            "mode": live.current.schema.mode,
            "source": live.current.document.source,
            "loaded_at": live.last_reload_at,
            "successful": live.last_reload_successful,
            "problems": live.last_problems,
        }

    def document(self) -> Mapping[str, Any]:
        return self._live.current.schema.model_dump(mode="json", by_alias=True)

    def limits(self) -> Sequence[Limit]:
        return self._live.current.limits


def _path(text: str | None) -> Path | None:
    return Path(text) if text is not None else None


def _needs_keys(schema: PolicySchema) -> bool:
    return any(route.credential for route in schema.routes) or schema.listen.egress is not None


def _catalogue(schema: PolicySchema) -> Catalogue:
    return Catalogue.load({name: provider.entry() for name, provider in schema.providers.items()})


def serve(sidecar: Callable[[], Sidecar], started: Callable[[Sidecar], None] | None = None) -> None:
    """Run one sidecar on the fastest loop that there is."""

    async def main() -> None:
        await sidecar().run(started)

    try:
        import uvloop
    except ImportError:
        asyncio.run(main())
    else:
        uvloop.run(main())
