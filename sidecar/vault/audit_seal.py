"""The sealed ends of the audit log, and anchors: a place in the chain with count, time and a MAC.

Both ends are in the columns `head_…` and `base_…` of `state`. As a text, the head is an anchor, for the
log, a webhook, or a file:

    sca1:<seq>:<hash>:<entries>:<milliseconds>:<key id>:<mac>

Without key id and MAC an end is not sealed: the log is empty, or was made before there were seals.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Self

from sidecar.errors import ConfigError

GENESIS: Final = "0" * 64
MAX_ANCHORS: Final = 100_000
FORMAT: Final = 2
"""Of the entries that are written now: their MAC names what it is for."""
HEAD: Final = "head"
BASE: Final = "base"
_PLACE: Final = re.compile(r"([0-9]{1,18}):([0-9a-f]{64})")
_TEXT: Final = re.compile(
    r"\bsca1:([0-9]{1,18}):([0-9a-f]{64}):([0-9]{1,18}):([0-9]{1,18}):(?:([0-9a-f]{16}):([0-9a-f]{64})|:)"
)


@dataclass(frozen=True, slots=True)
class Place:
    """An entry by its number and hash; 0 and GENESIS: before the first one."""

    seq: int
    hash: str

    def __str__(self) -> str:
        return f"{self.seq}:{self.hash}"


@dataclass(frozen=True, slots=True)
class Seal:
    """One end of the chain. `entries`: of the head how many are in the log, of the base how many were removed
    with it; `at`: milliseconds since the epoch.
    """

    place: Place
    entries: int
    at: int
    key_id: str = ""
    mac: str = ""

    def __str__(self) -> str:
        return f"sca1:{self.place}:{self.entries}:{self.at}:{self.key_id}:{self.mac}"

    @classmethod
    def of(cls, end: str, state: Mapping[str, Any]) -> Self:
        """Return the `head` or `base` that is in the row of `state`."""
        place = Place(state[f"{end}_seq"], state[f"{end}_hash"])
        rest = (state[f"{end}_{name}"] for name in ("entries", "at", "key_id", "mac"))
        return cls(place, *rest)

    def columns(self, end: str) -> dict[str, Any]:
        """Return the columns of `state` for this end."""
        values = (self.place.seq, self.place.hash, self.entries, self.at, self.key_id, self.mac)
        names = ("seq", "hash", "entries", "at", "key_id", "mac")
        return {f"{end}_{name}": value for name, value in zip(names, values, strict=True)}

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the seal, or None for what is none."""
        found = _TEXT.fullmatch(text)
        return None if found is None else cls._read(found)

    @classmethod
    def find(cls, lines: Iterable[str]) -> Iterator[Self]:
        """Yield every sealed end that is in some lines, whatever is around it."""
        for line in lines:
            for found in _TEXT.finditer(line):
                if found[5]:
                    yield cls._read(found)

    @classmethod
    def _read(cls, found: re.Match[str]) -> Self:
        return cls(Place(int(found[1]), found[2]), int(found[3]), int(found[4]), found[5] or "", found[6] or "")


def anchor(text: str) -> Seal | Place:
    """Return the end of a log that a verification printed, or an entry as `number:hash`. Raises ConfigError."""
    seal, place = Seal.parse(text), _PLACE.fullmatch(text)
    if seal is not None:
        return seal
    if place is None:
        raise ConfigError("an anchor is written as `sidecar audit verify` printed it")
    return Place(int(place[1]), place[2])


NOTHING: Final = Seal(Place(0, GENESIS), 0, 0)


class AuditKeys:
    """The audit subkeys by master id (hex); the first one seals.

    An entry's MAC of format 1 was over its hash alone. Each of format 2 names what it is for, so that the
    MAC of an entry is not the seal of an end.
    """

    def __init__(self, keys: Mapping[bytes, bytes]) -> None:
        self._keys = {key_id.hex(): key for key_id, key in keys.items()}
        self.current = next(iter(self._keys))

    def knows(self, key_id: str) -> bool:
        """Return whether this process has the key of this id (hex), and so can check its MACs."""
        return key_id in self._keys

    def entry_mac(self, digest: str) -> str:
        """Return the MAC (hex) of an entry's hash under the current key."""
        return self._mac(self.current, f"audit entry\0{digest}")

    def entry_format(self, key_id: str, digest: str, mac: str) -> int:
        """Return in which format an entry was authenticated under a known key, 0 for a forgery."""
        if _same(self._mac(key_id, f"audit entry\0{digest}"), mac):
            return 2
        return 1 if _same(self._mac(key_id, digest), mac) else 0

    def seal(self, label: str, place: Place, entries: int, at: int) -> Seal:
        """Return a sealed end; `label` is HEAD or BASE."""
        blank = Seal(place, entries, at, self.current)
        return replace(blank, mac=self._mac(self.current, _sealed(label, blank)))

    def holds(self, label: str, seal: Seal) -> bool:
        """Return whether an end was sealed by a holder of a key that is known here."""
        return seal.key_id in self._keys and _same(self._mac(seal.key_id, _sealed(label, seal)), seal.mac)

    def _mac(self, key_id: str, text: str) -> str:
        return hmac.digest(self._keys[key_id], text.encode(), hashlib.sha256).hex()


def _sealed(label: str, seal: Seal) -> str:
    return f"audit {label}\0{seal.place}:{seal.entries}:{seal.at}"


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode("utf-8", "replace"))
