"""What the audit log says of each credential: a row that is older than its newest entry was put back.

An envelope names its row's version, but a writer of the database can put back the whole row.
The log's entries are authenticated and name each version, so the row that was put back is known by them.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sidecar.vault.audit import AuditLog
    from sidecar.vault.database import Row

DELETED: Final = "credential.delete"
ERASED: Final = "organization.erase"
CHANGES: Final = ("credential.create", "credential.update", "credential.rotate", "credential.rewrap")
MAX_KNOWN: Final = 100_000


@dataclass(slots=True)
class CredentialHistory:
    """The newest state of each credential as far as the log was read; `catch_up` reads on."""

    _seen: int = 0
    _known: OrderedDict[str, tuple[str, int, int]] = field(default_factory=OrderedDict)
    """By id: organization, version (0: deleted), format of the envelope (0: not written down)."""

    async def catch_up(self, log: AuditLog) -> None:
        """Read on in the log. To be done before reading rows: they may be newer than what it says, never older."""
        async for row in log.rows(after=self._seen, actions=(*CHANGES, DELETED, ERASED)):
            if row["outcome"] == "done" and log.is_authentic(row):
                self._note(row)
                self._seen = row["seq"]

    def allows(self, credential: str, version: int, envelope_format: int) -> bool:
        """Return whether a row of this version, sealed in this format, may be the newest one."""
        known = self._known.get(credential)
        if known is None:
            return True
        return known[1] > 0 and version >= known[1] and envelope_format >= known[2]

    def _note(self, row: Row) -> None:
        if row["action"] == ERASED:
            for credential, (organization, _, _) in self._known.items():
                if organization == row["organization"]:
                    self._known[credential] = (organization, 0, 0)
            return
        facts = json.loads(row["detail"])
        version = 0 if row["action"] == DELETED else int(facts.get("version", 0))
        self._known[row["subject"]] = (row["organization"], version, int(facts.get("format", 0)))
        self._known.move_to_end(row["subject"])
        if len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)
