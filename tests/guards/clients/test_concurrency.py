"""The number of open requests of one client."""

from __future__ import annotations

from sidecar.decision import PASS, Refuse
from sidecar.exchange import Client
from sidecar.guards.clients.concurrency import ConcurrencyGuard
from sidecar.vocabulary import Code
from tests.support.exchanges import exchange


def open_one(made: ConcurrencyGuard, address="203.0.113.9"):
    asked = exchange(client=Client(address, address, address))
    return made.check(asked), asked


def test_one_too_many() -> None:
    made = ConcurrencyGuard(2)
    _, first = open_one(made)
    assert open_one(made)[0] is PASS
    decision, refused = open_one(made)
    assert decision == Refuse(
        Code.RATE_LIMIT_EXCEEDED,
        {"limit": "concurrent_per_client", "per": "ip", "open": 2},
        [(b"Retry-After", b"1")],
    )
    assert refused.releases == []
    assert open_one(made, "203.0.113.10")[0] is PASS
    (release,) = first.releases
    release()
    assert open_one(made)[0] is PASS
    assert open_one(made)[0] is not PASS


def test_a_place_is_given_back_once() -> None:
    counts: dict[str, int] = {}
    made = ConcurrencyGuard(2, counts)
    _, first = open_one(made)
    open_one(made)
    for _ in range(3):
        first.releases[0]()
    assert counts == {"203.0.113.9": 1}


def test_the_table_holds_open_requests_only() -> None:
    counts: dict[str, int] = {}
    made = ConcurrencyGuard(1, counts)
    asked = [open_one(made, f"203.0.113.{number}")[1] for number in range(100)]
    assert len(counts) == 100
    for one in asked:
        one.releases[0]()
    assert counts == {}


def test_a_reload_forgets_no_stream() -> None:
    counts: dict[str, int] = {}
    _, stream = open_one(ConcurrencyGuard(1, counts))
    later = ConcurrencyGuard(1, counts)
    assert open_one(later)[0] is not PASS
    stream.releases[0]()
    assert open_one(later)[0] is PASS


def test_parts_of_pages_have_a_bound_of_their_own() -> None:
    made = ConcurrencyGuard(2)
    client = Client("203.0.113.9", "203.0.113.9", "203.0.113.0/24")

    def ask(method: str = "GET", **fields: str):
        return made.check(exchange(method, client=client, **fields))

    assert [ask() for _ in range(2)] == [PASS, PASS]
    assert isinstance(ask(), Refuse)
    parts = [ask(**{"Sec-Fetch-Dest": "script"}) for _ in range(11)]
    assert parts[:10] == [PASS] * 10
    assert isinstance(parts[10], Refuse)
    for fields in ({"Sec-Fetch-Dest": "empty"}, {"Sec-Fetch-Dest": "document"}):
        assert isinstance(ask(**fields), Refuse)
    assert isinstance(ask("POST", **{"Sec-Fetch-Dest": "script"}), Refuse), "only what a page loads"
