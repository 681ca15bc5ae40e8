"""Rows sealed and opened: where the stored credential, its key and its provider meet."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import replace
from typing import Final

from sidecar.secret import Secret
from sidecar.vault.credential_cache import CredentialCache, OpenCredential
from sidecar.vault.errors import Invalid, Undecryptable
from sidecar.vault.format import Binding, Payload, parse_text
from sidecar.vault.keys import MasterKeys
from sidecar.vault.models import Credential, SealedCredential, State
from sidecar.vault.providers import Catalogue

MIN_SHOWN: Final = 16  # characters: of a shorter value four would be too much to show


class Sealing:
    """`catalogue` is replaced when a policy with other providers comes (written by Vault)."""

    def __init__(self, keys: MasterKeys, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self._keys = keys
        self._fingerprints = next(iter(keys.subkeys("fingerprint").values()))

    async def seal(self, row: SealedCredential, payload: Payload) -> SealedCredential:
        """Return the row with the payload sealed into it, and what may be shown of it beside."""
        envelope = await self._keys.seal(Binding(row.organization, row.id, row.provider), payload)
        value = payload.value.reveal()
        # Keyed, and by organization: nobody can test a guess, or see that two organizations share a key.
        named = f"{row.organization}\0{value}".encode()
        return replace(
            row,
            envelope=envelope.to_text(),
            key_id=envelope.key_id.hex(),
            fingerprint=hmac.digest(self._fingerprints, named, hashlib.sha256).hex()[:16],
            last_four=value[-4:] if len(value) >= MIN_SHOWN else "",
            hosts=payload.hosts,
            expires_at=payload.expires_at,
        )

    async def unseal(self, row: SealedCredential) -> Payload:
        """Return what is sealed in a row, or raise Undecryptable."""
        return await self._keys.unseal(parse_text(row.envelope), Binding(row.organization, row.id, row.provider))

    async def open(self, row: SealedCredential) -> OpenCredential:
        """Return the row ready for use, or with the cause why it is not."""
        try:
            payload = await self.unseal(row)
        except Undecryptable:
            return OpenCredential(row.id, row.version, None, cause="undecryptable")
        blank = Credential(
            row.id, row.organization, row.provider, row.name, "", Secret(""), payload.hosts, payload.expires_at
        )
        return self._written(row.version, blank, payload.value)

    def rewritten(self, entry: OpenCredential) -> OpenCredential | None:
        """Return an open entry as the present catalogue writes it; None when the row has to be opened for that."""
        if entry.credential is None:
            return None
        return self._written(entry.version, entry.credential, entry.plains[0])

    def _written(self, version: int, credential: Credential, plain: Secret) -> OpenCredential:
        value = plain.reveal()
        try:
            header, text = self.catalogue.get(credential.provider).write_header(value)
        except Invalid:
            return OpenCredential(credential.id, version, None, (plain,), cause="unknown provider")
        # Of `user:password` the password alone is a secret too.
        password = (Secret(value.rpartition(":")[2]),) if text.startswith("Basic ") else ()
        ready = replace(credential, header=header, value=Secret(text))
        return OpenCredential(credential.id, version, ready, (plain, *password))

    def is_current(self, row: SealedCredential) -> bool:
        """Say whether the row is sealed under the current master key and iterations."""
        try:
            envelope = parse_text(row.envelope)
        except Undecryptable:
            return False
        return envelope.key_id == self._keys.sealing.id and envelope.iterations == self._keys.iterations

    def state(self, row: SealedCredential, opened: CredentialCache, now: float) -> State:
        """Say what a row can be used for, without opening it: a key that is gone, or a try that failed."""
        if not self._keys.knows(row.key_id) or opened.undecryptable(row.id, row.version):
            return State.UNDECRYPTABLE
        return State.EXPIRED if row.expires_at is not None and now >= row.expires_at else State.ACTIVE
