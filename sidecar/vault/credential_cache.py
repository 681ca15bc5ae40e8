"""Credentials that are decrypted in this process: a request needs one look-up here.

Entries are valid as long as the database was reached within `ttl` seconds and had no change,
so that keys already open go on through an outage, for that long and no longer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from sidecar.secret import Secret
from sidecar.vault.models import Credential, KnownSecrets, RowName

Place: TypeAlias = tuple[str, str, str]
"""Organization, provider, and the credential's name; an empty name: whichever is the newest."""

MIN_KNOWN: Final = 8  # characters: a shorter "secret" would redact half of a text
RETRY_SECONDS: Final = 5.0


@dataclass
class OpenCredential:
    """One row that was opened, or could not be (`credential` None). `used` is written by `cached`."""

    row: RowName
    credential: Credential | None
    plains: tuple[Secret, ...] = ()
    cause: str = ""
    used: float = 0.0

    @property
    def id(self) -> str:
        """The id of the credential's row."""
        return self.row.id


@dataclass
class MissingCredential:
    """There is nothing to use here, as of a look at the database; `until` when to look again."""

    cause: str
    until: float


@dataclass
class CredentialCache:
    """Bounded: `max_entries` open credentials, and as many known absences."""

    ttl: float = 300.0
    max_entries: int = 1000
    generation: int = 0  # grows with each change: what was read before it must not be kept
    on_opened: Callable[[], object] | None = None  # written by Vault.on_opened
    _by_id: dict[str, OpenCredential] = field(default_factory=dict)
    _chosen: dict[Place, OpenCredential] = field(default_factory=dict)
    _absent: dict[Place, MissingCredential] = field(default_factory=dict)
    _fresh_until: float = 0.0
    _known: KnownSecrets = field(default_factory=lambda: KnownSecrets(0, ()))
    _known_stale: bool = False

    def cached(self, place: Place, now: float) -> Credential | None:
        """Return the open credential; None when the database has to be asked."""
        entry = self._chosen.get(place)
        if entry is None or now >= self._fresh_until:
            return None
        credential = entry.credential
        if credential is None or (credential.expires_at is not None and now >= credential.expires_at):
            return None
        entry.used = now
        return credential

    def absent(self, place: Place, now: float) -> str:
        """Return why there is nothing to use, if that was looked up just now; else an empty string."""
        absent = self._absent.get(place)
        return absent.cause if absent is not None and now < absent.until else ""

    def fresh(self, now: float) -> bool:
        """Return whether the database was reached lately enough for what is known of it to be used."""
        return now < self._fresh_until

    def confirm(self, at: float) -> None:
        """The database said at this time that nothing changed since the last look."""
        self._fresh_until = at + self.ttl

    def kept(self, row: RowName) -> OpenCredential | None:
        """Return what is known of a row, if it is this version and is in this place."""
        entry = self._by_id.get(row.id)
        return entry if entry is not None and entry.row == row else None

    def keep(self, entry: OpenCredential) -> OpenCredential:
        """Remember an opened row and return the one that is remembered; the one unused for longest gives way."""
        known = self._by_id.get(entry.id)
        if known is not None and known.row == entry.row:
            return known  # two opened it at a time: one of them is served, and dropped when it has to be
        if known is not None:
            self._drop(known)
        elif len(self._by_id) >= self.max_entries:
            self._drop(min(self._by_id.values(), key=lambda open_: open_.used))
        self._by_id[entry.id] = entry
        self._known_stale = True
        if self.on_opened is not None:
            self.on_opened()
        return entry

    def choose(self, place: Place, entry: OpenCredential) -> None:
        """Serve this one from now on."""
        if self._by_id.get(entry.id) is entry:
            self._chosen[place] = entry
            self._absent.pop(place, None)

    def miss(self, place: Place, cause: str, now: float) -> None:
        """Remember for a moment that there is nothing, so that refused requests ask the database seldom."""
        self._chosen.pop(place, None)
        if len(self._absent) >= self.max_entries:
            self._absent.clear()
        self._absent[place] = MissingCredential(cause, now + RETRY_SECONDS)

    def changed(self, place: Place, entry: OpenCredential, *, may_serve: bool) -> None:
        """Take over a row that was written just now, with the name in `place`: no other row is touched.

        `may_serve`: it may be the one to use where no name is asked for; another may be it where that is unsure.
        """
        self.generation += 1
        self._absent.clear()
        unnamed = (place[0], place[1], "")
        served = self._chosen.get(unnamed)
        serves = may_serve or (served is not None and served.id == entry.id)
        known = self._by_id.get(entry.id)
        if known is not None:
            self._drop(known)
        kept = self.keep(entry)
        self._chosen.pop(place, None)
        if kept.credential is not None:
            self.choose(place, kept)
            if serves:
                self.choose(unnamed, kept)

    def forget(self, ids: Iterable[str]) -> None:
        """Drop rows that were changed or deleted, at once; what else is chosen stays."""
        self.generation += 1
        self._absent.clear()
        for credential in ids:
            entry = self._by_id.get(credential)
            if entry is not None:
                self._drop(entry)

    def forget_but(self, current: Collection[RowName], firsts: Mapping[Place, str]) -> None:
        """Drop every row that is not among these, and every choice of another than `firsts` says."""
        self.forget([entry.id for entry in self._by_id.values() if entry.row not in current])
        for place in [place for place, entry in self._chosen.items() if firsts.get(place) != entry.id]:
            del self._chosen[place]

    def forget_all(self) -> None:
        """Drop everything."""
        self.forget(list(self._by_id))

    def rewrite(self, write: Callable[[OpenCredential], OpenCredential | None]) -> None:
        """Put each entry as `write` returns it in its place, or drop it where that returns None."""
        entries = [(entry.id, write(entry)) for entry in self._by_id.values()]
        self.forget(list(self._by_id))
        self._by_id = {name: entry for name, entry in entries if entry is not None}
        self._known_stale = True

    def known(self) -> KnownSecrets:
        """Return every plain key in this process, for redaction. Cheap while nothing changed."""
        if self._known_stale:
            self._renew()
        return self._known

    def undecryptable(self, row: RowName) -> bool:
        """Return whether this row was tried and did not open."""
        entry = self.kept(row)
        return entry is not None and entry.cause == "undecryptable"

    def _drop(self, entry: OpenCredential) -> None:
        del self._by_id[entry.id]
        self._known_stale = True
        for place in [place for place, chosen in self._chosen.items() if chosen is entry]:
            del self._chosen[place]

    def _renew(self) -> None:
        values = {plain.reveal() for entry in self._by_id.values() for plain in entry.plains}
        values = {value for value in values if len(value) >= MIN_KNOWN}
        self._known_stale = False
        if values != {secret.reveal() for secret in self._known.secrets}:
            self._known = KnownSecrets(self._known.generation + 1, tuple(Secret(value) for value in sorted(values)))
