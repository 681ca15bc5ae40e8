"""aiohttp's client without the system's certificate authorities: nothing is trusted, a context of one's own is."""

from __future__ import annotations

import ssl
import subprocess
import sys

from aiohttp import connector

from tests.support.provider import certificates

PROGRAM = """
import asyncio, ssl, sys
import aiohttp
from aiohttp import connector, web
from sidecar.admin.jwks import KeySetError, from_url
from sidecar.proxy.codec.default_trust import drop_default_trust

async def answer(request):
    return web.json_response({"keys": []})

async def main(certificate, key):
    before = connector._SSL_CONTEXT_VERIFIED.cert_store_stats()["x509_ca"]
    drop_default_trust()
    print(before, connector._SSL_CONTEXT_VERIFIED.cert_store_stats()["x509_ca"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    url = f"https://localhost:{site._server.sockets[0].getsockname()[1]}/"
    async with aiohttp.ClientSession() as session:
        try:
            await session.get(url)
        except aiohttp.ClientConnectorCertificateError:
            print("refused")
    print(await from_url(url)())
    await runner.cleanup()

asyncio.run(main(*sys.argv[1:]))
"""


def test_the_name_that_aiohttp_gives_its_context():
    """Expected by `drop_default_trust`; when an upgrade moves it, nothing is freed any more."""
    assert isinstance(vars(connector).get("_SSL_CONTEXT_VERIFIED"), ssl.SSLContext)


def test_without_authorities_a_client_trusts_nobody_and_key_sets_are_read_all_the_same(tmp_path):
    authority, certificate, key = certificates(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, certificate, key],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={"SSL_CERT_FILE": str(authority), "SSL_CERT_DIR": str(tmp_path / "none")},
    )
    assert done.stdout.splitlines() == ["1 0", "refused", "b'{\"keys\": []}'"]
