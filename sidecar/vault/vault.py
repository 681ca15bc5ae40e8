"""The vault: keys for requests, and the operations on credentials, handles and the audit log.

`credentials`, `handles` and `audit` are for operators; `cached`, `credential` and `known_secrets`
for requests. The SQL libraries are imported by `Vault.open`, not by this module.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Final

from sidecar.clock import Clock
from sidecar.errors import StoreUnavailable
from sidecar.events import EventSink
from sidecar.vault.credential_cache import CredentialCache, OpenCredential, Place
from sidecar.vault.errors import Unavailable
from sidecar.vault.keys import MasterKeys
from sidecar.vault.models import Credential, Expiry, KnownSecrets, SealedCredential, is_organization
from sidecar.vault.providers import Catalogue
from sidecar.vault.sealing import Sealing

if TYPE_CHECKING:
    from sidecar.vault.audit import AuditLog
    from sidecar.vault.audit_recorder import AuditRecorder
    from sidecar.vault.audit_seal import Place as AuditPlace
    from sidecar.vault.audit_seal import Seal
    from sidecar.vault.audit_verify import Verdict
    from sidecar.vault.costs import Costs
    from sidecar.vault.credential_store import CredentialStore
    from sidecar.vault.credentials import Credentials
    from sidecar.vault.database import Database
    from sidecar.vault.database_watch import DatabaseWatch
    from sidecar.vault.handles import Handles

LOAD_TRIES: Final = 3
RETENTION_SECONDS: Final = 90 * 86400.0


class Vault:
    """An open vault. `journal` takes audit entries of other parts.

    `audit_retention` (seconds, None: for good) is set when a policy is reloaded. `on_change` is called when
    credentials or handles were changed, here or elsewhere, and what is known of them has been read anew.
    """

    credentials: Credentials
    handles: Handles
    audit: AuditLog
    journal: AuditRecorder
    costs: Costs
    audit_retention: float | None = RETENTION_SECONDS
    on_change: Callable[[], Awaitable[None]] | None = None

    def __init__(self, database: Database, keys: MasterKeys, catalogue: Catalogue, clock: Clock) -> None:
        self._database = database
        self._keys = keys
        self._clock = clock
        self._sealing = Sealing(keys, catalogue)
        self._opened = CredentialCache()
        self._rows: Sequence[SealedCredential] = ()
        self._rows_at = -1  # the generation at which they were read
        self._loads: dict[Place, asyncio.Task[Credential]] = {}
        self._store: CredentialStore
        self._watch: DatabaseWatch | None = None

    @classmethod
    async def open(
        cls,
        url: str,
        keys: MasterKeys,
        catalogue: Catalogue,
        *,
        clock: Clock,
        events: EventSink,
        watch: bool = True,
        poll: float | None = None,
    ) -> Vault:
        """Open the database, migrate it if it is behind, and follow its changes.

        `poll`: seconds between two looks, None as the database is best followed.

        A command that ends at once passes `watch=False`. Raises ConfigError or StoreUnavailable.
        """
        from sidecar.vault.audit import AuditLog
        from sidecar.vault.audit_recorder import AuditRecorder
        from sidecar.vault.costs import Costs
        from sidecar.vault.credential_store import CredentialStore
        from sidecar.vault.credentials import Credentials
        from sidecar.vault.database import Database
        from sidecar.vault.database_watch import DatabaseWatch
        from sidecar.vault.handles import Handles

        vault = cls(await Database.open(url), keys, catalogue, clock)
        vault.audit = AuditLog(vault._database, keys.subkeys("audit"))
        vault.journal = AuditRecorder(vault.audit, events, clock)
        vault.costs = Costs(vault._database)
        vault._store = CredentialStore(vault._database, vault.audit)
        vault.credentials = Credentials(vault._store, vault._sealing, vault._opened, vault.journal, clock)
        vault.handles = Handles(vault._database, keys.subkeys("handle"), vault._sealing, vault.journal, clock)
        try:
            await vault.refresh(preload=False)
            await vault.handles.refresh()
        except BaseException:
            await vault.close()
            raise
        if watch:
            await vault.audit.begin(clock.now())
            vault._watch = DatabaseWatch(vault, vault._database, vault.audit, keys, clock, events, poll=poll)
            vault._watch.start()
        return vault

    async def close(self) -> None:
        """Stop watching, let the database go, forget the keys."""
        if self._watch is not None:
            await self._watch.stop()
        await asyncio.gather(*self._loads.values(), return_exceptions=True)
        await self._database.close()
        self._opened.forget_all()
        self._keys.close()

    @property
    def catalogue(self) -> Catalogue:
        """The providers that are known: the built-in ones and those of the policy."""
        return self._sealing.catalogue

    def use_catalogue(self, catalogue: Catalogue) -> None:
        """Take the providers of a reloaded policy: what is open is written anew, its header may differ."""
        self._sealing.catalogue = catalogue
        self._opened.rewrite(self._sealing.rewritten)
        self._offer_kept()
        if self._watch is not None:
            self._watch.look_again()

    def cached(self, organization: str, provider: str, now: float, name: str = "") -> Credential | None:
        """Return the credential if it is open already: no I/O, no derivation. `now`: epoch seconds."""
        return self._opened.cached((organization, provider, name), now)

    async def credential(self, organization: str, provider: str, now: float, name: str = "") -> Credential:
        """Return the credential to use, or raise Unavailable or StoreUnavailable.

        The one of that name; without a name, the newest that has not expired. If that one does not
        open, no older one takes its place. Requests for the same key share one look at the database
        and one derivation.
        """
        place = (organization, provider, name)
        cached = self._opened.cached(place, now)
        if cached is not None:
            return cached
        cause = self._opened.absent(place, now) if is_organization(organization) else "missing"
        if cause:
            raise Unavailable(cause)
        task = self._loads.get(place)
        if task is None:
            task = asyncio.create_task(self._load(place))
            self._loads[place] = task
            task.add_done_callback(lambda done: self._loaded(place, done))
        # Shielded: a client that leaves must not take the key away from the others who wait for it.
        return await asyncio.shield(task)

    def known_secrets(self) -> KnownSecrets:
        """Return the plain keys in this process and a counter that grows when they change."""
        return self._opened.known()

    def on_opened(self, call: Callable[[], object]) -> None:
        """Call back whenever a key was opened, before it is used."""
        self._opened.on_opened = call

    def expiries(self) -> tuple[Expiry, ...]:
        """Return one fact per credential, for the metric; as of the last look at the database."""
        now = self._clock.now()
        return tuple(
            Expiry(
                row.organization, row.provider, row.name, row.expires_at, self._sealing.state(row, self._opened, now)
            )
            for row in self._rows
        )

    async def refresh(self, *, preload: bool = True) -> None:
        """Read all rows and forget what changed; with `preload` open the rest: redaction must know every key."""
        generation = -1
        while generation != self._opened.generation:  # what was read while something changed here is old
            generation, at = self._opened.generation, self._clock.now()
            await self._sealing.history.catch_up(self.audit)
            rows = await self._store.every()
        self._rows = rows
        self._opened.forget_but({row.row for row in rows}, self._firsts())
        self._rows_at = self._opened.generation
        self._opened.confirm(at)
        self._offer_kept()
        if preload:
            await self.preload()

    async def preload(self) -> None:
        """Open what is not open yet, one at a time: 70 ms each at 600 000 iterations, in a nice thread."""
        rows, generation, firsts = self._rows, self._opened.generation, self._firsts()
        for row in rows[: self._opened.max_entries]:
            if self._opened.kept(row.row) is None:
                entry = await self._sealing.open(row)
                if generation != self._opened.generation:
                    return  # something changed: the database watch calls again
                self._offer(row, self._opened.keep(entry), firsts)

    def _offer_kept(self) -> None:
        firsts = self._firsts()
        for row in self._rows:
            entry = self._opened.kept(row.row)
            if entry is not None:
                self._offer(row, entry, firsts)

    def _offer(self, row: SealedCredential, entry: OpenCredential, firsts: dict[Place, str]) -> None:
        for name in ("", row.name):
            place = (row.organization, row.provider, name)
            if firsts.get(place) == row.id and entry.credential is not None:
                self._opened.choose(place, entry)

    def _firsts(self) -> dict[Place, str]:
        """Return which row serves each place: rows come newest first, the first living one is it."""
        now = self._clock.now()
        firsts: dict[Place, str] = {}
        for row in self._rows:
            if row.expires_at is None or now < row.expires_at:
                firsts.setdefault((row.organization, row.provider, ""), row.id)
                firsts.setdefault((row.organization, row.provider, row.name), row.id)
        return firsts

    async def verify_audit(
        self, *, anchors: Iterable[Seal | AuditPlace] = (), retired: Collection[str] = ()
    ) -> Verdict:
        """Check the audit log; see audit_verify.py."""
        from sidecar.vault.audit_verify import verify

        return await verify(self.audit, anchors=anchors, retired=retired)

    @staticmethod
    def anchors(texts: Iterable[str]) -> list[Seal | AuditPlace]:
        """Return ends of the audit log from what a verification or the log said. Raises ConfigError."""
        from sidecar.vault.audit_seal import anchor

        return [anchor(text) for text in texts]

    def credential_ids(self) -> set[str]:
        """Return the ids of all credentials, as of the last look at the database."""
        return {row.id for row in self._rows}

    async def tell_changed(self) -> None:
        """Call `on_change`."""
        if self.on_change is not None:
            await self.on_change()

    def confirm(self, at: float) -> None:
        """The database was reached at this time and nothing has changed."""
        self._opened.confirm(at)
        self.handles.confirm(at)

    async def _load(self, place: Place) -> Credential:
        organization, provider, name = place
        for _ in range(LOAD_TRIES):
            generation, now = self._opened.generation, self._clock.now()
            rows = [row for row in await self._read(organization, provider) if name in ("", row.name)]
            row = next((row for row in rows if row.expires_at is None or now < row.expires_at), None)
            if row is None:
                raise self._missing(place, "expired" if rows else "missing", now)
            entry = self._opened.kept(row.row) or await self._sealing.open(row)
            if generation == self._opened.generation:
                break
        else:
            raise Unavailable("changing")
        entry = self._opened.keep(entry)
        credential = entry.credential
        if credential is None:
            raise self._missing(place, entry.cause, now)
        if credential.expires_at is not None and now >= credential.expires_at:
            raise self._missing(place, "expired", now)
        self._opened.choose(place, entry)
        if self._watch is None:
            self._opened.confirm(now)
        return credential

    async def _read(self, organization: str, provider: str) -> Sequence[SealedCredential]:
        """Return an organization's rows of one provider; without the database as they were last read."""
        try:
            await self._sealing.history.catch_up(self.audit)
            return await self._store.of(organization, provider)
        except StoreUnavailable:
            if self._rows_at != self._opened.generation or not self._opened.fresh(self._clock.now()):
                raise
            return [row for row in self._rows if (row.organization, row.provider) == (organization, provider)]

    def _loaded(self, place: Place, done: asyncio.Task[Credential]) -> None:
        del self._loads[place]
        if not done.cancelled():
            done.exception()  # all callers may have left; then the exception is read nowhere else

    def _missing(self, place: Place, cause: str, now: float) -> Unavailable:
        self._opened.miss(place, cause, now)
        return Unavailable(cause)
