"""A real browser, through a real ingress with its default settings, to a page behind the sidecar."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.backends import Serving, answer
from tests.support.browser import chromium
from tests.support.ingresses import ENVOY, envoy, haproxy, in_front, nginx
from tests.support.processes import free_port
from tests.support.raw import Message, Raw, connect, get
from tests.support.sidecar import Running, threaded

PAGE = b"""<!doctype html><title>chat</title><script>
async function run() {
  const post = await fetch("/api/chat", {method: "POST", headers: {"Content-Type": "application/json"},
    body: JSON.stringify({message: "<b>hi</b>"})});
  const large = await fetch("/upload", {method: "POST", body: new Uint8Array(512 << 10)});
  const events = await (await fetch("/events")).text();
  const gone = await fetch("/next", {redirect: "follow"});
  return [post.status, (await post.json()).heard, large.status, (await large.json()).code, events, gone.url,
          document.cookie];
}
window.outcome = run().catch(error => String(error));
</script>"""


def reply(request: Message) -> bytes:
    path = request.target
    if path == b"/api/chat":
        return answer(b'{"heard": ' + request.body + b"}", content_type="application/json")
    if path == b"/events":
        return answer(
            b"data: one\n\ndata: two\n\n", "Connection: close", content_type="text/event-stream", length=False
        )
    if path == b"/next":
        return answer(b"", "Location: /landed", status="302 Found")
    return answer(PAGE, "Set-Cookie: csrf=1", "Set-Cookie: sid=2", content_type="text/html")


class OneByOne(Serving):
    """Closes after each answer: its event stream ends with the connection."""

    def _serve(self, sock) -> None:
        peer = Raw(sock)
        request = peer.request()
        self.seen.append(request)
        peer.send(self.reply(request))
        sock.close()
        self._open.discard(sock)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Serving]]:
    routes = [
        {"name": "chat", "match": {"path": "/api/chat"}, "message": {"fields": ["$.message"]}},
        {"name": "upload", "match": {"path": "/upload"}, "max_body": "64KiB"},
    ]
    with (
        OneByOne(reply) as backend,
        threaded(
            tmp_path_factory.mktemp("ingress"),
            backend.url,
            routes=routes,
            clients={"trusted_proxies": ["127.0.0.0/8"]},
            cors={"allowed_origins": []},
            security_headers={"preset": "app"},
        ) as running,
    ):
        yield running, backend


INGRESSES = {"nginx": nginx, "haproxy": haproxy, "envoy": envoy}


@pytest.mark.parametrize("name", INGRESSES)
async def test_a_page_works_through_an_ingress(stage: tuple[Running, Serving], tmp_path: Path, name: str):
    if shutil.which(name) is None and not (name == "envoy" and ENVOY.exists()):
        pytest.skip(f"needs {name}")
    running, _ = stage
    with in_front(INGRESSES[name], tmp_path / name, running.public) as port:
        async with chromium() as browser:
            page = await browser.new_page()
            await page.goto(f"http://127.0.0.1:{port}/")
            outcome = await page.evaluate("window.outcome")
    assert outcome == [
        200,
        {"message": "&lt;b>hi&lt;/b>"},
        413,
        "BODY_TOO_LARGE",
        "data: one\n\ndata: two\n\n",
        f"http://127.0.0.1:{port}/landed",
        "csrf=1",
    ]


def test_haproxy_says_for_whom_it_connects_by_the_proxy_protocol(tmp_path: Path):
    public = free_port()
    with (
        Serving() as backend,
        threaded(
            tmp_path,
            backend.url,
            listen={"public": {"proxy_protocol": True, "address": f"127.0.0.1:{public}"}},
            clients={"trusted_proxies": ["127.0.0.1/32"]},
        ),
    ):
        for more in ("send-proxy", "send-proxy-v2"):
            with (
                in_front(haproxy, tmp_path / more, public, more=more, mode="tcp") as port,
                connect(port, "127.0.0.7") as client,
            ):
                assert client.send(get("/")).response().status == 200
            assert backend.seen[-1].get(b"x-forwarded-for") == b"127.0.0.7"
