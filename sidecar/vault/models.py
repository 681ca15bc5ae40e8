"""The vault's values, as other parts see them. None of them prints a secret."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from sidecar.secret import Secret
from sidecar.vault.allowed_hosts import HTTPS_PORT, allows
from sidecar.vault.errors import Invalid

DEFAULT_NAME: Final = "default"
MAX_EXPIRY: Final = 253_402_300_799  # 9999-12-31T23:59:59Z
_ORGANIZATION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@:+-]{0,127}")
_ID: Final = re.compile(r"(crd|hdl)_[0-9a-f]{20}")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._@:+-]{0,63}")


class State(StrEnum):
    """What a credential can be used for right now."""

    ACTIVE = "active"
    EXPIRED = "expired"
    UNDECRYPTABLE = "undecryptable"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks: a token's subject, `cli:name`, or `sidecar` itself."""

    name: str
    address: str = ""
    request_id: str = ""


SIDECAR: Final = Actor("sidecar")


@dataclass(frozen=True, slots=True)
class Credential:
    """A key that is ready to be put into a request. `text` is the whole header value.

    hosts       where it may be sent, as sealed with it; ask `allows`
    expires_at  epoch seconds, None when it does not expire
    """

    id: str
    organization: str
    provider: str
    name: str
    header: str
    value: Secret
    hosts: tuple[str, ...]
    expires_at: int | None

    def allows(self, host: str, port: int = HTTPS_PORT) -> bool:
        """Return whether this key may go to `host:port`."""
        return allows(self.hosts, host, port)


class RowName(NamedTuple):
    """Which row something was read from. A row that was moved elsewhere is another one."""

    id: str
    version: int
    organization: str
    provider: str


@dataclass(frozen=True, slots=True)
class SealedCredential:
    """A credential's row. Only `envelope` is authentic; the rest is there to find and to show it.

    Times are milliseconds since the epoch, `expires_at` seconds.
    """

    id: str
    organization: str
    provider: str
    name: str
    envelope: str
    key_id: str
    fingerprint: str
    last_four: str
    hosts: tuple[str, ...]
    expires_at: int | None
    created_at: int
    updated_at: int
    rotated_at: int | None
    version: int

    @property
    def row(self) -> RowName:
        """What the seal binds the value to: id, version, organization, provider."""
        return RowName(self.id, self.version, self.organization, self.provider)


@dataclass(frozen=True, slots=True)
class CredentialSummary:
    """A credential as lists show it: a fingerprint and the last four characters, never more."""

    id: str
    organization: str
    provider: str
    name: str
    state: State
    fingerprint: str
    last_four: str
    hosts: tuple[str, ...]
    expires_at: int | None
    created_at: float
    updated_at: float
    rotated_at: float | None
    version: int


@dataclass(frozen=True, slots=True)
class Expiry:
    """How long a credential has left, for the metric. `expires_at` None: for good."""

    organization: str
    provider: str
    name: str
    expires_at: int | None
    state: State


@dataclass(frozen=True, slots=True)
class KnownSecrets:
    """Every plain key in this process; `generation` grows when the set changes."""

    generation: int
    secrets: tuple[Secret, ...]


@dataclass(frozen=True, slots=True)
class Rewrapped:
    """What a rewrap did: sealed anew, already current, not openable."""

    sealed: int
    current: int
    undecryptable: int


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of one environment variable; `credential` is empty when it was left out."""

    variable: str
    provider: str
    credential: str = ""
    note: str = ""
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Handle:
    """A stored phantom key, without the key."""

    id: str
    organization: str
    provider: str
    session: str
    name: str
    created_at: float
    expires_at: int
    revoked_at: float | None


@dataclass(frozen=True, slots=True)
class Grant:
    """What a valid handle allows: to be swapped for this organization's key of this provider."""

    organization: str
    provider: str
    session: str
    expires_at: int
    id: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """New values of a credential; None leaves a field as it is. `expires_at` 0: it does not expire."""

    value: Secret | None = None
    name: str | None = None
    hosts: tuple[str, ...] | None = None
    expires_at: float | None = None


def is_organization(text: str) -> bool:
    """Return whether `text` may name an organization: 1 to 128 letters, digits and `. _ @ : + -`."""
    return _ORGANIZATION.fullmatch(text) is not None


def is_id(text: str) -> bool:
    """Return whether this could be the id of a credential or handle at all (a NUL would break a query)."""
    return _ID.fullmatch(text) is not None


def organization(text: str) -> str:
    """Return the organization, or raise Invalid."""
    if not is_organization(text):
        raise Invalid("an organization is 1 to 128 letters, digits and . _ @ : + -")
    return text


def credential_name(text: str) -> str:
    """Return the name, or raise Invalid."""
    if not _NAME.fullmatch(text):
        raise Invalid("a name is 1 to 64 letters, digits, spaces and . _ @ : + -")
    return text


def expiry(seconds: float | None, now: float) -> int | None:
    """Return whole epoch seconds (a fraction is cut off: never later than asked), or raise Invalid."""
    if seconds is None:
        return None
    if not now < seconds <= MAX_EXPIRY:
        raise Invalid("the expiry must lie in the future")
    return int(seconds)
