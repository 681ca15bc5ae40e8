"""Operations on credentials: create, update, rotate, test, delete; by HTTP or on the command line.

Every operation leaves an audit entry: what succeeds in the transaction that does it, what is refused
in one of its own.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from sidecar.clock import Clock
from sidecar.secret import Secret
from sidecar.vault import environment, models
from sidecar.vault.allowed_hosts import parse_hosts
from sidecar.vault.audit import Entry, Facts
from sidecar.vault.audit_recorder import DONE, AuditRecorder
from sidecar.vault.credential_cache import CredentialCache, Place
from sidecar.vault.credential_store import CredentialStore
from sidecar.vault.credential_test import Fetch, Verdict, probe
from sidecar.vault.errors import Conflict, Invalid, Undecryptable, VaultError
from sidecar.vault.format import CURRENT_FORMAT, Payload
from sidecar.vault.models import DEFAULT_NAME, Actor, Change, CredentialSummary, Imported, Rewrapped, SealedCredential
from sidecar.vault.providers import Provider
from sidecar.vault.sealing import Sealing
from sidecar.vocabulary import Event, Outcome

NO_EXPIRY: Final = 0


class Credentials:
    """`vault.credentials`. Each call names its actor and organization; roles are checked before it."""

    def __init__(
        self, store: CredentialStore, sealing: Sealing, opened: CredentialCache, journal: AuditRecorder, clock: Clock
    ) -> None:
        self._store = store
        self._sealing = sealing
        self._opened = opened
        self._journal = journal
        self._clock = clock

    async def list(self, organization: str | None) -> list[CredentialSummary]:
        """Return an organization's credentials; None: those of all, for callers who may see all."""
        if organization is None:
            rows = await self._store.every()
        else:
            rows = await self._store.list(models.organization(organization))
        return [self._listed(row) for row in rows]

    async def get(self, organization: str, credential: str) -> CredentialSummary:
        """Return one credential as lists show it, or raise NotFound."""
        return self._listed(await self._store.get(organization, credential))

    async def find(self, credential: str) -> CredentialSummary:
        """Return one credential of whatever organization, for those who may see all; or raise NotFound."""
        return self._listed(await self._store.anywhere(credential))

    async def create(
        self,
        actor: Actor,
        organization: str,
        provider: str,
        value: Secret,
        *,
        name: str = DEFAULT_NAME,
        hosts: Sequence[str] | None = None,
        expires_at: float | None = None,
    ) -> CredentialSummary:
        """Seal and store a new credential. `hosts` default to the provider's, `expires_at` is epoch seconds."""
        async with self._journal.refusals(actor, "credential.create", organization, provider):
            now = self._clock.now()
            organization, name = models.organization(organization), models.credential_name(name)
            known = self._validated(actor, organization, provider, value)
            sent_to = known.hosts if hosts is None else parse_hosts(hosts)
            payload = Payload(value, sent_to, models.expiry(expires_at, now))
            at = int(now * 1000)
            blank = SealedCredential(_new_id(), organization, provider, name, "", "", "", "", (), None, at, at, None, 1)
            stored = await self._sealing.seal(blank, payload)
            await self._store.create(stored, self._entry(actor, "credential.create", stored))
        self._opened.changed(_place(stored), self._sealing.opened(stored, payload), may_serve=True)
        self._tell(actor, Event.CREDENTIAL_CREATED, stored)
        return self._listed(stored)

    async def update(self, actor: Actor, organization: str, credential: str, change: Change) -> CredentialSummary:
        """Change name, hosts, expiry or value."""
        return await self._replace(actor, organization, credential, change, "credential.update")

    async def rotate(
        self, actor: Actor, organization: str, credential: str, value: Secret, *, expires_at: float | None = None
    ) -> CredentialSummary:
        """Put a new value in the old one's place: the old one works until the new one is live, then not."""
        change = Change(value=value, expires_at=expires_at)
        return await self._replace(actor, organization, credential, change, "credential.rotate")

    async def delete(self, actor: Actor, organization: str, credential: str) -> CredentialSummary:
        """Delete; it stops working here at once, on other replicas within a second."""
        async with self._journal.refusals(actor, "credential.delete", organization, credential):
            row = await self._store.get(organization, credential)
            await self._store.delete(organization, credential, self._entry(actor, "credential.delete", row))
        self._opened.forget([row.id])
        self._tell(actor, Event.CREDENTIAL_DELETED, row)
        return self._listed(row)

    async def erase(self, actor: Actor, organization: str) -> dict[str, int]:
        """Delete all credentials and handles of an organization; return how many of each."""
        action = "organization.erase"
        async with self._journal.refusals(actor, action, organization, ""):
            models.organization(organization)
            gone = await self._store.erase(organization, self._journal.entry(actor, action, organization, ""))
        self._opened.forget_all()
        self._journal.tell(actor, Event.DATA_ERASED, Outcome.ALLOWED, organization, gone)
        return gone

    async def rewrap(self, actor: Actor) -> Rewrapped:
        """Seal every entry anew that is not in the current format, under the current master key and iterations.

        Online: each entry is a transaction of its own, and one that changes meanwhile is left alone.
        Resumable: what is done already is found to be current.
        """
        sealed = current = lost = 0
        for row in await self._store.every():
            if self._sealing.is_current(row):
                current += 1
                continue
            try:
                payload = await self._sealing.unseal(row)
                new = await self._sealing.seal(replace(row, version=row.version + 1), payload)
                await self._store.replace(row, new, self._entry(actor, "credential.rewrap", new))
            except Undecryptable:
                lost += 1
            except Conflict:
                current += 1  # the change in between has encrypted it under the current key
            else:
                sealed += 1
                self._opened.changed(_place(new), self._sealing.opened(new, payload), may_serve=False)
        await self._journal.record(
            actor, "vault.rewrap", DONE, "", "", {"sealed": sealed, "current": current, "undecryptable": lost}
        )
        return Rewrapped(sealed, current, lost)

    async def import_env(self, actor: Actor, organization: str, variables: Mapping[str, str]) -> Sequence[Imported]:
        """Store the keys of the environment for the providers of the catalogue; existing ones stay as they are."""
        models.organization(organization)
        done: list[Imported] = []
        for provider in self._sealing.catalogue:
            found = environment.read(provider, variables)
            if found is None:
                continue
            try:
                made = await self.create(actor, organization, provider.name, found.value, hosts=found.hosts)
            except Conflict:
                done.append(Imported(found.variable, provider.name, "", "is stored already; left as it is"))
            except VaultError as error:
                done.append(Imported(found.variable, provider.name, "", str(error), refused=True))
            else:
                done.append(Imported(found.variable, provider.name, made.id, found.note))
        return done

    async def test(
        self,
        actor: Actor,
        organization: str,
        provider: str,
        value: Secret,
        *,
        url: str | None = None,
        hosts: Sequence[str] | None = None,
        fetch: Fetch | None = None,
    ) -> Verdict:
        """Ask the provider whether a key is good, storing nothing. A canary goes first."""
        async with self._journal.refusals(actor, "credential.test", organization, provider):
            known = self._validated(actor, models.organization(organization), provider, value)
            allowed = known.hosts if hosts is None else parse_hosts(hosts)
            verdict = await probe(known, value, allowed, url=url, fetch=fetch)
            await self._tested(actor, organization, known, provider, verdict)
        return verdict

    async def test_stored(
        self,
        actor: Actor,
        organization: str,
        credential: str,
        *,
        value: Secret | None = None,
        url: str | None = None,
        fetch: Fetch | None = None,
    ) -> Verdict:
        """Ask the provider whether a stored key is still good, or `value`, which is to take its place.

        It goes to the hosts sealed with the stored one only.
        """
        async with self._journal.refusals(actor, "credential.test", organization, credential):
            row = await self._store.get(organization, credential)
            payload = await self._sealing.unseal(row)
            known = self._sealing.catalogue.get(row.provider)
            if value is not None:
                self._validated(actor, organization, row.provider, value)
            verdict = await probe(known, value or payload.value, payload.hosts, url=url, fetch=fetch)
            await self._tested(actor, organization, known, credential, verdict)
        return verdict

    async def _replace(
        self, actor: Actor, organization: str, credential: str, change: Change, action: str
    ) -> CredentialSummary:
        async with self._journal.refusals(actor, action, organization, credential):
            now = self._clock.now()
            old = await self._store.get(organization, credential)
            if change.value is not None:
                self._validated(actor, organization, old.provider, change.value)
            new = replace(
                old,
                name=old.name if change.name is None else models.credential_name(change.name),
                updated_at=int(now * 1000),
                rotated_at=old.rotated_at if change.value is None else int(now * 1000),
                version=old.version + 1,
            )
            payload = await self._changed_payload(old, change, now)
            new = await self._sealing.seal(new, payload)  # also for a new name: what is sealed names the version
            await self._store.replace(old, new, self._entry(actor, action, new))
        self._opened.changed(_place(new), self._sealing.opened(new, payload), may_serve=False)
        self._tell(actor, Event.CREDENTIAL_ROTATED if change.value else Event.CREDENTIAL_UPDATED, new)
        return self._listed(new)

    async def _changed_payload(self, old: SealedCredential, change: Change, now: float) -> Payload:
        try:
            sealed = await self._sealing.unseal(old)
        except Undecryptable:
            if change.value is None:
                raise
            # The row's visible hosts are not authentic: a new key goes to the provider's own, or those named.
            sealed = Payload(change.value, self._sealing.catalogue.get(old.provider).hosts, None)
        expires_at = sealed.expires_at
        if change.expires_at is not None:
            expires_at = None if change.expires_at == NO_EXPIRY else models.expiry(change.expires_at, now)
        hosts = sealed.hosts if change.hosts is None else parse_hosts(change.hosts)
        return Payload(change.value or sealed.value, hosts, expires_at)

    def _listed(self, row: SealedCredential) -> CredentialSummary:
        state = self._sealing.state(row, self._opened, self._clock.now())
        return CredentialSummary(
            row.id,
            row.organization,
            row.provider,
            row.name,
            state,
            row.fingerprint,
            row.last_four,
            row.hosts,
            row.expires_at,
            row.created_at / 1000,
            row.updated_at / 1000,
            row.rotated_at / 1000 if row.rotated_at is not None else None,
            row.version,
        )

    def _validated(self, actor: Actor, organization: str, provider: str, value: Secret) -> Provider:
        """Return the provider whose key this looks like; API_KEY_VALIDATION is recorded either way."""
        known = self._sealing.catalogue.get(provider)
        facts = {"provider": provider, "check": "shape"}
        try:
            known.check(value.reveal())
        except Invalid:
            self._journal.tell(actor, Event.API_KEY_VALIDATION, Outcome.REFUSED, organization, facts)
            raise
        self._journal.tell(actor, Event.API_KEY_VALIDATION, Outcome.ALLOWED, organization, facts)
        return known

    async def _tested(
        self, actor: Actor, organization: str, provider: Provider, subject: str, verdict: Verdict
    ) -> None:
        outcome = Outcome.ALLOWED if verdict.valid else Outcome.REFUSED
        facts: Facts = {
            "provider": provider.name,
            "check": "provider",
            "valid": verdict.valid,
            "status": verdict.status,
        }
        self._journal.tell(actor, Event.API_KEY_VALIDATION, outcome, organization, facts)
        await self._journal.record(actor, "credential.test", DONE, organization, subject, facts)

    def _tell(self, actor: Actor, event: Event, row: SealedCredential) -> None:
        facts = {"credential": row.id, "provider": row.provider, "name": row.name}
        self._journal.tell(actor, event, Outcome.ALLOWED, row.organization, facts)

    def _entry(self, actor: Actor, action: str, row: SealedCredential) -> Entry:
        facts: Facts = {
            "provider": row.provider,
            "name": row.name,
            "fingerprint": row.fingerprint,
            "version": row.version,
            "format": CURRENT_FORMAT,
        }
        return self._journal.entry(actor, action, row.organization, row.id, facts)


def _new_id() -> str:
    """Return `crd_` and 80 random bits: not guessable, and no order to read from it."""
    return f"crd_{os.urandom(10).hex()}"


def _place(row: SealedCredential) -> Place:
    return (row.organization, row.provider, row.name)
