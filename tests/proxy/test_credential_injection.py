"""Whose key goes where: from a real vault, to sealed hosts, never in clear over a network."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path

import pytest

from sidecar.exchange import Exchange
from sidecar.head import Fields
from sidecar.policy.policy import BackendTarget, Injection
from sidecar.proxy.credential_injection import VaultKeys
from sidecar.session import Session
from sidecar.vault.errors import HandleRefused
from sidecar.vault.vault import Vault
from tests.support.clock import FakeClock
from tests.support.exchanges import exchange
from tests.support.vaults import ALICE, OPENAI_KEY, OTHER_KEY, open_vault, secret

HEADER = Injection("openai", "header")
SEALED = Injection("openai", "header", sealed=True)
HANDLE = Injection("openai", "handle", ttl=60)
PUT = [(b"Authorization", b"Bearer " + OPENAI_KEY.encode())]


@pytest.fixture
async def vault(tmp_path: Path) -> AsyncIterator[Vault]:
    clock = FakeClock()
    async with open_vault(f"sqlite:///{tmp_path}/vault.db", clock=clock) as opened:
        hosts = ("api.openai.com", "internal.example.com:8080")
        await opened.credentials.create(ALICE, "acme", "openai", secret(OTHER_KEY), name="older", hosts=hosts)
        clock.advance(1)
        await opened.credentials.create(ALICE, "acme", "openai", secret(), name="newer", hosts=hosts)
        yield opened


def to(url: str) -> BackendTarget:
    scheme, _, rest = url.partition("://")
    host, _, port = rest.partition(":")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if scheme == "https" else None
    local = host in ("127.0.0.1", "localhost")
    return BackendTarget(host, int(port), tls, host, rest.encode(), True, 1, 1, 1, 1, local)


OPENAI = "https://api.openai.com:443"


def asked(organization: str = "acme") -> Exchange:
    made = exchange("POST", "/api/chat", now=FakeClock().now())
    made.organization = organization
    return made


async def fields(vault: Vault | None, injection: Injection, url: str, of: Exchange | None = None) -> Fields | None:
    found = VaultKeys(vault).fields(of or asked(), injection, to(url))
    return await found if isinstance(found, Awaitable) else found


@pytest.mark.parametrize(
    ("injection", "url", "put"),
    [
        pytest.param(HEADER, "https://api.openai.com:443", True, id="a-sealed-host"),
        pytest.param(HEADER, "https://api.openai.com:8443", False, id="another-port"),
        pytest.param(HEADER, "https://evil.example.com:443", False, id="another-host"),
        pytest.param(HEADER, "http://127.0.0.1:3001", True, id="the-backend-beside-us"),
        pytest.param(SEALED, "http://127.0.0.1:3001", False, id="egress-to-this-machine"),
        pytest.param(SEALED, "https://api.openai.com:443", True, id="egress-to-a-sealed-host"),
        pytest.param(SEALED, "https://evil.example.com:443", False, id="egress-to-another"),
        pytest.param(HEADER, "http://internal.example.com:8080", False, id="in-clear-over-a-network"),
        pytest.param(SEALED, "http://internal.example.com:8080", False, id="egress-in-clear"),
    ],
)
async def test_where_a_key_may_go(vault: Vault, injection: Injection, url: str, put: bool):
    for _ in range(2):  # from the database, and from memory
        assert await fields(vault, injection, url) == (PUT if put else None)


async def test_a_credential_may_be_named(vault: Vault):
    named = Injection("openai", "header", name="older")
    assert await fields(vault, named, "https://api.openai.com:443") == [
        (b"Authorization", b"Bearer " + OTHER_KEY.encode())
    ]


@pytest.mark.parametrize(
    ("organization", "injection", "url", "reason"),
    [
        pytest.param("globex", HEADER, OPENAI, "missing", id="another-organization"),
        pytest.param("acme", Injection("anthropic", "header"), OPENAI, "missing", id="another-provider"),
        pytest.param("acme", Injection("openai", "header", name="none"), OPENAI, "missing", id="another-name"),
        pytest.param("acme", Injection("nobody", "handle"), OPENAI, "invalid", id="a-handle-of-no-provider"),
        pytest.param("a" * 300, HANDLE, OPENAI, "invalid", id="a-name-that-no-handle-holds"),
        pytest.param("acme", HEADER, "https://evil.example.com:443", "host_not_sealed", id="another-host"),
    ],
)
async def test_without_a_key_nothing_is_put_and_why_is_known(
    vault: Vault, organization: str, injection: Injection, url: str, reason: str
):
    made = asked(organization)
    assert await fields(vault, injection, url, made) is None
    assert made.key_fault == reason


async def test_without_a_vault_nothing_is_put():
    assert await fields(None, HEADER, "https://api.openai.com:443") is None
    assert await fields(None, HANDLE, "https://api.openai.com:443") is None


@pytest.mark.parametrize("has_session", [True, False])
async def test_a_handle_is_bound_to_the_request(vault: Vault, has_session: bool):
    made = asked()
    made.session_key = "c" * 64  # what a client presents is not what it has
    if has_session:
        made.session = Session("d" * 64, "acme", made.now, made.now, "")
    [(name, value)] = await fields(vault, HANDLE, "http://10.0.0.9:3001", made) or []
    assert name == b"Authorization"
    token = value.decode().removeprefix("Bearer ")
    grant = await vault.handles.resolve(token, "openai", made.now + 59)
    assert (grant.organization, grant.provider, grant.session) == ("acme", "openai", "d" * 64 if has_session else "")
    assert grant.expires_at == int(made.now + 60)


async def test_a_handle_does_not_outlive_its_session(vault: Vault):
    made = asked()
    made.session = Session("d" * 64, "acme", made.now, made.now, "", "", made.now + 20)
    [(_, value)] = await fields(vault, HANDLE, "http://10.0.0.9:3001", made) or []
    token = value.decode().removeprefix("Bearer ")
    assert (await vault.handles.resolve(token, "openai", made.now + 19)).expires_at == made.now + 20
    with pytest.raises(HandleRefused):
        await vault.handles.resolve(token, "openai", made.now + 20)
