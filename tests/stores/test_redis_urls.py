"""Every kind of REDIS_URL against the real thing: ACL users, TLS, sentinels, a cluster."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sidecar.budget import Budget, BudgetPer, Claim, Unit
from sidecar.clock import SystemClock
from sidecar.errors import ConfigError
from sidecar.limit import Ask, Limit, Per, Takes
from sidecar.revoked import Cause, Revoked, SubjectKind
from sidecar.secret import Secret
from sidecar.session import Session, key_of, seal_of
from sidecar.stores.factory import Stores, open_stores
from sidecar.stores.interfaces import Erased
from sidecar.stores.redis_urls import parse_redis_url
from tests.support.exchanges import Recorder
from tests.support.redis import RedisServer, cluster, free_port, ports, redis_server, sentinels

OWN = Limit("own", Per.IP, 20, 600.0)
ORG = Limit("org", Per.ORGANIZATION, 30, 600.0)


async def take(stores: Stores, *asks: Ask) -> Takes:
    takes = stores.rates.take(asks, time.monotonic())
    return takes if isinstance(takes, tuple) else await takes


async def passed(stores: Stores, subject: str, times: int) -> int:
    asks = (Ask(OWN, subject), Ask(ORG, "all"))
    return sum([all(t.allowed for t in await take(stores, *asks)) for _ in range(times)])


async def until(happens: Callable[[], bool], seconds: float = 15.0) -> None:
    end = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < end, "waited in vain"
        await asyncio.sleep(0.02)


def stores_at(url: str, recorder: Recorder) -> Stores:
    return open_stores(Secret(url), clock=SystemClock(), events=recorder)


async def test_acl_user_and_database() -> None:
    with redis_server() as server:
        rights = re.search(r"`(~sidecar\*[^`]*)`", (Path(__file__).parents[2] / "docs" / "limits.md").read_text())
        assert rights is not None
        server.cli("acl", "setuser", "guard", "on", ">p@ss:w/ord", *rights[1].split())
        server.cli("acl", "setuser", "default", "off")
        for login, up in (("guard:p%40ss%3Aw%2Ford@", True), ("guard:wrong@", False), ("", False)):
            recorder = Recorder()
            stores = stores_at(f"redis://{login}127.0.0.1:{server.port}/3", recorder)
            await stores.start()
            assert stores.states() == {"redis": up}
            assert await passed(stores, login, 3) == 3
            assert "wrong" not in repr(recorder.events)
            if up:
                await use_all(stores)
                assert stores.states() == {"redis": True}, recorder.events
            await stores.close()


async def use_all(stores: Stores) -> None:
    """Send every command that there is."""
    now = time.time()
    assert await stores.rates.reset("ip", "guard:p%40ss%3Aw%2Ford@") == 1
    made = Session(key_of("id"), "acme", now, now, "127.0.0.0/24", "127.0.0.1", now + 60)
    await stores.sessions.create(made, seal_of("id"), 60.0)
    await stores.sessions.touch(made.key, now, 60.0)
    assert await stores.sessions.get(made.key, seal_of("id"), now) == made
    await stores.sessions.own("thread", made.key, 60.0, now)
    assert await stores.sessions.owner("thread", now) == made.key
    assert await stores.sessions.move(made.key, key_of("new"), now) == 1
    assert await stores.sessions.count(now) == 1
    assert await stores.sessions.counts(None, now, 5) == {"acme": 1}
    (found,) = (await stores.sessions.search(made.key[:8], None, now, 5)).sessions
    assert (found.key, found.organization) == (made.key, "acme")
    assert [each.key for each in (await stores.sessions.some("acme", now, 5)).sessions] == [made.key]
    budget = Budget("day", BudgetPer.ORGANIZATION, Unit.TOKENS, 1000, 86_400.0)
    claimed = stores.budgets.claim([Claim(budget, "acme", 100, spend=50, bound=False)], "holder", 30.0, now)
    assert not isinstance(claimed, tuple), "Redis was asked"
    assert (await claimed)[0].left == 850
    (standing,) = await stores.budgets.look([budget], "acme", now)
    assert (standing.used, standing.held) == (50, 100)
    assert await stores.budgets.forget([budget], "acme") == 1
    assert await stores.sessions.cleanup(now) == 0
    assert await stores.sessions.erase("organization", "acme") == Erased(1, 0)
    assert not await stores.sessions.delete(made.key)
    stores.bans.strike("203.0.113.8", 1, now)
    await stores.bans.ban("203.0.113.9", now + 60, "by hand")
    await asyncio.sleep(0.7)
    assert await stores.bans.lift("203.0.113.9")
    await asyncio.sleep(0.7)


def certificate(folder: Path) -> tuple[str, str]:
    """Write a certificate for 127.0.0.1 that is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "redis")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "tls.crt", folder / "tls.key"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return str(paths[0]), str(paths[1])


async def test_tls_checks_the_certificate(tmp_path: Path) -> None:
    crt, key = certificate(tmp_path)
    with redis_server() as server:
        server.cli(
            "config",
            "set",
            "tls-cert-file",
            crt,
            "tls-key-file",
            key,
            "tls-ca-cert-file",
            crt,
            "tls-auth-clients",
            "no",
        )

        port = free_port()
        server.cli("config", "set", "tls-port", str(port))
        for query, up in ((f"?ssl_ca_certs={crt}", True), ("", False)):
            stores = stores_at(f"rediss://127.0.0.1:{port}/0{query}", Recorder())
            await stores.start()
            assert stores.states() == {"redis": up}
            assert await passed(stores, "a", 3) == 3
            await stores.close()


async def test_sentinels_fail_over_under_load() -> None:
    with sentinels() as (servers, watchers):
        primary, replica = servers
        recorder = Recorder()
        stores = stores_at(f"redis+sentinel://{ports(watchers)}/mymaster", recorder)
        await stores.start()
        assert stores.states() == {"redis": True}
        assert await passed(stores, "a", 10) == 10
        await until(lambda: replica.cli("exists", "sidecar:r:ip:a") == "1")
        primary.kill()
        count, waits = 10, []
        end = time.monotonic() + 12.0
        while time.monotonic() < end:
            began = time.monotonic()
            count += await passed(stores, "a", 1)
            waits.append(time.monotonic() - began)
            if recorder.names()[-1:] == ["STORE_RECOVERED"]:
                break
            await asyncio.sleep(0.05)
        assert recorder.names() == ["STORE_DEGRADED", "STORE_RECOVERED"]
        assert max(waits) < 0.45
        assert count + await passed(stores, "a", 20) == 20, "not one more than the limit, over both servers"
        assert "role:master" in replica.cli("info", "replication")
        await stores.close()


async def test_a_cluster() -> None:
    with cluster() as nodes:
        recorder = Recorder()
        stores = stores_at(f"redis+cluster://{ports(nodes[:2])}", recorder)
        await stores.start()
        await until(lambda: stores.states()["redis"])
        assert await passed(stores, "a", 25) == 20, "its own limit"
        assert await passed(stores, "b", 25) == 10, "what the organization has left: a's refusals gave theirs back"
        (org,) = await stores.rates.peek([Ask(ORG, "all")], time.monotonic())  # type: ignore[misc]
        assert org.remaining == 0
        assert await passed(stores, "c", 25) == 0
        (own,) = await stores.rates.peek([Ask(OWN, "c")], time.monotonic())  # type: ignore[misc]
        assert own.remaining == 20, "given back"
        subjects = [f"s{number}" for number in range(60)]
        many = await asyncio.gather(*(take(stores, Ask(OWN, subject)) for subject in subjects))
        assert all(takes[0].remaining == 19 for takes in many)
        assert await stores.rates.reset("organization", "all") == 1
        session = Session(key_of("id"), "acme", time.time(), time.time(), "127.0.0.0/24", "127.0.0.1", time.time() + 60)
        await stores.sessions.create(session, seal_of("id"), 60.0)
        assert await stores.sessions.get(session.key, seal_of("id"), time.time()) == session
        assert await stores.sessions.own("thread", session.key, 60.0, time.time()) == session.key
        assert await stores.sessions.erase("ip", "127.0.0.1") == Erased(1, 1)
        await stores.bans.ban("203.0.113.9", time.time() + 60, "by hand")
        await until(
            lambda: any(node.cli("hlen", "sidecar:bans") == "1" for node in nodes if _has(node, "sidecar:bans"))
        )
        other, heard = stores_at(f"redis+cluster://{ports(nodes[1:])}", Recorder()), list[Revoked]()
        other.revoked = heard.append
        await other.start()
        await until(lambda: other.states()["redis"])
        ended = Revoked(SubjectKind.SESSION, session.key, Cause.ENDED, "acme")
        stores.revoke(ended)
        await until(lambda: ended in heard)
        await other.close()
        await until(lambda: stores.replicas() == 1)
        for node in nodes:
            node.kill()
        assert await passed(stores, "d", 25) == 20
        assert not stores.states()["redis"]
        await stores.close()


def _has(node: RedisServer, key: str) -> bool:
    return "MOVED" not in node.cli("exists", key)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://redis:6379", "scheme"),
        ("redis://:hunter2@", "not a URL"),
        ("redis://a:hunter2@host:notaport", "not a URL"),
        ("redis://:hunter2@host/notanumber", "not a URL"),
        ("redis://:hunter2@host/0?retry=9", "not known"),
        ("redis://:hunter2@a,b/0", "one host"),
        ("redis+cluster://:hunter2@a,b/1", "Cluster"),
        ("redis+sentinel://:hunter2@a,b", "service"),
    ],
)
def test_a_wrong_url_is_told_without_its_password(url: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_redis_url(Secret(url))
    assert says in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_urls_are_read() -> None:
    target = parse_redis_url(
        Secret("rediss+sentinel://me:p%40ss@a,[::1]:7000/main/2?sentinel_password=x&ssl_check_hostname=false")
    )
    assert (target.kind, target.hosts, target.tls) == ("sentinel", (("a", 26379), ("::1", 7000)), True)
    assert (target.username, target.service, target.db) == ("me", "main", 2)
    assert target.password == Secret("p@ss")
    assert target.sentinel_password == Secret("x")
    assert target.options == {"ssl_check_hostname": False}
    assert "p@ss" not in repr(target)
