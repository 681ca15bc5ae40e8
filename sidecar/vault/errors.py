"""Errors of the vault's operations. Messages are one line for an operator and contain no secret."""

from __future__ import annotations

from typing import ClassVar

from sidecar.errors import SidecarError


class VaultError(SidecarError):
    """The vault refused; `reason` is a word from a closed set, for events and the audit log."""

    reason: ClassVar[str] = "refused"


class Invalid(VaultError):
    """What was asked for is wrong in itself: a name, a host, a date, the shape of a key."""

    reason = "invalid"


class NotFound(VaultError):
    """No such row in this organization. A row of another organization is no such row."""

    reason = "not_found"


class Conflict(VaultError):
    """The name is taken, or the row was changed by another call in the meantime."""

    reason = "conflict"


class Undecryptable(VaultError):
    """No key opens this entry. One sentence for every cause: the difference would help only a forger."""

    reason = "undecryptable"

    def __init__(self) -> None:
        super().__init__("this entry does not open with any key that this process has")


class Unavailable(VaultError):
    """There is no usable credential; `cause` is missing, expired or undecryptable."""

    reason = "unavailable"

    def __init__(self, cause: str) -> None:
        super().__init__(f"no credential can be used: {cause}")
        self.cause = cause


class HandleRefused(VaultError):
    """A handle is unknown, expired, revoked, or not for this provider; `cause` names which, for events only."""

    reason = "handle_refused"

    def __init__(self, cause: str) -> None:
        super().__init__("this handle is not valid")
        self.cause = cause


class ProbeFailed(VaultError):
    """A credential was not accepted by its provider, or was not sent there."""

    reason = "probe_failed"
