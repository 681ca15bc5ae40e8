"""What management and the metrics see of a running sidecar: its policy, and which keys it holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sidecar.budget import Budget
from sidecar.explain.candidate import listing
from sidecar.guards.budgets.build import budget_of
from sidecar.limit import Limit
from sidecar.policy.compile import Compiled
from sidecar.policy.live import LivePolicy
from sidecar.telemetry.gauges import CredentialState, PolicyState
from sidecar.vault.models import State

if TYPE_CHECKING:
    from sidecar.vault.vault import Vault


class PolicyView:
    """The live policy, as the admin API shows it."""

    def __init__(self, live: LivePolicy[Compiled]) -> None:
        self._live = live

    def state(self) -> Mapping[str, Any]:
        """Return its digest, mode and source, when it was loaded, and what was wrong with the last one that was not."""
        live = self._live
        return {
            "digest": live.current.digest,
            "mode": live.current.schema.mode,
            "source": live.current.document.source,
            "loaded_at": live.last_reload_at,
            "successful": live.last_reload_successful,
            "problems": live.last_problems,
        }

    def reload_state(self) -> PolicyState:
        """Return the same for the metrics."""
        return PolicyState(self._live.current.digest, self._live.last_reload_successful, self._live.last_reload_at)

    def text(self) -> str:
        """Return its YAML."""
        return self._live.current.document.text

    def notes(self) -> Sequence[str]:
        """Return the remarks about it."""
        return [str(note) for note in self._live.current.document.notes]

    def values(self) -> Sequence[tuple[str, str, str]]:
        """Return each of its values: key, value, and where it comes from."""
        return listing(self._live.current.document)

    def reloads(self) -> Sequence[Mapping[str, Any]]:
        """Return the reloads, the newest first."""
        return [asdict(each) for each in reversed(self._live.reloads)]

    def document(self) -> Mapping[str, Any]:
        """Return it with its defaults."""
        return self._live.current.schema.model_dump(mode="json", by_alias=True)

    def budgets(self) -> Sequence[Budget]:
        """Return its budgets."""
        return [budget_of(section) for section in self._live.current.schema.budgets]

    def limits(self) -> Sequence[Limit]:
        """Return its limits."""
        return self._live.current.limits


class StoredKeys:
    """Which keys the vault holds, without reading any: a read is an audited event. Without a vault there are none."""

    def __init__(self, vault: Vault | None) -> None:
        self._vault = vault

    def has(self, organization: str, provider: str) -> bool:
        """Return whether there is a key to use."""
        if self._vault is None:
            return False
        return any(
            each.state is State.ACTIVE and (each.organization, each.provider) == (organization, provider)
            for each in self._vault.expiries()
        )

    def providers(self) -> Sequence[Mapping[str, Any]]:
        """Return the providers whose keys can be stored, by name."""
        if self._vault is None:
            return ()
        rows = [{"name": each.name, "hosts": list(each.hosts)} for each in self._vault.catalogue]
        return sorted(rows, key=lambda row: str(row["name"]))

    def states(self) -> Sequence[CredentialState]:
        """Return each credential, for the metrics."""
        if self._vault is None:
            return ()
        return [
            CredentialState(
                each.organization, each.provider, each.name, each.expires_at, each.state is State.UNDECRYPTABLE
            )
            for each in self._vault.expiries()
        ]
