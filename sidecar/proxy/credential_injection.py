"""The key that goes into a request, read from the vault at the last moment."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Final

from sidecar.errors import StoreUnavailable
from sidecar.exchange import Exchange
from sidecar.head import Fields
from sidecar.policy.policy import BackendTarget, Injection
from sidecar.vault.errors import Unavailable, VaultError
from sidecar.vault.models import Credential

if TYPE_CHECKING:  # a sidecar without a vault needs neither its code nor the cryptography
    from sidecar.vault.vault import Vault

HANDLE: Final = "handle"


class VaultKeys:
    """A KeySource over the vault; without one, every route that needs a key is refused."""

    def __init__(self, vault: Vault | None) -> None:
        self._vault = vault

    def fields(
        self, exchange: Exchange, injection: Injection, target: BackendTarget
    ) -> Fields | Awaitable[Fields | None] | None:
        """Return the header with the key, or None: no credential, an expired one, one that does not open."""
        vault = self._vault
        if vault is None:
            exchange.key_fault = "no_vault"
            return None
        if injection.form == HANDLE:
            return self._handle(vault, exchange, injection)
        found = vault.cached(exchange.organization, injection.provider, exchange.now, injection.name)
        if found is None:
            return self._load(vault, exchange, injection, target)
        return _into(exchange, found, injection, target)

    async def _load(
        self, vault: Vault, exchange: Exchange, injection: Injection, target: BackendTarget
    ) -> Fields | None:
        try:
            found = await vault.credential(exchange.organization, injection.provider, exchange.now, injection.name)
        except Unavailable as error:
            exchange.key_fault = error.cause
            return None
        except VaultError as error:
            exchange.key_fault = error.reason
            return None
        except StoreUnavailable:
            exchange.key_fault = "store_unavailable"
            return None
        return _into(exchange, found, injection, target)

    def _handle(self, vault: Vault, exchange: Exchange, injection: Injection) -> Fields | None:
        # Only a session that was found to exist: an id that was never issued is never logged out.
        session, ttl = "", injection.ttl
        if exchange.session is not None:
            session, expires = exchange.session.key, exchange.session.expires
            ttl = min(ttl, expires - exchange.now) if expires else ttl
        try:
            provider = vault.catalogue.get(injection.provider)
            token = vault.handles.mint(exchange.organization, injection.provider, session, exchange.now, ttl)
        except VaultError as error:
            exchange.key_fault = error.reason
            return None
        name, value = provider.write_header(token)
        return [(name.encode(), value.encode())]


def _into(exchange: Exchange, found: Credential, injection: Injection, target: BackendTarget) -> Fields | None:
    exchange.credential = found.id
    put = _put(found, injection, target)
    if put is None:
        exchange.key_fault = "host_not_sealed"
    return put


def _put(found: Credential, injection: Injection, target: BackendTarget) -> Fields | None:
    # The backend in this pod may receive any key; other hosts must be named in the sealed credential.
    given = target.local and not injection.sealed
    if not (given or found.allows(target.host, target.port)):
        return None
    if target.tls is None and not target.local:
        return None  # the compiler refuses such a policy; checked again, because the key would cross a network in clear
    return [(found.header.encode(), found.value.reveal().encode("latin-1"))]
