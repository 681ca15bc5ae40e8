"""Rows sealed and opened: where the stored credential, its key and its provider meet."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import replace
from typing import Final

from sidecar.secret import Secret
from sidecar.vault.credential_cache import CredentialCache, OpenCredential
from sidecar.vault.credential_history import CredentialHistory
from sidecar.vault.errors import Invalid, Undecryptable
from sidecar.vault.format import CURRENT_FORMAT, Binding, Payload, format_of, parse_text
from sidecar.vault.keys import MasterKeys
from sidecar.vault.models import Credential, RowName, SealedCredential, State
from sidecar.vault.providers import Catalogue

MIN_SHOWN: Final = 16  # characters: of a shorter value four would be too much to show


class Sealing:
    """`catalogue` is replaced when a policy with other providers comes (written by Vault)."""

    def __init__(self, keys: MasterKeys, catalogue: Catalogue, history: CredentialHistory | None = None) -> None:
        self.catalogue = catalogue
        self.history = history or CredentialHistory()
        self._keys = keys
        self._fingerprints = next(iter(keys.subkeys("fingerprint").values()))

    async def seal(self, row: SealedCredential, payload: Payload) -> SealedCredential:
        """Return the row with the payload sealed into it, and what may be shown of it beside."""
        envelope = await self._keys.seal(_binding(row), payload)
        value = payload.value.reveal()
        # Keyed, and by organization, so that a guess cannot be tested and equal keys of two organizations differ.
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
        """Return what is sealed in a row, or raise Undecryptable: also for a row that was put back."""
        envelope = parse_text(row.envelope)
        if not self.history.allows(row.id, row.version, envelope.format):
            raise Undecryptable
        return await self._keys.unseal(envelope, _binding(row))

    async def open(self, row: SealedCredential) -> OpenCredential:
        """Return the row ready for use, or with the cause why it is not."""
        try:
            payload = await self.unseal(row)
        except Undecryptable:
            return OpenCredential(row.row, None, cause="undecryptable")
        return self.opened(row, payload)

    def opened(self, row: SealedCredential, payload: Payload) -> OpenCredential:
        """Return the row ready for use, of which the payload is known already."""
        blank = Credential(
            row.id, row.organization, row.provider, row.name, "", Secret(""), payload.hosts, payload.expires_at
        )
        return self._written(row.row, blank, payload.value)

    def rewritten(self, entry: OpenCredential) -> OpenCredential | None:
        """Return an open entry as the present catalogue writes it; None when the row has to be opened for that."""
        if entry.credential is None:
            return None
        return self._written(entry.row, entry.credential, entry.plains[0])

    def _written(self, row: RowName, credential: Credential, plain: Secret) -> OpenCredential:
        value = plain.reveal()
        try:
            header, text = self.catalogue.get(credential.provider).write_header(value)
        except Invalid:
            return OpenCredential(row, None, (plain,), cause="unknown provider")
        # Of `user:password` the password alone is a secret too.
        password = (Secret(value.rpartition(":")[2]),) if text.startswith("Basic ") else ()
        ready = replace(credential, header=header, value=Secret(text))
        return OpenCredential(row, ready, (plain, *password))

    def is_current(self, row: SealedCredential) -> bool:
        """Return whether the row is sealed in the current format, under the current master key and iterations."""
        try:
            envelope = parse_text(row.envelope)
        except Undecryptable:
            return False
        used = (envelope.format, envelope.key_id, envelope.iterations)
        return used == (CURRENT_FORMAT, self._keys.sealing.id, self._keys.iterations)

    def state(self, row: SealedCredential, opened: CredentialCache, now: float) -> State:
        """Return a row's state without opening it: its key may be gone, the row put back, or a try have failed."""
        known = self._keys.knows(row.key_id) and self.history.allows(row.id, row.version, format_of(row.envelope))
        if not known or opened.undecryptable(row.row):
            return State.UNDECRYPTABLE
        return State.EXPIRED if row.expires_at is not None and now >= row.expires_at else State.ACTIVE


def _binding(row: SealedCredential) -> Binding:
    return Binding(row.organization, row.id, row.provider, row.version)
