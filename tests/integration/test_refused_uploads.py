"""Uploads that are refused while the client is still sending: it reads the refusal, whatever it sends meanwhile."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.backends import Serving
from tests.support.raw import Raw, get
from tests.support.sidecar import Running, threaded

MIB = 1024 * 1024
UPLOAD = """
const [url, size, times] = [process.argv[1], Number(process.argv[2]), Number(process.argv[3])];
const seen = {};
for (let n = 0; n < times; n++) {
  let what;
  try {
    const reply = await fetch(url, {method: "POST", body: new Uint8Array(size)});
    what = `${reply.status} ${(await reply.json()).code}`;
  } catch (error) { what = error.cause?.code ?? String(error); }
  seen[what] = (seen[what] ?? 0) + 1;
}
console.log(JSON.stringify(seen));
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory):
    folder: Path = tmp_path_factory.mktemp("uploads")
    routes = [
        {"name": "chat", "match": {"path": "/api/chat"}, "message": {"fields": ["$.message"]}},
        {"name": "upload", "match": {"path": "/upload"}},
    ]
    with Serving() as backend, threaded(folder, backend.url, routes=routes) as running:
        yield running


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node")
@pytest.mark.parametrize("path", ["/upload", "/api/chat"])
def test_nodes_fetch_reads_every_refusal(running: Running, path: str):
    command = [
        "node",
        "--input-type=module",
        "-e",
        UPLOAD,
        f"http://127.0.0.1:{running.public}{path}",
        str(5 * MIB),
        "30",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert json.loads(done.stdout) == {"413 BODY_TOO_LARGE": 30}


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl_reads_every_refusal(running: Running, tmp_path: Path):
    (tmp_path / "body").write_bytes(bytes(5 * MIB))
    command = [
        "curl",
        "-sS",
        "-H",
        "Expect:",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        "--data-binary",
        f"@{tmp_path}/body",
    ]
    for _ in range(5):
        done = subprocess.run(
            [*command, f"http://127.0.0.1:{running.public}/upload"],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert (done.stdout, done.stderr) == ("413", "")


def sends(client: Raw, pieces: int) -> int:
    """Return the bytes that are taken until the other side has had enough."""
    for number in range(pieces):
        try:
            client.send(bytes(MIB))
        except OSError:
            return number * MIB
    return pieces * MIB


def uploading(running: Running) -> Raw:
    client = running.connect()
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
    return client.send(get("/upload", f"Content-Length: {1 << 40}", method="POST"))


def test_a_client_that_never_ends_is_not_read_for_ever(running: Running):
    with uploading(running) as client:
        assert client.response().status == 413
        began = time.monotonic()
        assert sends(client, 512) < 512 * MIB
        assert time.monotonic() - began < 20


def test_a_client_that_reads_and_falls_silent_is_let_go(running: Running):
    with uploading(running) as client:
        assert client.response().status == 413
        assert client.ended(within=10)


def test_many_that_linger_are_bounded(running: Running):
    clients = [uploading(running) for _ in range(40)]
    try:
        for client in clients:
            assert client.response().status == 413
        # All but a few of one client are closed at once: what they send meets a reset.
        time.sleep(0.2)
        closed = 0
        for client in clients:
            try:
                client.send(bytes(1024))
                time.sleep(0.01)
                client.send(bytes(1024))
            except OSError:
                closed += 1
        assert closed >= 20
    finally:
        for client in clients:
            client.close()
