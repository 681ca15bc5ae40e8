"""Until when providers refuse calls under each credential, as they said themselves."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, NamedTuple

CREDENTIALS: Final = 10_000
"""Credentials that are remembered; beyond them the one that was noted first is forgotten."""

SHORTEST: Final = 1.0
"""Seconds below which nothing is remembered: clients wait so long by themselves."""

LONGEST: Final = 600.0
"""Seconds for which one answer is believed: a provider that asks for more is asked again before."""


class CredentialName(NamedTuple):
    """One stored key: its organization, provider, and name ("" for the default one)."""

    organization: str
    provider: str
    name: str


class ProviderLimits:
    """Remembers in this process; other replicas learn from their own answers. Times are epoch seconds."""

    def __init__(self, most: int = CREDENTIALS) -> None:
        self._most = most
        self._until: OrderedDict[CredentialName, float] = OrderedDict()

    def note(self, credential: CredentialName, seconds: float, now: float) -> None:
        """A provider has refused a call, and takes none for so many seconds."""
        if seconds < SHORTEST:
            return
        self._until[credential] = now + min(seconds, LONGEST)
        self._until.move_to_end(credential)
        if len(self._until) > self._most:
            self._until.popitem(last=False)

    def wait(self, credential: CredentialName, now: float) -> float:
        """Return for how many seconds the provider refuses calls under this credential; 0.0 if it does not."""
        until = self._until.get(credential) if self._until else None
        if until is None:
            return 0.0
        if until <= now:
            del self._until[credential]
            return 0.0
        return until - now
