"""A management listener on a free port, with real memory stores and books that remember what was asked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from sidecar.admin.auth import Authority
from sidecar.admin.jwt import Verifier, make_token
from sidecar.admin.ports import Ports, Question
from sidecar.admin.roles import Role
from sidecar.admin.server import ManagementServer
from sidecar.budget import Budget, BudgetPer, Unit
from sidecar.errors import StoreUnavailable
from sidecar.explain.candidate import Candidates
from sidecar.limit import Limit, Per
from sidecar.maintenance import MaintenanceSwitch
from sidecar.prices import NANO
from sidecar.revoked import Cause, Revoked, SubjectKind
from sidecar.secret import Secret
from sidecar.stores.memory_bans import MemoryBanStore
from sidecar.stores.memory_budgets import MemoryBudgets
from sidecar.stores.memory_rates import MemoryRateStore
from sidecar.stores.memory_sessions import MemorySessionStore
from sidecar.telemetry.cost_ledger import CostLedger
from sidecar.telemetry.fanout import Fanout
from sidecar.telemetry.history import TrafficHistory
from sidecar.telemetry.metrics import Metrics
from sidecar.telemetry.recent_events import RecentEvents
from sidecar.vault.errors import NotFound
from sidecar.vault.models import Actor, Change, CredentialSummary, Handle, State
from tests.support.clock import FakeClock
from tests.support.exchanges import Recorder
from tests.support.policies import BASE, read

SECRET = Secret("a secret of this test, long enough to be one")
LIMITS = (
    Limit("ip-minute", Per.IP, 60, 60.0),
    Limit("org-hour", Per.ORGANIZATION, 1000, 3600.0),
    Limit("chat-burst", Per.SESSION, 10, 10.0),
)
BUDGETS = (
    Budget("ip-day", BudgetPer.IP, Unit.TOKENS, 1000, 86_400.0),
    Budget("org-month", BudgetPer.ORGANIZATION, Unit.USD, 5 * NANO, 30 * 86_400.0),
    Budget("key-day", BudgetPer.CREDENTIAL, Unit.TOKENS, 500, 86_400.0),
)


class FakeCredentials:
    """One credential of each of two organizations; calls are kept."""

    def __init__(self) -> None:
        self.rows = {f"crd_{name}": listed(f"crd_{name}", name) for name in ("acme", "other")}
        self.calls: list[tuple[str, Actor, str, Any]] = []

    async def list(self, organization: str | None) -> list[CredentialSummary]:
        return [row for row in self.rows.values() if organization in (None, row.organization)]

    async def find(self, credential: str) -> CredentialSummary:
        if credential not in self.rows:
            raise NotFound("no such credential")
        return self.rows[credential]

    async def create(
        self, actor: Actor, organization: str, provider: str, value: Secret, **options: Any
    ) -> CredentialSummary:
        self.calls.append(("create", actor, organization, {"provider": provider, "value": value, **options}))
        return listed("crd_new", organization)

    async def update(self, actor: Actor, organization: str, credential: str, change: Change) -> CredentialSummary:
        return await self._touch("update", actor, organization, credential, change)

    async def rotate(
        self, actor: Actor, organization: str, credential: str, value: Secret, *, expires_at: float | None = None
    ) -> CredentialSummary:
        return await self._touch("rotate", actor, organization, credential, (value, expires_at))

    async def delete(self, actor: Actor, organization: str, credential: str) -> CredentialSummary:
        return await self._touch("delete", actor, organization, credential, None)

    async def test(self, actor: Actor, organization: str, provider: str, value: Secret, **options: Any) -> Any:
        self.calls.append(("test", actor, organization, {"provider": provider, "value": value, **options}))
        return SimpleNamespace(valid=True, status=200, message="openai accepts this key")

    async def test_stored(
        self, actor: Actor, organization: str, credential: str, *, value: Secret | None = None
    ) -> Any:
        await self._touch("test_stored", actor, organization, credential, value)
        return SimpleNamespace(valid=False, status=401, message="openai does not accept this key")

    async def erase(self, actor: Actor, organization: str) -> Mapping[str, int]:
        self.calls.append(("erase", actor, organization, None))
        return {"credentials": 1, "handles": 0}

    async def _touch(
        self, what: str, actor: Actor, organization: str, credential: str, value: Any
    ) -> CredentialSummary:
        row = self.rows.get(credential)
        if row is None or row.organization != organization:
            raise NotFound("no such credential in this organization")
        self.calls.append((what, actor, organization, value))
        return row


class FakeHandles:
    def __init__(self) -> None:
        self.rows = [handle("hdl_acme", "acme"), handle("hdl_other", "other")]

    async def create(
        self, actor: Actor, organization: str, provider: str, *, expires_at: float, session: str = "", name: str = ""
    ) -> tuple[Secret, Handle]:
        return Secret("phk_shown-once"), handle("hdl_new", organization, expires_at)

    async def list(self, organization: str | None) -> Sequence[Handle]:
        return [row for row in self.rows if organization in (None, row.organization)]

    async def revoke(self, actor: Actor, organization: str, handle: str) -> Handle:
        for row in self.rows:
            if (row.id, row.organization) == (handle, organization):
                return row
        raise NotFound("no such handle in this organization")


@dataclass
class FakeBook:
    """The audit log: written and read."""

    entries: list[dict[str, Any]] = field(default_factory=list)
    is_away: bool = False

    async def record(
        self,
        actor: Actor,
        action: str,
        outcome: str,
        organization: str,
        subject: str,
        detail: Mapping[str, str | int | float | bool | None] | None = None,
    ) -> None:
        if self.is_away:
            raise StoreUnavailable("the database does not answer")
        entry = {"actor": actor.name, "action": action, "outcome": outcome, "organization": organization}
        seq = len(self.entries) + 1
        about = {"subject": subject, "detail": dict(detail or {}), "address": actor.address, "at": 1_800_000_000_000}
        self.entries.append({**entry, **about, "request_id": actor.request_id, "hash": "0" * 64, "seq": seq})

    async def recent(self, organization: str | None, *, limit: int = 100, before: int | None = None) -> Sequence[Any]:
        found = [e for e in self.entries if organization in (None, e["organization"]) and e["seq"] < (before or 10**9)]
        return list(reversed(found))[:limit]


class FakePolicy:
    def state(self) -> Mapping[str, Any]:
        return {
            "digest": "ab12",
            "mode": "enforce",
            "loaded_at": 1_800_000_000.0,
            "successful": False,
            "problems": ["policy.yaml:3:1: cors: names acme"],
        }

    def document(self) -> Mapping[str, Any]:
        observing = {"mode": "observe", "suggestions": True}
        return {"version": 1, **observing, "organizations": {"hosts": {"other.example.com": "other"}}}

    def text(self) -> str:
        return BASE

    def notes(self) -> Sequence[str]:
        return ()

    def values(self) -> Sequence[tuple[str, str, str]]:
        return [("mode", "enforce", "default")]

    def reloads(self) -> Sequence[Mapping[str, Any]]:
        return [{"at": 1_800_000_000.0, "successful": False, "digest": "ab12", "problems": ("policy.yaml:3:1: bad",)}]

    def limits(self) -> Sequence[Limit]:
        return LIMITS

    def budgets(self) -> Sequence[Budget]:
        return BUDGETS


def listed(name: str, organization: str) -> CredentialSummary:
    hosts = ("api.openai.com",)
    return CredentialSummary(
        name, organization, "openai", "default", State.ACTIVE, "f" * 16, "wxyz", hosts, None, 1.0, 2.0, None, 1
    )


def handle(name: str, organization: str, expires_at: float = 1_900_000_000.0) -> Handle:
    return Handle(name, organization, "openai", "", "", 1.0, int(expires_at), None)


@dataclass
class Management:
    """A running listener and what stands behind it."""

    parts: Ports
    server: ManagementServer
    clock: FakeClock
    recorder: Recorder
    recent: RecentEvents
    rates: MemoryRateStore
    bans: MemoryBanStore
    sessions: MemorySessionStore
    credentials: FakeCredentials
    book: FakeBook
    metrics: Metrics
    questions: list[Question]
    reasons: list[str]
    revoked: list[Revoked]
    costs: CostLedger

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    def token(self, role: str = "admin", organization: str = "*", ttl: float = 3600.0) -> str:
        return make_token(
            SECRET, Role[role.upper()], now=self.clock.now(), ttl=ttl, organization=organization, subject="ann"
        )

    def bearer(self, role: str = "admin", organization: str = "*") -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token(role, organization)}"}


async def _always_ready() -> str:
    return ""


@asynccontextmanager
async def management(verifier: Verifier | None = None, port: int = 0, **changes: Any) -> AsyncIterator[Management]:
    """Run a listener on a port (0: any free one); `changes` replace parts."""
    clock, recorder, recent = FakeClock(), Recorder(), RecentEvents(backlog=32, most_watchers=2)
    history = TrafficHistory(clock)
    rates, bans, sessions = MemoryRateStore(), MemoryBanStore(), MemorySessionStore()
    credentials, book, metrics = FakeCredentials(), FakeBook(), Metrics("1.2.3")
    questions: list[Question] = []
    reasons: list[str] = []
    revoked: list[Revoked] = []
    events = Fanout([recorder, recent, metrics, history])
    costs = CostLedger(clock, events)
    numbers = iter(range(1, 1_000_000))

    async def explain(question: Question) -> Mapping[str, Any]:
        questions.append(question)
        return {"decision": "pass", "steps": []}

    async def end_sessions(actor: Actor, organization: str, sessions: Sequence[str]) -> bool:
        revoked.extend(Revoked(SubjectKind.SESSION, each, Cause.REVOKED, organization) for each in sessions)
        return bool(organization)

    async def verify_audit(anchors: Sequence[str]) -> Mapping[str, Any]:
        return {"whole": True, "entries": len(book.entries), "statements": [], "faults": [], "anchors": list(anchors)}

    fields: dict[str, Any] = {
        "clock": clock,
        "events": events,
        "metrics": metrics,
        "recent": recent,
        "history": history,
        "authority": Authority(verifier or Verifier(clock, secret=SECRET), clock),
        "policy": FakePolicy(),
        "rates": rates,
        "budgets": MemoryBudgets(),
        "bans": bans,
        "sessions": sessions,
        "credentials": credentials,
        "handles": FakeHandles(),
        "audit": book,
        "journal": book,
        "explain": explain,
        "candidates": Candidates(read, lambda: read(BASE), history.kept),
        "suggestions": lambda: {"routes": [], "yaml": "routes: []  # nothing yet\n"},
        "not_ready": lambda: reasons,
        "backend_ready": _always_ready,
        "subject_of": subject_of,
        "stores": lambda: {"redis": True},
        "new_id": lambda: f"mgmt-{next(numbers)}",
        "dropped_headers": lambda: {"remote-user": 2},
        "why": lambda request_id, organization: None,
        "maintenance": MaintenanceSwitch(),
        "drain": lambda: reasons.append("draining"),
        "revoke": revoked.append,
        "end_sessions": end_sessions,
        "verify_audit": verify_audit,
        "providers": lambda: [{"name": "openai", "hosts": ["api.openai.com"]}],
        "costs": costs,
        "usage": None,
        "undeclared_proxies": lambda: ["10.0.0.7"],
    }
    parts = Ports(**(fields | changes))
    server = ManagementServer(parts, "127.0.0.1", port)
    await server.start()
    try:
        yield Management(
            parts,
            server,
            clock,
            recorder,
            recent,
            rates,
            bans,
            sessions,
            credentials,
            book,
            metrics,
            questions,
            reasons,
            revoked,
            costs,
        )
    finally:
        await server.stop()


def subject_of(text: str) -> str:
    """Return an address as it is counted: IPv6 by its /64."""
    from ipaddress import IPv6Address, ip_address, ip_network

    address = ip_address(text.partition("/")[0])
    return str(ip_network((address, 64), strict=False)) if isinstance(address, IPv6Address) else str(address)
