"""Test a key at its provider: a made-up key first, then, if the host did not repeat it, the real one.

A host that repeats a made-up key in its response would also write the real one to its logs; it does
not get it. A host that accepts the made-up key says nothing about the real one.
"""

from __future__ import annotations

import asyncio
import http.client
import re
import secrets
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from sidecar.secret import Secret
from sidecar.vault.allowed_hosts import allows
from sidecar.vault.encodings import echoes
from sidecar.vault.errors import Invalid, ProbeFailed
from sidecar.vault.providers import Provider, Trial

MAX_BYTES: Final = 256 * 1024
TIMEOUT: Final = 10.0
# `sk-`, `gsk_`, `AIza`: the provider's prefix, or the user before a password. The rest is random.
_PUBLIC: Final = re.compile(r"[^:]*:|[A-Za-z]{1,4}[-_]|AIza")
_ALPHABET: Final = "abcdefghijkmnpqrstuvwxyz23456789"
LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Answer:
    """A provider's response: the status, and the head and body as far as they were read."""

    status: int
    seen: bytes


Fetch: TypeAlias = Callable[[str, Mapping[str, str]], Awaitable[Answer]]
"""GET a URL with headers: no redirects, TLS verified, bytes and time bounded; OSError when it fails."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the provider took the key; `status` is its answer, 0 when there was none."""

    valid: bool
    status: int
    message: str


async def probe(
    provider: Provider, value: Secret, hosts: tuple[str, ...], *, url: str | None = None, fetch: Fetch | None = None
) -> Verdict:
    """Return the provider's verdict, or raise ProbeFailed when the key must not or cannot be sent.

    `url` replaces the provider's own (a gateway, a host per customer); it must be one of `hosts`.
    """
    trial = provider.test
    if trial is None:
        raise ProbeFailed(f"{provider.name} has no test request")
    base = _base(provider, hosts, url)
    get = fetch or _fetch
    canary = _canary(value.reveal())
    said = await _ask(get, base, provider, trial, canary)
    if echoes(said.seen, canary):
        raise ProbeFailed("the host answers with the key that it is sent; the real key was not sent to it")
    if said.status in trial.accepted:
        raise ProbeFailed("the host accepts any key; the real key was not sent to it")
    if trial.client == "openai" and fetch is None:
        status = await _openai(base, value)
    else:
        status = (await _ask(get, base, provider, trial, value.reveal())).status
    if status in trial.accepted:
        return Verdict(True, status, f"{provider.name} accepts this key")
    return Verdict(False, status, f"{provider.name} does not accept this key (status {status})")


def _base(provider: Provider, hosts: tuple[str, ...], url: str | None) -> str:
    """Return where to ask; it must be a place that the key may go to, over TLS."""
    concrete = next((host for host in hosts if not host.startswith("*.")), "")
    if url is None and provider.url and allows(hosts, urlsplit(provider.url).hostname or ""):
        url = provider.url
    base = url or (f"https://{concrete}" if concrete else "")
    if not base:
        raise Invalid(f"{provider.name} has a host per customer: say which one")
    try:
        parts = urlsplit(base)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise Invalid("not a URL to test a key at; write https://host") from None
    if parts.scheme != "https" and not (parts.scheme == "http" and host in LOOPBACK):
        raise Invalid("a key is not sent over plain http")
    if parts.username or not allows(hosts, host, port or (443 if parts.scheme == "https" else 80)):
        raise Invalid("this host is not among those that the key may be sent to")
    return base.rstrip("/")


def _canary(value: str) -> str:
    """Return a made-up key of the same make: nothing of the real one but its public beginning and its length."""
    public = _PUBLIC.match(value)
    kept = public.end() if public else 0
    drawn = "".join(secrets.choice(_ALPHABET) if character.isalnum() else character for character in value[kept:])
    return value[:kept] + drawn


async def _ask(get: Fetch, base: str, provider: Provider, trial: Trial, value: str) -> Answer:
    name, text = provider.write_header(value)
    headers = {**trial.headers, name: text, "User-Agent": "sidecar", "Accept": "application/json"}
    try:
        return await get(base + trial.path, headers)
    except (OSError, http.client.HTTPException, TimeoutError) as error:
        raise ProbeFailed(f"{provider.name} could not be asked ({type(error).__name__})") from None


async def _fetch(url: str, headers: Mapping[str, str]) -> Answer:
    async with asyncio.timeout(TIMEOUT):
        return await asyncio.to_thread(_get, url, headers)


def _get(url: str, headers: Mapping[str, str]) -> Answer:
    """GET with the standard library: no redirects, no proxies, the system's certificates."""
    parts = urlsplit(url)
    host, target = parts.hostname or "", parts.path + (f"?{parts.query}" if parts.query else "")
    connection = (
        http.client.HTTPConnection(host, parts.port, timeout=TIMEOUT)
        if parts.scheme == "http"
        else http.client.HTTPSConnection(host, parts.port, timeout=TIMEOUT, context=ssl.create_default_context())
    )
    try:
        connection.request("GET", target, headers=dict(headers))
        answer = connection.getresponse()
        return Answer(answer.status, str(answer.headers).encode() + answer.read(MAX_BYTES))
    finally:
        connection.close()


async def _openai(base: str, value: Secret) -> int:
    """Ask as every OpenAI program does, by the provider's own client; its import costs half a second."""
    return await asyncio.to_thread(_openai_models, base, value)


def _openai_models(base: str, value: Secret) -> int:
    import openai

    # Its own transport would follow a redirect, take the environment's proxies, and trust another set of CAs.
    trusted = ssl.create_default_context()
    transport = openai.DefaultHttpxClient(follow_redirects=False, trust_env=False, timeout=TIMEOUT, verify=trusted)
    client = openai.OpenAI(api_key=value.reveal(), base_url=f"{base}/v1", max_retries=0, http_client=transport)
    try:
        with client:
            return client.models.with_raw_response.list().http_response.status_code
    except openai.APIStatusError as error:
        return error.status_code
    except (openai.OpenAIError, OSError) as error:
        raise ProbeFailed(f"openai could not be asked ({type(error).__name__})") from None
