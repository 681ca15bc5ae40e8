"""Credentials from the first key to the last: made, used, changed, rotated, expired, deleted. Both databases."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import ClassVar

import pytest

from sidecar.errors import StoreUnavailable
from sidecar.secret import Secret
from sidecar.vault import cipher
from sidecar.vault.audit import Entry
from sidecar.vault.audit_seal import NOTHING
from sidecar.vault.errors import Conflict, Invalid, NotFound, Unavailable, Undecryptable
from sidecar.vault.format import Binding, Envelope, Payload
from sidecar.vault.models import Change, Rewrapped, State
from sidecar.vault.vault import Vault
from tests.support.clock import FakeClock
from tests.support.exchanges import Recorder
from tests.support.postgres import Postgres
from tests.support.vaults import ALICE, OPENAI_KEY, OTHER_KEY, STRIPE_KEY, catalogue, open_vault, secret

NOW = FakeClock().now()


async def use(vault: Vault, organization: str = "acme", provider: str = "openai", now: float = NOW) -> str:
    """Return the header value that a request would get, or why it gets none."""
    try:
        return (await vault.credential(organization, provider, now)).value.reveal()
    except Unavailable as error:
        return error.cause


async def actions(vault: Vault) -> list[tuple[str, str]]:
    return [(row["action"], row["outcome"]) async for row in vault.audit.rows()]


async def test_a_created_credential_is_listed_and_used(url: str) -> None:
    events = Recorder()
    async with open_vault(url, events=events) as vault:
        made = await vault.credentials.create(ALICE, "acme", "openai", secret())
        assert await vault.credentials.list("acme") == [made]
        assert await vault.credentials.get("acme", made.id) == made
        assert (made.state, made.name, made.last_four, made.hosts, made.expires_at, made.version) == (
            State.ACTIVE,
            "default",
            OPENAI_KEY[-4:],
            ("api.openai.com",),
            None,
            1,
        )
        credential = await vault.credential("acme", "openai", NOW)
        assert (credential.header, credential.value.reveal()) == ("Authorization", f"Bearer {OPENAI_KEY}")
        assert credential.allows("api.openai.com")
        assert not credential.allows("api.openai.com.evil.example")
        assert vault.cached("acme", "openai", NOW) is credential
        assert await actions(vault) == [("credential.create", "done")]
    assert events.names() == ["API_KEY_VALIDATION", "CREDENTIAL_CREATED"]


async def test_what_was_stored_opens_in_the_next_process(url: str) -> None:
    async with open_vault(url) as vault:
        made = await vault.credentials.create(ALICE, "acme", "openai", secret())
    async with open_vault(url) as vault:
        assert await vault.credentials.list("acme") == [made]
        assert await use(vault) == f"Bearer {OPENAI_KEY}"


async def test_organizations_do_not_see_each_other(url: str) -> None:
    async with open_vault(url) as vault:
        mine = await vault.credentials.create(ALICE, "acme", "openai", secret())
        theirs = await vault.credentials.create(ALICE, "globex", "openai", secret(OTHER_KEY))
        assert await use(vault, "acme") == f"Bearer {OPENAI_KEY}"
        assert await use(vault, "globex") == f"Bearer {OTHER_KEY}"
        assert await use(vault, "initech") == "missing"
        assert [row.id for row in await vault.credentials.list("acme")] == [mine.id]
        assert {row.id for row in await vault.credentials.list(None)} == {mine.id, theirs.id}
        for refused in (
            vault.credentials.get("acme", theirs.id),
            vault.credentials.update(ALICE, "acme", theirs.id, Change(name="x")),
            vault.credentials.rotate(ALICE, "acme", theirs.id, secret()),
            vault.credentials.delete(ALICE, "acme", theirs.id),
            vault.credentials.test_stored(ALICE, "acme", theirs.id),
        ):
            with pytest.raises(NotFound):
                await refused
        assert await use(vault, "globex") == f"Bearer {OTHER_KEY}"


async def test_names_that_cannot_exist_are_not_found(url: str) -> None:
    async with open_vault(url) as vault:
        for organization, credential in (("acme", "crd_\0"), ("ac\0me", "crd_" + "0" * 20), ("\ud800", "x" * 9999)):
            with pytest.raises(NotFound):
                await vault.credentials.delete(ALICE, organization, credential)
            with pytest.raises(NotFound):
                await vault.handles.revoke(ALICE, organization, credential)
            with pytest.raises(NotFound):
                await vault.credentials.find(credential)
        assert [await use(vault, name) for name in ("*", "a\0", "\ud800", "x" * 9999)] == ["missing"] * 4
        assert (await vault.verify_audit()).faults == ()


async def test_the_same_key_has_another_fingerprint_elsewhere(url: str) -> None:
    async with open_vault(url) as vault:
        one = await vault.credentials.create(ALICE, "acme", "openai", secret())
        same = await vault.credentials.create(ALICE, "acme", "openai", secret(), name="again")
        other = await vault.credentials.create(ALICE, "globex", "openai", secret())
        assert one.fingerprint == same.fingerprint != other.fingerprint


REFUSED = [
    pytest.param({"organization": "*"}, Invalid, id="everybody is no organization"),
    pytest.param({"organization": "a\0b"}, Invalid, id="a NUL in the organization"),
    pytest.param({"provider": "nobody"}, Invalid, id="an unknown provider"),
    pytest.param({"value": Secret("hunter2")}, Invalid, id="not the shape of a key"),
    pytest.param({"value": Secret("sk-ant-0123456789abcdefghijkl")}, Invalid, id="another provider's key"),
    pytest.param({"value": Secret(OPENAI_KEY + "\n")}, Invalid, id="a line end"),
    pytest.param({"value": Secret("sk-" + "x" * 5000)}, Invalid, id="far too long"),
    pytest.param({"name": ""}, Invalid, id="an empty name"),
    pytest.param({"name": "x" * 65}, Invalid, id="a long name"),
    pytest.param({"hosts": []}, Invalid, id="no host"),
    pytest.param({"hosts": ["https://api.openai.com"]}, Invalid, id="a URL for a host"),
    pytest.param({"hosts": ["*"]}, Invalid, id="any host"),
    pytest.param({"expires_at": NOW - 1}, Invalid, id="expired before it began"),
    pytest.param({"expires_at": 1e18}, Invalid, id="beyond all time"),
]


@pytest.mark.parametrize(("wrong", "error"), REFUSED)
async def test_what_is_wrong_is_refused_and_audited(wrong: dict, error: type[Exception]) -> None:
    asked = {"organization": "acme", "provider": "openai", "value": secret(), **wrong}
    positional = (asked.pop("organization"), asked.pop("provider"), asked.pop("value"))
    async with open_vault("sqlite://") as vault:
        with pytest.raises(error) as refused:
            await vault.credentials.create(ALICE, *positional, **asked)
        assert positional[2].reveal() not in str(refused.value)
        assert await vault.credentials.list(None) == []
        assert await actions(vault) == [("credential.create", "refused")]


async def test_a_name_is_taken_once(url: str) -> None:
    async with open_vault(url) as vault:
        await vault.credentials.create(ALICE, "acme", "openai", secret())
        with pytest.raises(Conflict):
            await vault.credentials.create(ALICE, "acme", "openai", secret(OTHER_KEY))
        assert await use(vault) == f"Bearer {OPENAI_KEY}"
        assert await actions(vault) == [("credential.create", "done"), ("credential.create", "refused")]


async def test_of_several_the_newest_living_one_is_used(url: str) -> None:
    clock = FakeClock()
    async with open_vault(url, clock=clock) as vault:
        await vault.credentials.create(ALICE, "acme", "openai", secret())
        clock.advance(1)
        await vault.credentials.create(
            ALICE, "acme", "openai", secret(OTHER_KEY), name="guest", expires_at=clock.now() + 60
        )
        assert await use(vault, now=clock.now()) == f"Bearer {OTHER_KEY}"
        clock.advance(60)
        assert await use(vault, now=clock.now()) == f"Bearer {OPENAI_KEY}"


async def test_a_name_picks_one_of_several(url: str) -> None:
    async with open_vault(url) as vault:
        await vault.credentials.create(ALICE, "acme", "openai", secret(), name="first")
        await vault.credentials.create(ALICE, "acme", "openai", secret(OTHER_KEY), name="second")
        for name, key in (("first", OPENAI_KEY), ("second", OTHER_KEY)):
            assert (await vault.credential("acme", "openai", NOW, name)).value.reveal() == f"Bearer {key}"
            assert vault.cached("acme", "openai", NOW, name) is not None
        with pytest.raises(Unavailable):
            await vault.credential("acme", "openai", NOW, "third")
        await vault.refresh()
        assert vault.cached("acme", "openai", NOW, "first") is not None


async def test_it_stops_at_the_second_it_expires(url: str) -> None:
    clock = FakeClock()
    async with open_vault(url, clock=clock) as vault:
        made = await vault.credentials.create(ALICE, "acme", "openai", secret(), expires_at=NOW + 60.9)
        assert made.expires_at == int(NOW) + 60
        await vault.credential("acme", "openai", NOW)
        clock.advance(59.999)
        assert vault.cached("acme", "openai", clock.now()) is not None
        clock.advance(0.001)
        assert vault.cached("acme", "openai", clock.now()) is None
        assert await use(vault, now=clock.now()) == "expired"
        [listed] = await vault.credentials.list("acme")
        assert listed.state is State.EXPIRED


async def test_rotation_changes_the_key_at_once(url: str) -> None:
    events = Recorder()
    async with open_vault(url, events=events) as vault:
        made = await vault.credentials.create(ALICE, "acme", "openai", secret(), hosts=["gateway.example"])
        await vault.credential("acme", "openai", NOW)
        assert [known.reveal() for known in vault.known_secrets().secrets] == [OPENAI_KEY]
        before = vault.known_secrets().generation
        rotated = await vault.credentials.rotate(ALICE, "acme", made.id, secret(OTHER_KEY))
        assert vault.cached("acme", "openai", NOW).value.reveal() == f"Bearer {OTHER_KEY}"
        credential = await vault.credential("acme", "openai", NOW)
        assert credential.hosts == ("gateway.example",)
        assert (rotated.version, rotated.rotated_at, rotated.last_four) == (2, NOW, OTHER_KEY[-4:])
        assert [known.reveal() for known in vault.known_secrets().secrets] == [OTHER_KEY]
        assert vault.known_secrets().generation > before
    assert events.names()[-1] == "CREDENTIAL_ROTATED"


async def test_a_rotation_that_is_refused_leaves_the_old_key(url: str) -> None:
    async with open_vault(url) as vault:
        made = await vault.credentials.create(ALICE, "acme", "openai", secret())
        with pytest.raises(Invalid):
            await vault.credentials.rotate(ALICE, "acme", made.id, secret("nonsense"))
        assert await use(vault) == f"Bearer {OPENAI_KEY}"


CHANGES = [
    pytest.param(Change(name="main"), {"name": "main"}, id="name"),
    pytest.param(Change(hosts=("a.example", "b.example:8443")), {"hosts": ("a.example", "b.example:8443")}, id="hosts"),
    pytest.param(Change(expires_at=NOW + 9), {"expires_at": int(NOW) + 9}, id="expiry"),
    pytest.param(Change(expires_at=0), {"expires_at": None}, id="no expiry"),
    pytest.param(Change(value=Secret(OTHER_KEY)), {"last_four": OTHER_KEY[-4:]}, id="value"),
]


@pytest.mark.parametrize(("change", "expected"), CHANGES)
async def test_an_update_changes_what_it_names(change: Change, expected: dict) -> None:
    async with open_vault("sqlite://") as vault:
        made = await vault.credentials.create(ALICE, "acme", "openai", secret(), expires_at=NOW + 99)
        changed = await vault.credentials.update(ALICE, "acme", made.id, change)
        rotated = {"rotated_at": NOW, "fingerprint": changed.fingerprint} if change.value else {}
        assert changed == replace(made, version=2, **expected, **rotated)
        credential = await vault.credential("acme", "openai", NOW)
        assert (credential.hosts, credential.expires_at) == (changed.hosts, changed.expires_at)


async def test_two_who_change_one_row_at_a_time_do_not_overwrite_each_other(url: str) -> None:
    async with open_vault(url) as vault:
        made = await vault.credentials.create(ALICE, "acme", "openai", secret())
        results = await asyncio.gather(
            *(vault.credentials.update(ALICE, "acme", made.id, Change(name=f"n{i}")) for i in range(4)),
            return_exceptions=True,
        )
        won = [result for result in results if not isinstance(result, Exception)]
        assert all(isinstance(result, Conflict) for result in results if isinstance(result, Exception))
        [listed] = await vault.credentials.list("acme")
        assert listed.version == 1 + len(won)
        assert (await vault.verify_audit()).faults == ()


async def test_a_deleted_credential_stops_at_once(url: str) -> None:
    async with open_vault(url) as vault:
        made = await vault.credentials.create(ALICE, "acme", "openai", secret())
        await vault.credential("acme", "openai", NOW)
        await vault.credentials.delete(ALICE, "acme", made.id)
        assert vault.cached("acme", "openai", NOW) is None
        assert await use(vault) == "missing"
        assert vault.known_secrets().secrets == ()
        with pytest.raises(NotFound):
            await vault.credentials.delete(ALICE, "acme", made.id)


async def test_a_missing_one_asks_the_database_once_in_a_while(url: str) -> None:
    async with open_vault(url) as vault:
        assert await use(vault) == "missing"
        driver, vault._database._driver = vault._database._driver, None
        assert await use(vault, now=NOW + 1) == "missing"
        vault._database._driver = driver
        await vault.credentials.create(ALICE, "acme", "openai", secret())
        assert await use(vault) == f"Bearer {OPENAI_KEY}"


PUT_BACK = [
    pytest.param(("envelope",), id="the envelope alone"),
    pytest.param(("envelope", "version"), id="envelope and version"),
    pytest.param(
        ("envelope", "version", "key_id", "fingerprint", "last_four", "updated_at", "rotated_at"), id="the whole row"
    ),
]


@pytest.mark.parametrize("columns", PUT_BACK)
async def test_an_old_envelope_put_back_after_a_rotation_does_not_open(url: str, columns: tuple[str, ...]) -> None:
    async with open_vault(url) as vault:
        made = await vault.credentials.create(ALICE, "acme", "openai", secret())
        [old] = await vault._database.rows("SELECT * FROM credentials")
        await vault.credentials.rotate(ALICE, "acme", made.id, secret(OTHER_KEY))
        async with vault._database.write() as write:
            for name in columns:
                await write.run(f"UPDATE credentials SET {name} = ?", old[name])
        await vault.refresh(preload=False)
        assert await use(vault) in ("undecryptable", f"Bearer {OTHER_KEY}")  # never the old one
    async with open_vault(url) as vault:
        if "version" in columns:  # known by the log alone, without a try
            [listed] = await vault.credentials.list("acme")
            assert listed.state is State.UNDECRYPTABLE
        assert await use(vault) == "undecryptable"
        [listed] = await vault.credentials.list("acme")
        assert listed.state is State.UNDECRYPTABLE
        with pytest.raises(Undecryptable):
            await vault.credentials.update(ALICE, "acme", made.id, Change(name="other"))


@pytest.mark.parametrize("how", ["delete", "erase"])
async def test_a_deleted_row_that_was_put_back_does_not_open(url: str, how: str) -> None:
    async with open_vault(url) as vault:
        made = await vault.credentials.create(ALICE, "acme", "openai", secret())
        [old] = await vault._database.rows("SELECT * FROM credentials")
        if how == "delete":
            await vault.credentials.delete(ALICE, "acme", made.id)
        else:
            await vault.credentials.erase(ALICE, "acme")
        async with vault._database.write() as write:
            await write.insert("credentials", old)
    async with open_vault(url) as vault:
        assert await use(vault) == "undecryptable"


async def test_a_row_of_which_the_log_says_nothing_any_more_opens(url: str) -> None:
    async with open_vault(url) as vault:
        made = await vault.credentials.create(ALICE, "acme", "openai", secret())
        await vault.credentials.rotate(ALICE, "acme", made.id, secret(OTHER_KEY))
        await vault.audit.prune(NOW + 60, Entry(NOW, ALICE, "audit.prune", "done"))
    async with open_vault(url) as vault:
        assert await use(vault) == f"Bearer {OTHER_KEY}"


async def test_format_1_opens_is_rewrapped_and_cannot_come_back(url: str) -> None:
    async with open_vault(url) as vault:
        made = await vault.credentials.create(ALICE, "acme", "openai", secret())
        first = await as_format_1(vault, made.id, secret())
    async with open_vault(url) as vault:
        assert await use(vault) == f"Bearer {OPENAI_KEY}"
        assert await vault.credentials.rewrap(ALICE) == Rewrapped(1, 0, 0)
        assert await vault.credentials.rewrap(ALICE) == Rewrapped(0, 1, 0)
        [row] = await vault._store.every()
        assert row.envelope.startswith("scv2:")
        assert await use(vault) == f"Bearer {OPENAI_KEY}"
        async with vault._database.write() as write:
            await write.run("UPDATE credentials SET envelope = ?", first)
    async with open_vault(url) as vault:
        assert await use(vault) == "undecryptable"


async def as_format_1(vault: Vault, credential: str, value: Secret) -> str:
    """Put the envelope that a former version would have written, and an audit entry as it wrote them."""
    row = await vault._store.anywhere(credential)
    master = vault._keys.sealing
    blank = Envelope(vault._keys.iterations, master.id, cipher.new_salt(), b"", format=1)
    key = cipher.derive(master.password, blank.salt, blank.iterations)
    binding = Binding(row.organization, row.id, row.provider, row.version)
    envelope = cipher.seal(key, blank, binding, Payload(value, row.hosts, row.expires_at)).to_text()
    async with vault._database.write() as write:
        await write.run("UPDATE credentials SET envelope = ?, version = version + 1", envelope)
        facts = {"version": row.version + 1}
        await write.run("DELETE FROM audit")
        await write.set(**NOTHING.columns("head"), **NOTHING.columns("base"))
        entry = Entry(NOW, ALICE, "credential.rotate", "done", row.organization, row.id, facts)
        await vault.audit.append(write, entry)
    return envelope


async def test_a_write_takes_nothing_from_anybody_else(url: str) -> None:
    """The database dies right after it: what was open before goes on, and what was written too."""
    async with open_vault(url) as vault:
        for organization in ("acme", "globex"):
            for name in ("default", "other"):
                await vault.credentials.create(ALICE, organization, "openai", secret(), name=name)
        await vault.refresh()
        [mine] = [each for each in await vault.credentials.list("acme") if each.name == "default"]
        writes = {
            "rotate": lambda: vault.credentials.rotate(ALICE, "acme", mine.id, secret(OTHER_KEY)),
            "update": lambda: vault.credentials.update(ALICE, "acme", mine.id, Change(expires_at=NOW + 600)),
            "create": lambda: vault.credentials.create(ALICE, "acme", "stripe", secret("sk_test_0123456789")),
            "delete": lambda: vault.credentials.delete(ALICE, "acme", mine.id),
        }
        for name, write in writes.items():
            await write()
            driver, vault._database._driver = vault._database._driver, None
            assert await use(vault, "globex") == f"Bearer {OPENAI_KEY}", name
            cached = [vault.cached("globex", "openai", NOW, name) for name in ("", "default", "other")]
            assert None not in cached, name
            assert vault.cached("acme", "openai", NOW, "other"), name
            if name == "create":
                assert await use(vault, "acme", "stripe") == "Bearer sk_test_0123456789"
            if name == "rotate":
                assert vault.cached("acme", "openai", NOW, "default").value.reveal() == f"Bearer {OTHER_KEY}"
            vault._database._driver = driver


async def test_a_key_that_is_not_open_yet_opens_from_what_was_read(url: str) -> None:
    class Gone:
        failures: ClassVar = (OSError,)
        duplicates: ClassVar = ()

        async def rows(self, *_: object) -> list:
            raise OSError

    async with open_vault(url) as vault:
        await vault.credentials.create(ALICE, "acme", "openai", secret())
    clock = FakeClock()
    async with open_vault(url, clock=clock) as vault:
        driver, vault._database._driver = vault._database._driver, Gone()
        assert await use(vault) == f"Bearer {OPENAI_KEY}"
        clock.advance(301)  # too long ago to be relied upon
        with pytest.raises(StoreUnavailable):
            await vault.credential("acme", "openai", clock.now())
        vault._database._driver = driver


MOVES = [
    pytest.param({"organization": "globex"}, ("globex", "openai"), id="to another organization"),
    pytest.param({"provider": "openrouter"}, ("acme", "openrouter"), id="to another provider"),
    pytest.param({"id": "crd_00000000000000000000"}, ("acme", "openai"), id="to another id"),
]


@pytest.mark.parametrize(("columns", "place"), MOVES)
async def test_a_row_that_was_moved_does_not_open(url: str, columns: dict, place: tuple[str, str]) -> None:
    async with open_vault(url) as vault:
        await vault.credentials.create(ALICE, "acme", "openai", secret())
        async with vault._database.write() as write:
            for name, value in columns.items():
                await write.run(f"UPDATE credentials SET {name} = ?", value)
        await vault.refresh(preload=False)
        assert await use(vault, *place) == "undecryptable"
        [listed] = await vault.credentials.list(place[0])
        assert listed.state is State.UNDECRYPTABLE
        assert [fact.state for fact in vault.expiries()] == [State.UNDECRYPTABLE]


async def test_swapped_envelopes_do_not_open(url: str) -> None:
    async with open_vault(url) as vault:
        one = await vault.credentials.create(ALICE, "acme", "openai", secret())
        two = await vault.credentials.create(ALICE, "globex", "openai", secret(OTHER_KEY))
        envelopes = {row.id: row.envelope for row in await vault._store.every()}
        async with vault._database.write() as write:
            for mine, other in ((one.id, two.id), (two.id, one.id)):
                await write.run("UPDATE credentials SET envelope = ? WHERE id = ?", envelopes[other], mine)
    async with open_vault(url) as vault:
        assert [await use(vault, "acme"), await use(vault, "globex")] == ["undecryptable"] * 2


async def test_columns_beside_the_envelope_prove_nothing(url: str) -> None:
    clock = FakeClock()
    async with open_vault(url, clock=clock) as vault:
        await vault.credentials.create(ALICE, "acme", "openai", secret(), expires_at=NOW + 60)
        async with vault._database.write() as write:
            await write.run("""UPDATE credentials SET hosts = '["evil.example"]', expires_at = NULL, key_id = 'zz'""")
    async with open_vault(url, clock=clock) as vault:
        credential = await vault.credential("acme", "openai", NOW)
        assert credential.hosts == ("api.openai.com",)
        clock.advance(60)
        assert await use(vault, now=clock.now()) == "expired"


async def test_an_entry_that_no_key_opens_is_a_state(url: str) -> None:
    async with open_vault(url, "lost") as vault:
        made = await vault.credentials.create(ALICE, "acme", "openai", secret())
    async with open_vault(url, "new") as vault:
        [listed] = await vault.credentials.list("acme")
        assert listed == replace(made, state=State.UNDECRYPTABLE)
        assert [fact.state for fact in vault.expiries()] == [State.UNDECRYPTABLE]
        assert await use(vault) == "undecryptable"
        with pytest.raises(Undecryptable):
            await vault.credentials.update(ALICE, "acme", made.id, Change(hosts=("a.example",)))
        assert await vault.credentials.rewrap(ALICE) == Rewrapped(0, 0, 1)
        await vault.credentials.rotate(ALICE, "acme", made.id, secret(OTHER_KEY))
        assert await use(vault) == f"Bearer {OTHER_KEY}"


async def test_a_new_key_for_a_lost_entry_does_not_take_its_unproven_hosts(url: str) -> None:
    async with open_vault(url, "lost") as vault:
        made = await vault.credentials.create(ALICE, "acme", "openai", secret())
        async with vault._database.write() as write:
            await write.run("""UPDATE credentials SET hosts = '["evil.example"]'""")
    async with open_vault(url, "new") as vault:
        rotated = await vault.credentials.rotate(ALICE, "acme", made.id, secret(OTHER_KEY))
        assert rotated.hosts == ("api.openai.com",)


async def test_rewrap_seals_under_the_new_master_while_keys_are_used(url: str) -> None:
    async with open_vault(url, "old") as vault:
        for i in range(3):
            await vault.credentials.create(ALICE, f"org{i}", "openai", secret())
    async with open_vault(url, "new", "old") as vault:
        await vault.credential("org0", "openai", NOW)
        using = asyncio.create_task(_keep_using(vault, 30))
        assert await vault.credentials.rewrap(ALICE) == Rewrapped(3, 0, 0)
        assert await vault.credentials.rewrap(ALICE) == Rewrapped(0, 3, 0)
        assert set(await using) == {f"Bearer {OPENAI_KEY}"}
    async with open_vault(url, "new") as vault:
        assert [await use(vault, f"org{i}") for i in range(3)] == [f"Bearer {OPENAI_KEY}"] * 3
        assert {row.state for row in await vault.credentials.list(None)} == {State.ACTIVE}


async def _keep_using(vault: Vault, times: int) -> list[str]:
    used = []
    for _ in range(times):
        used.append(await use(vault, "org0"))
        await asyncio.sleep(0.001)
    return used


async def test_a_rewrap_that_was_cut_off_goes_on_where_it_was(url: str) -> None:
    async with open_vault(url, "old") as vault:
        for i in range(3):
            await vault.credentials.create(ALICE, f"org{i}", "openai", secret())
    async with open_vault(url, "new", "old") as vault:
        rewrap = asyncio.create_task(vault.credentials.rewrap(ALICE))
        for _ in range(1000):
            if any(row.version == 2 for row in await vault.credentials.list(None)):
                break
        rewrap.cancel()
        await asyncio.gather(rewrap, return_exceptions=True)
        done = sum(row.version == 2 for row in await vault.credentials.list(None))
        assert await vault.credentials.rewrap(ALICE) == Rewrapped(3 - done, done, 0)
        assert (await vault.verify_audit()).faults == ()


async def test_fifty_first_requests_derive_and_read_once(url: str) -> None:
    async with open_vault(url) as vault:
        await vault.credentials.create(ALICE, "acme", "openai", secret())
    async with open_vault(url) as vault:
        got = await asyncio.gather(*(vault.credential("acme", "openai", NOW) for _ in range(50)))
        assert {id(credential) for credential in got} == {id(got[0])}
        assert vault._keys.derivations == 1
        for _ in range(50):
            assert vault.cached("acme", "openai", NOW) is got[0]
        assert vault._keys.derivations == 1


async def test_one_waiter_that_leaves_takes_nothing_along(url: str) -> None:
    async with open_vault(url) as vault:
        await vault.credentials.create(ALICE, "acme", "openai", secret())
        leaves, stays = (asyncio.create_task(vault.credential("acme", "openai", NOW)) for _ in range(2))
        await asyncio.sleep(0)
        leaves.cancel()
        assert (await stays).value.reveal() == f"Bearer {OPENAI_KEY}"


async def test_keys_go_on_through_an_outage_until_their_time(postgres_server: Postgres) -> None:
    url = await asyncio.to_thread(postgres_server.database)
    clock = FakeClock()
    async with open_vault(url, clock=clock) as vault:
        vault._database._wait = 2.0
        made = await vault.credentials.create(ALICE, "acme", "openai", secret())
        await vault.credential("acme", "openai", NOW)
        await asyncio.to_thread(postgres_server.stop)
        try:
            with pytest.raises(StoreUnavailable):
                await vault.credentials.delete(ALICE, "acme", made.id)
            with pytest.raises(StoreUnavailable):
                await vault.credential("globex", "openai", NOW)
            clock.advance(299)
            assert vault.cached("acme", "openai", clock.now()) is not None
            clock.advance(1)
            assert vault.cached("acme", "openai", clock.now()) is None
            with pytest.raises(StoreUnavailable):
                await vault.credential("acme", "openai", clock.now())
        finally:
            await asyncio.to_thread(postgres_server.start)
        assert await use(vault, now=clock.now()) == f"Bearer {OPENAI_KEY}"


async def test_erasing_an_organization_leaves_the_others(url: str) -> None:
    events = Recorder()
    async with open_vault(url, events=events) as vault:
        await vault.credentials.create(ALICE, "acme", "openai", secret())
        await vault.credentials.create(ALICE, "globex", "openai", secret(OTHER_KEY))
        await vault.handles.create(ALICE, "acme", "openai", expires_at=NOW + 60)
        gone = await vault.credentials.erase(ALICE, "acme")
        assert gone == {"credentials": 1, "handles": 1, "revoked_sessions": 0}
        assert await use(vault, "acme") == "missing"
        assert await vault.handles.list("acme") == []
        assert await use(vault, "globex") == f"Bearer {OTHER_KEY}"
    assert events.names()[-1] == "DATA_ERASED"


async def test_import_takes_what_the_environment_has_and_keeps_what_is_there(tmp_path) -> None:
    (tmp_path / "stripe").write_text(STRIPE_KEY + "\n")
    variables = {
        "OPENAI_API_KEY": OPENAI_KEY,
        "STRIPE_SECRET_KEY_FILE": str(tmp_path / "stripe"),
        "ZENDESK_API_TOKEN": "abcdefghij0123456789",
        "ZENDESK_EMAIL": "agent@example.com",
        "ZENDESK_SUBDOMAIN": "acme",
        "INTERCOM_ACCESS_TOKEN": "dG9rOjAxMjM0NTY3ODk=",
        "ANTHROPIC_API_KEY": "not one",
        "PATH": "/bin",
    }
    async with open_vault("sqlite://") as vault:
        done = await vault.credentials.import_env(ALICE, "acme", variables)
        assert [(one.variable, bool(one.credential)) for one in done] == [
            ("OPENAI_API_KEY", True),
            ("ANTHROPIC_API_KEY", False),
            ("STRIPE_SECRET_KEY", True),
            ("ZENDESK_API_TOKEN", True),
            ("INTERCOM_ACCESS_TOKEN", True),
        ]
        zendesk = await vault.credential("acme", "zendesk", NOW)
        assert zendesk.value.reveal().startswith("Basic ")
        assert zendesk.hosts == ("acme.zendesk.com",)
        assert "abcdefghij0123456789" in [known.reveal() for known in vault.known_secrets().secrets]
        again = await vault.credentials.import_env(ALICE, "acme", {"OPENAI_API_KEY": OTHER_KEY})
        assert [(one.credential, one.note) for one in again] == [("", "is stored already; left as it is")]
        assert await use(vault) == f"Bearer {OPENAI_KEY}"


async def test_a_catalogue_of_a_reloaded_policy_is_used_from_then_on() -> None:
    async with open_vault("sqlite://") as vault:
        await vault.credentials.create(ALICE, "acme", "local", secret("0123456789abcdef"))
        assert (await vault.credential("acme", "local", NOW)).header == "X-Key"
        vault.use_catalogue(type(catalogue()).load({"local": {"header": "X-Other", "hosts": ["localhost"]}}))
        credential = await vault.credential("acme", "local", NOW)
        assert (credential.header, credential.value.reveal()) == ("X-Other", "Bearer 0123456789abcdef")
        assert vault._keys.derivations == 1
        vault.use_catalogue(type(catalogue()).load())
        assert [known.reveal() for known in vault.known_secrets().secrets] == ["0123456789abcdef"]
        assert await use(vault, provider="local") == "unknown provider"
        vault.use_catalogue(catalogue())
        assert await use(vault, provider="local") == "0123456789abcdef"


async def test_a_table_written_by_another_program_breaks_nothing(url: str) -> None:
    async with open_vault(url) as vault:
        await vault.credentials.create(ALICE, "acme", "openai", secret())
        async with vault._database.write() as write:
            await write.run("UPDATE credentials SET envelope = 'scv2:AAAA', hosts = 'nonsense', key_id = ''")
    async with open_vault(url) as vault:
        [listed] = await vault.credentials.list("acme")
        assert (listed.state, listed.hosts) == (State.UNDECRYPTABLE, ())
        assert await use(vault) == "undecryptable"
