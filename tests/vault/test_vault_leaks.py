"""Marked secrets through a whole life, then a search for them wherever anything is written or shown."""

from __future__ import annotations

import asyncio
import json
import logging
import pickle
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from sidecar.errors import SidecarError
from sidecar.secret import Secret
from sidecar.vault.audit import as_json
from sidecar.vault.credential_test import Answer
from sidecar.vault.encodings import spellings
from sidecar.vault.keys import MasterKeys
from sidecar.vault.models import Change
from sidecar.vault.vault import Vault
from tests.support.clock import FakeClock
from tests.support.exchanges import Recorder
from tests.support.vaults import ALICE, catalogue

MARKED = {
    "first": "sk-MARKEDfirst0123456789abcdefghijklmn",
    "second": "sk-MARKEDsecond0123456789abcdefghijkl",
    "refused": "MARKED-not-the-shape-of-a-key-4711",
    "zendesk": "agent@example.com/token:MARKEDzendesk0123456789",
    "master": "MARKED-master-secret-of-this-test-0123456789",
    "jwt": "MARKED-token-secret-of-this-test-9876543210",
}
NOW = FakeClock().now()


async def life(vault: Vault, shown: list[Any]) -> str:
    """Do everything once, keep all that is returned or raised, return the text of a handle."""

    async def tried(step: Any) -> Any:
        try:
            result = await step
        except SidecarError as error:
            shown.append("".join(traceback.format_exception(error)))
            return None
        shown.append(result)
        return result

    async def echoing(_url: str, headers: Any) -> Answer:
        return Answer(401, json.dumps(dict(headers)).encode())

    async def refusing(_url: str, _headers: Any) -> Answer:
        return Answer(401, b"")

    async def breaking(_url: str, headers: Any) -> Answer:
        raise OSError(f"cannot send {headers}")

    book = vault.credentials
    made = await tried(book.create(ALICE, "acme", "openai", Secret(MARKED["first"])))
    await tried(book.create(ALICE, "acme", "openai", Secret(MARKED["second"])))
    await tried(book.create(ALICE, "acme", "openai", Secret(MARKED["refused"])))
    await tried(book.create(ALICE, "acme", "openai", Secret(MARKED["first"]), hosts=[MARKED["first"] + " "]))
    await tried(book.create(ALICE, "acme", "zendesk", Secret(MARKED["zendesk"]), hosts=["acme.zendesk.com"]))
    await tried(
        book.import_env(ALICE, "globex", {"OPENAI_API_KEY": MARKED["second"], "STRIPE_SECRET_KEY": MARKED["refused"]})
    )
    for fetch in (echoing, refusing, breaking):
        await tried(book.test(ALICE, "acme", "openai", Secret(MARKED["second"]), fetch=fetch))
        await tried(book.test_stored(ALICE, "acme", made.id, fetch=fetch))
    shown.append(await vault.credential("acme", "openai", NOW))
    shown.append(await vault.credential("acme", "zendesk", NOW))
    await tried(book.update(ALICE, "acme", made.id, Change(hosts=("a.example",))))
    await tried(book.rotate(ALICE, "acme", made.id, Secret(MARKED["second"])))
    await tried(book.rewrap(ALICE))
    token, handle = await vault.handles.create(ALICE, "acme", "openai", expires_at=NOW + 60)
    shown += [token, handle, vault.known_secrets(), vault.expiries(), vault, vault._keys, vault._opened]
    await tried(vault.handles.resolve(token.reveal(), "stripe", NOW))
    await tried(vault.handles.resolve(token.reveal() + "x", "openai", NOW))
    await tried(book.list(None))
    await tried(book.delete(ALICE, "acme", made.id))
    async with vault._database.write() as write:
        await write.run("UPDATE credentials SET envelope = 'scv2:spoiled'")
    await tried(vault.credential("acme", "zendesk", NOW))
    return token.reveal()


def contents(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir() if path.name.startswith("vault.db"))


async def test_a_marked_secret_is_found_nowhere(
    url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    clock, events, shown = FakeClock(), Recorder(), []
    keys = await MasterKeys.derive(
        clock, encryption_key=Secret(MARKED["master"]), jwt_secret=Secret(MARKED["jwt"]), iterations=100_000
    )
    vault = await Vault.open(url, keys, catalogue(), clock=clock, events=events, poll=0.01)
    token = await life(vault, shown)
    await asyncio.sleep(0.05)
    rows = [
        str(row)
        for table in ("credentials", "handles", "revoked_sessions", "audit", "state")
        for row in await vault._database.rows(f"SELECT * FROM {table}")
    ]
    audit = [json.dumps(as_json(row)) async for row in vault.audit.rows()]
    files = contents(tmp_path)
    await vault.close()
    files += contents(tmp_path)
    out, err = capfd.readouterr()
    places = {
        "what is returned or raised": "\n".join(map(repr, shown)) + "\n".join(map(str, shown)),
        "events": "\n".join(str(asdict(event)) for event in events.events),
        "rows": "\n".join(rows),
        "audit": "\n".join(audit),
        "files": files,
        "logs": caplog.text,
        "output": out + err,
    }
    assert len(audit) > 10
    assert len(events.events) > 10
    for name, secret in {**MARKED, "handle": token}.items():
        for place, content in places.items():
            data = content if isinstance(content, bytes) else content.encode("utf-8", "replace")
            for spelling in spellings(secret):
                assert spelling not in data, f"{name} stands in {place}"
    # The search itself works: what is meant to be seen is seen.
    assert "alice@example.com" in places["audit"]
    assert "alice@example.com" in places["rows"]


def test_what_was_deleted_does_not_stay_in_the_file(tmp_path: Path) -> None:
    """The envelope too: who gets the file later must not find what was deleted before."""

    async def lived() -> str:
        clock = FakeClock()
        from tests.support.vaults import OPENAI_KEY, open_vault

        async with open_vault(f"sqlite:///{tmp_path}/vault.db", clock=clock) as vault:
            made = await vault.credentials.create(ALICE, "acme", "openai", Secret(OPENAI_KEY))
            [row] = await vault._store.every()
            await vault.credentials.delete(ALICE, "acme", made.id)
            return row.envelope

    envelope = asyncio.run(lived())
    files = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"credential.create" in files
    assert envelope.encode() not in files


def test_a_credential_does_not_pickle() -> None:
    from sidecar.vault.models import Credential

    credential = Credential("crd", "acme", "openai", "default", "Authorization", Secret("MARKED"), (), None)
    with pytest.raises(TypeError):
        pickle.dumps(credential)
    assert "MARKED" not in repr(credential)
