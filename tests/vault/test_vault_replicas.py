"""Two processes on one database: what changes on one is seen by the other. Both databases."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from sidecar.errors import StoreUnavailable
from sidecar.vault.errors import HandleRefused, Unavailable
from sidecar.vault.vault import Vault
from sidecar.vocabulary import Event
from tests.support.clock import FakeClock
from tests.support.exchanges import Recorder
from tests.support.postgres import Postgres
from tests.support.vaults import ALICE, OPENAI_KEY, OTHER_KEY, open_vault, secret

NOW = FakeClock().now()


async def until(fact: Callable[[], Any], seconds: float = 10.0) -> None:
    """Wait for the watch to see something: real time, since the other replica is real."""
    async with asyncio.timeout(seconds):
        while not fact():  # noqa: ASYNC110  # no signal exists: the test polls
            await asyncio.sleep(0.01)


def shown(vault: Vault, organization: str = "acme") -> str | None:
    credential = vault.cached(organization, "openai", NOW)
    return credential.value.reveal() if credential else None


def no_grant(vault: Vault) -> bool:
    return all(known.grant is None for known in vault.handles._known.values())


async def refusal(asked: Awaitable[Any]) -> str:
    with pytest.raises((HandleRefused, Unavailable)) as refused:
        await asked
    return refused.value.cause


async def test_the_life_of_a_key_is_followed(url: str) -> None:
    async with open_vault(url) as here, open_vault(url, watch=True) as there:
        await until(lambda: there._watch._seen is not None)
        made = await here.credentials.create(ALICE, "acme", "openai", secret())
        await until(lambda: shown(there) == f"Bearer {OPENAI_KEY}")
        assert [known.reveal() for known in there.known_secrets().secrets] == [OPENAI_KEY]
        await here.credentials.rotate(ALICE, "acme", made.id, secret(OTHER_KEY))
        await until(lambda: shown(there) == f"Bearer {OTHER_KEY}")
        await here.credentials.delete(ALICE, "acme", made.id)
        await until(lambda: shown(there) is None and not there.known_secrets().secrets)
        assert await refusal(there.credential("acme", "openai", NOW)) == "missing"


async def test_a_newer_key_takes_over_and_an_absence_ends(url: str) -> None:
    clock = FakeClock()
    async with open_vault(url, clock=clock) as here, open_vault(url, watch=True) as there:
        assert await refusal(there.credential("acme", "openai", NOW)) == "missing"
        await here.credentials.create(ALICE, "acme", "openai", secret())
        await until(lambda: shown(there) == f"Bearer {OPENAI_KEY}")
        clock.advance(1)
        await here.credentials.create(ALICE, "acme", "openai", secret(OTHER_KEY), name="newer")
        await until(lambda: shown(there) == f"Bearer {OTHER_KEY}")


async def test_revoked_handles_and_sessions_are_followed(url: str) -> None:
    async with open_vault(url) as here, open_vault(url, watch=True) as there:
        token, made = await here.handles.create(ALICE, "acme", "openai", expires_at=NOW + 60)
        assert (await there.handles.resolve(token.reveal(), "openai", NOW)).id == made.id
        await here.handles.revoke(ALICE, "acme", made.id)
        await until(lambda: no_grant(there))
        assert await refusal(there.handles.resolve(token.reveal(), "openai", NOW)) == "revoked"
        signed = there.handles.mint("acme", "openai", "s1", NOW)
        assert there.handles.check(signed, "openai", NOW) is not None
        await here.handles.revoke_session(ALICE, "acme", "s1")
        await until(lambda: there.handles._revoked)
        assert await refusal(there.handles.resolve(signed, "openai", NOW)) == "revoked"


async def test_a_change_while_a_key_is_being_opened_is_not_lost(url: str) -> None:
    async with open_vault(url) as vault:
        made = await vault.credentials.create(ALICE, "acme", "openai", secret())
        results = await asyncio.gather(
            vault.credential("acme", "openai", NOW),
            vault.refresh(),
            vault.credentials.rotate(ALICE, "acme", made.id, secret(OTHER_KEY)),
            *(vault.credential("acme", "openai", NOW) for _ in range(5)),
            vault.refresh(),
        )
        assert len(results) == 9
        assert shown(vault) in (None, f"Bearer {OTHER_KEY}")
        assert (await vault.credential("acme", "openai", NOW)).value.reveal() == f"Bearer {OTHER_KEY}"


async def test_many_at_once_end_in_one_true_state(url: str) -> None:
    async with open_vault(url) as one, open_vault(url, watch=True) as two:

        async def life(vault: Vault, organization: str) -> None:
            made = await vault.credentials.create(ALICE, organization, "openai", secret())
            await vault.credential(organization, "openai", NOW)
            await vault.credentials.rotate(ALICE, organization, made.id, secret(OTHER_KEY))
            got = await vault.credential(organization, "openai", NOW)
            assert got.value.reveal() == f"Bearer {OTHER_KEY}"

        await asyncio.gather(*(life(vault, f"o{n}{i}") for n, vault in enumerate((one, two)) for i in range(4)))
        await until(lambda: all(shown(two, f"o{n}{i}") == f"Bearer {OTHER_KEY}" for n in (0, 1) for i in range(4)))
        assert (await one.verify_audit()).faults == ()
        assert (await one.verify_audit()).entries == 16


async def test_an_outage_is_told_once_and_so_is_its_end(postgres_server: Postgres) -> None:
    url = await asyncio.to_thread(postgres_server.database)
    events = Recorder()
    async with open_vault(url, events=events) as vault:
        vault._database._wait = 1.0
        from sidecar.vault.database_watch import DatabaseWatch

        watch = DatabaseWatch(vault, vault._database, vault.audit, vault._keys, FakeClock(), events, poll=1.0)
        await watch.look()
        await asyncio.to_thread(postgres_server.stop)
        try:
            await watch.look()
            await watch.look()
        finally:
            await asyncio.to_thread(postgres_server.start)
        await watch.look()
        await watch.look()
    assert events.names() == ["STORE_DEGRADED", "STORE_RECOVERED"]


class Odd:
    """A database that fails once as no database is known to fail."""

    def __init__(self, database: Any, failing: str) -> None:
        self._database = database
        self._failing = failing

    def __getattr__(self, name: str) -> Any:
        if name == self._failing:
            self._failing = ""
            raise RuntimeError("odd")
        return getattr(self._database, name)


@pytest.mark.parametrize("failing", ["stamp", "state", "wait"])
async def test_the_watch_outlives_a_failure_that_is_not_known(failing: str) -> None:
    events = Recorder()
    async with open_vault("sqlite://", events=events) as vault:
        from sidecar.vault.database_watch import DatabaseWatch

        database: Any = Odd(vault._database, failing)
        watch = DatabaseWatch(vault, database, vault.audit, vault._keys, FakeClock(), events, poll=0.01)
        watch.start()
        await until(lambda: events.names() == ["STORE_DEGRADED", "STORE_RECOVERED"])
        await vault.credentials.create(ALICE, "acme", "openai", secret())
        await until(lambda: shown(vault))
        await watch.stop()
    assert events.events[0].detail == {"store": "vault", "cause": "unexpected RuntimeError"}


def test_a_connection_in_an_odd_state_is_an_outage() -> None:
    import asyncpg

    from sidecar.vault.postgresql_driver import PostgresqlDriver

    # asyncpg raises it where a server dies between two answers; it derives from none of the others.
    assert issubclass(asyncpg.InternalClientError, PostgresqlDriver.failures)


async def test_an_ending_key_is_spoken_of_ahead_and_when_it_ended() -> None:
    clock, events = FakeClock(), Recorder()
    async with open_vault("sqlite://", clock=clock, events=events) as vault:
        from sidecar.vault.database_watch import DatabaseWatch

        watch = DatabaseWatch(vault, vault._database, vault.audit, vault._keys, clock, events, poll=1.0)
        await vault.credentials.create(ALICE, "acme", "openai", secret(), expires_at=NOW + 8 * 86400)
        await watch.look()
        told = []
        for step in (0, 86400, 0, 6 * 86400, 86400 - 3600, 3600, 10):
            clock.advance(step)
            await watch.look()
            told.append(sum(event.event is Event.CREDENTIAL_EXPIRED for event in events.events))
    assert told == [0, 1, 1, 2, 3, 4, 4]


async def test_the_watch_keeps_the_log_within_its_retention() -> None:
    clock = FakeClock()
    async with open_vault("sqlite://", clock=clock) as vault:
        from sidecar.vault.database_watch import DatabaseWatch

        watch = DatabaseWatch(vault, vault._database, vault.audit, vault._keys, clock, Recorder(), poll=1.0)
        await vault.credentials.create(ALICE, "acme", "openai", secret())
        await watch.look()
        clock.advance(91 * 86400)
        await vault.credentials.create(ALICE, "acme", "stripe", secret("sk_test_0123456789"))
        await watch.look()
        assert [row["action"] async for row in vault.audit.rows()] == ["credential.create", "audit.prune"]
        assert (await vault.verify_audit()).faults == ()
        vault.audit_retention = None
        clock.advance(91 * 86400)
        await watch.look()
        assert len([row async for row in vault.audit.rows()]) == 2


async def test_the_end_of_the_log_is_told_once_a_minute_when_it_moved() -> None:
    clock, events = FakeClock(), Recorder()
    async with open_vault("sqlite://", clock=clock, events=events) as vault:
        from sidecar.vault.audit_seal import Seal
        from sidecar.vault.database_watch import DatabaseWatch

        def told() -> list[str]:
            anchors = [event for event in events.events if event.detail.get("action") == "audit.anchor"]
            assert all(event.event is Event.ADMIN_ACTION for event in anchors)
            return [event.detail.get("anchor") or event.detail["why"] for event in anchors]

        watch = DatabaseWatch(vault, vault._database, vault.audit, vault._keys, clock, events, poll=1.0)
        await watch.look()
        assert told() == []  # an empty log
        clock.advance(61)
        await vault.credentials.create(ALICE, "acme", "openai", secret())
        await watch.look()
        first = str(await vault.audit.head())
        assert told() == [first]
        await vault.credentials.create(ALICE, "acme", "openai", secret(OTHER_KEY), name="b")
        clock.advance(59)
        await watch.look()
        assert told() == [first]
        clock.advance(2)
        await watch.look()
        clock.advance(600)
        await watch.look()
        assert told() == [first, str(await vault.audit.head())]
        anchors = list(Seal.find(told()))
        assert (await vault.verify_audit(anchors=anchors)).faults == ()
        async with vault._database.write() as write:
            await write.set(head_mac="0" * 64)
        clock.advance(60)
        await watch.look()
        assert told()[2:] == ["the end of the audit log is not authentic"]


async def test_a_server_that_dies_right_after_a_write_takes_nothing_away(postgres_server: Postgres) -> None:
    url = await asyncio.to_thread(postgres_server.database)
    events = Recorder()
    async with open_vault(url) as here, open_vault(url, watch=True, events=events) as there:
        for organization in ("acme", "globex"):
            await here.credentials.create(ALICE, organization, "openai", secret())
        token, _ = await here.handles.create(ALICE, "acme", "openai", expires_at=NOW + 60)
        await until(lambda: shown(there) and shown(there, "globex"))
        await there.handles.resolve(token.reveal(), "openai", NOW)
        await there.credentials.create(ALICE, "initech", "openai", secret(OTHER_KEY))
        await there.handles.create(ALICE, "acme", "openai", expires_at=NOW + 60)
        await asyncio.to_thread(postgres_server.stop)
        try:
            for _ in range(2):
                for organization in ("acme", "globex", "initech"):
                    assert await there.credential(organization, "openai", NOW)
                assert there.handles.check(token.reveal(), "openai", NOW)
                await until(lambda: "STORE_DEGRADED" in events.names())
            with pytest.raises(StoreUnavailable):
                await there.credentials.create(ALICE, "acme", "openai", secret(), name="another")
        finally:
            await asyncio.to_thread(postgres_server.start)
        await until(lambda: "STORE_RECOVERED" in events.names())


async def test_opening_many_keys_does_not_hold_up_a_revocation(url: str) -> None:
    async with open_vault(url) as here, open_vault(url, watch=True) as there:
        for number in range(12):
            await here.credentials.create(ALICE, f"o{number}", "openai", secret())
        token, made = await here.handles.create(ALICE, "acme", "openai", expires_at=NOW + 60)
        await there.handles.resolve(token.reveal(), "openai", NOW)
        await here.handles.revoke(ALICE, "acme", made.id)
        await until(lambda: no_grant(there), seconds=1.0)
        await until(lambda: len(there.known_secrets().secrets) == 1 and shown(there, "o11"))


async def test_a_revocation_elsewhere_is_known_within_a_second_and_told(url: str) -> None:
    async with open_vault(url) as here, open_vault(url, watch=True) as there:
        await until(lambda: there._watch._seen is not None)
        key = await here.credentials.create(ALICE, "acme", "openai", secret())
        _, handle = await here.handles.create(ALICE, "acme", "openai", expires_at=NOW + 3600)
        told: list[tuple[set[str], set[str], bool]] = []

        async def changed() -> None:
            revoked = await there.handles.which_revoked({handle.id, "hdl_unknown"})
            told.append((revoked, there.credential_ids(), there.handles.is_session_revoked("acme", "s", NOW)))

        await until(lambda: there.credential_ids() == {key.id})
        there.on_change = changed
        await here.handles.revoke(ALICE, "acme", handle.id)
        await until(lambda: told[-1:] == [({handle.id}, {key.id}, False)], 1.0)
        await here.handles.revoke_session(ALICE, "acme", "s")
        await until(lambda: told[-1:] == [({handle.id}, {key.id}, True)], 1.0)
        await here.credentials.delete(ALICE, "acme", key.id)
        await until(lambda: told[-1:] == [({handle.id}, set(), True)], 1.0)


async def test_what_could_not_be_told_is_told_at_the_next_look(url: str) -> None:
    async with open_vault(url) as here, open_vault(url, watch=True) as there:
        await until(lambda: there._watch._seen is not None)
        asked = 0

        async def changed() -> None:
            nonlocal asked
            asked += 1
            if asked == 1:
                raise StoreUnavailable("gone in the middle")

        there.on_change = changed
        await here.credentials.create(ALICE, "acme", "openai", secret())
        await until(lambda: asked == 2, 3.0)
