"""Key sets over HTTP and from files: fresh, bounded, and only from where they may come."""

from __future__ import annotations

import asyncio
import json

import pytest
from aiohttp import web
from joserfc.jwk import ECKey

from sidecar.admin.jwks import MAX_BYTES, PAUSE, KeySet, KeySetError, from_file, from_url, parse_keys
from sidecar.clock import SystemClock
from sidecar.errors import ConfigError
from tests.support.clock import FakeClock

FIRST = ECKey.generate_key("P-256", parameters={"kid": "first"})
SECOND = ECKey.generate_key("P-256", parameters={"kid": "second"})


def document(*keys):
    return json.dumps({"keys": [key.as_dict(private=False) for key in keys]}).encode()


@pytest.fixture
async def issuer():
    """A key set's server that answers what a test says, and counts."""
    state = {"body": document(FIRST), "status": 200, "headers": {}, "asked": 0}

    async def answer(request):
        state["asked"] += 1
        if request.path == "/elsewhere":
            return web.Response(body=document(SECOND))
        return web.Response(body=state["body"], status=state["status"], headers=state["headers"])

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    state["url"] = f"http://127.0.0.1:{runner.addresses[0][1]}/jwks.json"
    yield state
    await runner.cleanup()


async def test_a_rotated_key_is_found_when_a_token_names_it(issuer):
    clock = FakeClock()
    keys = KeySet(from_url(issuer["url"]), clock)
    assert await keys.renew()
    assert len(keys.find("first", "EC")) == 1
    assert not keys.find("second", "EC")
    issuer["body"] = document(SECOND)
    assert not await keys.renew(), "made-up key ids do not make us ask each time"
    clock.advance(PAUSE)
    assert await keys.renew()
    assert keys.find("second", "EC")
    assert not keys.find("first", "EC"), "what the issuer took back signs nothing any more"
    assert issuer["asked"] == 2


async def test_many_at_once_ask_once(issuer):
    keys = KeySet(from_url(issuer["url"]), FakeClock())
    assert sum(await asyncio.gather(*[keys.renew() for _ in range(20)])) == 1
    assert issuer["asked"] == 1


BROKEN = {
    "an error": {"status": 500},
    "a redirect": {"status": 302, "headers": {"Location": "/elsewhere"}},
    "no JSON": {"body": b"<html>"},
    "JSON of another kind": {"body": b"[]"},
    "keys that are no list": {"body": b'{"keys": {}}'},
    "too much": {"body": b'{"keys": [' + b" " * MAX_BYTES + b"]}"},
}


@pytest.mark.parametrize("change", BROKEN.values(), ids=BROKEN)
async def test_a_broken_answer_leaves_the_old_keys_for_an_hour(issuer, change, caplog):
    clock = FakeClock()
    keys = KeySet(from_url(issuer["url"]), clock, refresh=600.0, keep=3600.0)
    await keys.renew()
    issuer.update(change)
    for _ in range(2):
        clock.advance(PAUSE)
        assert not await keys.renew()
    assert len([line for line in caplog.messages if "key set" in line]) == 1, "told once, not each time"
    assert keys.find("first", "EC")
    clock.advance(4300.0)
    assert not keys.find("first", "EC")


async def test_an_unreachable_server_means_no_keys():
    keys = KeySet(from_url("http://127.0.0.1:9/"), FakeClock())
    assert not await keys.renew()
    assert not keys.find(None, "EC")


async def test_it_keeps_itself_fresh_and_hurries_for_an_unknown_key(issuer, monkeypatch):
    monkeypatch.setattr("sidecar.admin.jwks.PAUSE", 0.05)
    keys = KeySet(from_url(issuer["url"]), SystemClock(), refresh=600.0)
    task = asyncio.create_task(keys.keep_fresh())

    async def found(kid):
        async with asyncio.timeout(5):
            while not keys.find(kid, "EC"):  # noqa: ASYNC110  it happens on the other side of a socket
                await asyncio.sleep(0.01)

    await found("first")
    issuer["body"] = document(SECOND)
    await found("second")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert issuer["asked"] < 10


REFUSED = [
    "http://login.example.com/jwks.json",
    "http://192.0.2.1/jwks.json",
    "http://localhost.example.com/",
    "ftp://localhost/jwks.json",
    "file:///etc/passwd",
    "https://user:password@login.example.com/",
    "https:///jwks.json",
]


@pytest.mark.parametrize("url", REFUSED)
def test_plain_http_is_for_this_machine_only(url):
    with pytest.raises(ConfigError):
        from_url(url)


@pytest.mark.parametrize(
    "url", ["https://login.example.com/k", "http://localhost:8/", "http://[::1]:8/", "http://127.1.2.3/"]
)
def test_places_a_key_set_may_come_from(url):
    assert from_url(url)


async def test_a_file_is_read_anew(tmp_path):
    path, clock = tmp_path / "jwks.json", FakeClock()
    path.write_bytes(document(FIRST))
    keys = KeySet(from_file(path), clock)
    await keys.renew()
    path.write_bytes(document(FIRST, SECOND))
    clock.advance(PAUSE)
    await keys.renew()
    assert len(keys.find(None, "EC")) == 2


async def test_a_file_that_is_missing_or_too_large(tmp_path):
    with pytest.raises(KeySetError, match="No such file"):
        await from_file(tmp_path / "none.json")()
    (tmp_path / "large.json").write_bytes(b" " * (MAX_BYTES + 1))
    with pytest.raises(KeySetError, match="larger"):
        await from_file(tmp_path / "large.json")()


def test_there_is_a_bound_to_keys():
    one = FIRST.as_dict(private=False)
    found = parse_keys(json.dumps({"keys": [{**one, "kid": str(n)} for n in range(500)]}).encode())
    assert len(found["EC"]) == 64


async def test_a_set_without_a_usable_key_is_told_once(tmp_path, caplog):
    path, clock = tmp_path / "jwks.json", FakeClock()
    path.write_text(json.dumps({"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB"}, {"kty": "oct", "k": "a"}]}))
    keys = KeySet(from_file(path), clock)
    for _ in range(3):
        await keys.renew()
        clock.advance(PAUSE)
    assert [record.getMessage() for record in caplog.records] == [
        "the key set holds no key for RS256, ES256 or EdDSA: every token of it is refused"
    ]
