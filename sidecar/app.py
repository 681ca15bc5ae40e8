"""The composition root: opens what a process needs, in order, and ends it in the reverse order."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sidecar import __version__
from sidecar.clock import Clock, SystemClock
from sidecar.events import EventSink
from sidecar.policy.compile import compile_policy
from sidecar.policy.document.read import PolicyDocument, draft_policy
from sidecar.policy.dry_run import isolated_services
from sidecar.policy.schema.policy_schema import PolicySchema
from sidecar.policy_needs import catalogue_of, log_path, needs_keys, needs_tokens, webhook_target
from sidecar.process_memory import give_back_memory
from sidecar.running import KEYS_IN_REQUESTS, TOKENS_OF_CLIENTS, Foundation, Running
from sidecar.settings import Settings
from sidecar.stores.factory import open_stores
from sidecar.telemetry.fanout import Fanout
from sidecar.telemetry.history import TrafficHistory
from sidecar.telemetry.log import Log
from sidecar.telemetry.metrics import Metrics
from sidecar.telemetry.recent_events import RecentEvents
from sidecar.telemetry.tracing import open_tracing
from sidecar.telemetry.webhook import Webhook
from sidecar.trace_context import NewIds, PassedTraces

if TYPE_CHECKING:
    from sidecar.vault.keys import MasterKeys
    from sidecar.vault.vault import Vault

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PolicySource:
    """Where the policy comes from: a file or its text, and the environment that overrides it."""

    policy: Path | str
    environ: Mapping[str, str]
    name: str = ""

    def draft(self) -> PolicyDocument:
        """Read the policy as it is now."""
        return draft_policy(self.policy, self.environ, name=self.name)

    def read(self, text: str) -> PolicyDocument:
        """Read another policy with the same environment."""
        return draft_policy(text, self.environ, name="candidate")


class Sidecar:
    """One process: three listeners, one policy. `start()` returns what runs; `run()` serves until a signal.

    prepare        called once the vault is open and before the first request can ask for a key
    store_timeout  seconds that Redis may take to answer before memory takes over; None: as the policy says
    """

    def __init__(
        self,
        settings: Settings,
        policy: Path | str,
        environ: Mapping[str, str],
        *,
        name: str = "",
        prepare: Callable[[Vault | None], Awaitable[None]] | None = None,
        store_timeout: float | None = None,
    ) -> None:
        self._settings = settings
        self._source = PolicySource(policy, environ, name)
        self._prepare = prepare
        self._store_timeout = store_timeout

    async def start(self) -> Running:
        """Build everything and listen.

        Raises ConfigError, PolicyError or SidecarError with one clear line each; what had been started is ended.
        """
        settings, clock = self._settings, SystemClock()
        async with AsyncExitStack() as ending:
            masters = self._derive_masters(clock, ending)
            document = self._source.draft()
            if document.problems:
                compile_policy(document, isolated_services())  # refuses with these and with what only building finds
            schema, metrics, recent = document.schema, Metrics(__version__), RecentEvents()
            written = schema.events
            log = Log.to(written.log, log_path(written.file), clock, access=written.access, form=written.form)
            ending.push_async_callback(asyncio.to_thread, log.close)
            webhook = Webhook(webhook_target(written, settings), clock)
            webhook.start()
            ending.push_async_callback(webhook.close)
            ids = NewIds(os.urandom)
            tracing = open_tracing(self._source.environ, ids)
            if tracing is not None:
                ending.push_async_callback(asyncio.to_thread, tracing.close)
            history = TrafficHistory(clock)
            spans = [tracing] if tracing is not None else []
            sinks: list[EventSink] = [metrics, recent, history, log, webhook, *spans]
            events = Fanout(sinks, metrics.sink_failed)
            events.follow(history.take)
            stores = open_stores(
                settings.redis_url,
                clock=clock,
                events=events,
                per_client=schema.sessions.per_client,
                timeout=self._store_timeout or schema.stores.redis.timeout,
            )
            ending.push_async_callback(stores.close)
            await stores.start()
            if needs_tokens(schema):
                settings.token_secret(TOKENS_OF_CLIENTS)
            vault = await self._open_vault(schema, masters, events, clock)
            if off := settings.say_what_is_off(admin_keys=schema.admin.jwks is not None):
                _log.warning(off)
            if vault is not None:
                ending.push_async_callback(vault.close)
            if self._prepare is not None:
                await self._prepare(vault)
            running = Running(
                Foundation(
                    settings,
                    clock,
                    events,
                    metrics,
                    recent,
                    history,
                    log,
                    webhook,
                    stores,
                    vault,
                    tracing or PassedTraces(ids),
                ),
                self._source,
                schema,
            )
            ending.push_async_callback(running.close)
            await running.open(schema)
            running.ending = ending.pop_all()
            return running

    def _derive_masters(self, clock: Clock, ending: AsyncExitStack) -> asyncio.Task[MasterKeys] | None:
        """Start the slowest work first, in a thread of its own, when there is a master secret."""
        settings = self._settings
        if settings.encryption_key is None and settings.jwt_secret is None:
            return None
        from sidecar.vault.keys import MasterKeys  # imports the cryptography: not for a sidecar without a vault

        keys = MasterKeys.derive(
            clock,
            encryption_key=settings.encryption_key,
            previous=settings.encryption_key_previous,
            jwt_secret=settings.jwt_secret,
        )
        masters = asyncio.create_task(keys)
        ending.push_async_callback(cancelled, masters)
        return masters

    async def _open_vault(
        self, schema: PolicySchema, masters: asyncio.Task[MasterKeys] | None, events: Fanout, clock: Clock
    ) -> Vault | None:
        """Open the vault when there is a master secret; a policy that needs keys cannot do without."""
        settings = self._settings
        if masters is None:
            if needs_keys(schema):
                settings.master_secret(KEYS_IN_REQUESTS)
            return None
        if settings.encryption_key is None:
            _log.warning(
                "ENCRYPTION_KEY is not set: the vault's keys are derived from JWT_SECRET; give it one of its own"
            )
        from sidecar.vault.vault import Vault

        url = settings.database_url.reveal()
        vault = await Vault.open(url, await masters, catalogue_of(schema), clock=clock, events=events)
        vault.audit_retention = schema.events.audit_retention
        return vault

    async def run(self, started: Callable[[Running], None] | None = None) -> None:
        """Start, serve until SIGTERM or SIGINT, drain, stop."""
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        running = await self.start()
        try:
            # What was made so far lives until the end: the collector need not look at it again.
            gc.collect()
            give_back_memory()
            gc.freeze()
            gc.set_threshold(20_000, 20, 50)
            loop.add_signal_handler(signal.SIGHUP, running.hang_up)
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, stopping.set)
            if started is not None:
                started(running)
            await stopping.wait()
            await running.drain()
        finally:
            await running.stop()


async def cancelled(task: asyncio.Task[MasterKeys]) -> None:
    """End a task that may still run, and take its result or error."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def serve(sidecar: Callable[[], Sidecar], started: Callable[[Running], None] | None = None) -> None:
    """Run one sidecar on uvloop, or on asyncio's own loop where uvloop is not installed."""

    async def main() -> None:
        await sidecar().run(started)

    try:
        import uvloop
    except ImportError:
        asyncio.run(main())
    else:
        uvloop.run(main())
