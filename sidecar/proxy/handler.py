"""A request's way: admitted, sent, answered, recorded. Every failure ends here, in one place."""

from __future__ import annotations

import asyncio
import logging
from typing import cast

from sidecar.admission import admit, inspect
from sidecar.decision import PASS, Answer, Refuse, Rewrite
from sidecar.head import Fields
from sidecar.proxy import replies
from sidecar.proxy.bodies import body_of
from sidecar.proxy.http1 import CHUNKED, Malformed, ResponseHead
from sidecar.proxy.life import Life
from sidecar.proxy.relay import Cut, relay
from sidecar.proxy.upload import TooLarge, collect, upload
from sidecar.proxy.upstream import Upstream, UpstreamError, read_answer
from sidecar.proxy.websocket import relay_socket
from sidecar.proxy.wire import PeerLeft, TooSlow, Wire
from sidecar.vocabulary import Code

_log = logging.getLogger(__name__)


async def serve(life: Life) -> bool:
    """Serve the exchange; return whether the connection may carry another one."""
    parts = life.parts
    parts.activity.request_began()
    try:
        await _answer(life)
    except (TooSlow, PeerLeft) as error:
        life.keep = False
        if isinstance(error, TooSlow) and not life.answered:
            await life.refuse(Refuse(Code.REQUEST_TIMEOUT, {"reason": "body"}, close=True))
    except Malformed as error:
        # Chunk syntax shows itself only while the body is read.
        await life.refuse(Refuse(error.code, {"reason": error.reason}, close=True))
    except TooLarge:
        await life.refuse(Refuse(Code.BODY_TOO_LARGE, {"limit": life.route.max_body}, close=True))
    except UpstreamError as error:
        await life.failed(error)
    except Cut as cut:
        life.broke_off(str(cut))
        life.keep = False
        if cut.unframed:
            life.wire.reset()
        else:
            life.wire.close()
    except Exception as error:  # noqa: BLE001 - a fault of ours refuses one request; it never ends the process
        _log.exception("fault while serving %s", life.exchange.id)
        await life.refuse(Refuse(Code.BACKEND_BROKEN, {"reason": f"internal: {type(error).__name__}"}, close=True))
    finally:
        for release in life.exchange.releases:
            release()
        parts.activity.request_ended()
        life.record()
    return life.keep


async def refuse_at_once(life: Life, refuse: Refuse) -> None:
    """Refuse what has no route: malformed heads, ambiguous paths. Only who asks is looked at."""
    life.parts.activity.request_began()
    try:
        decision = await admit(life.exchange, life.route.steps, life.parts.events)
        await life.refuse(decision if isinstance(decision, Refuse) else refuse)
    finally:
        life.parts.activity.request_ended()
        life.record()


async def _answer(life: Life) -> None:
    exchange, route = life.exchange, life.route
    decision = await admit(exchange, route.steps, life.parts.events)
    if decision is not PASS:
        if isinstance(decision, Refuse):
            await life.refuse(decision)
        else:
            life.reply(cast(Answer, decision))
        return
    if life.framing > route.max_body:
        raise TooLarge
    if exchange.head.index.get(b"upgrade", b"").lower() == b"websocket":
        await relay_socket(life)
        return
    body = None
    drop: frozenset[bytes] = frozenset()
    if route.body_steps:
        # An empty body is a body: what is asked about it must not be left out with it.
        body = b""
        if life.framing != 0:
            life.ask_for_body()
            body = await collect(life.wire, body_of(life.framing), route.max_body, life.policy.bounds)
            life.unread = 0
        result = await inspect(exchange, body, route.body_steps, life.parts.events)
        if isinstance(result, Refuse):
            await life.refuse(result)
            return
        if isinstance(result, Rewrite):
            body, drop = result.body, frozenset(result.drop)
        life.framing = len(body)
    put = await life.key()
    if put is None:
        await life.refuse(Refuse(Code.CREDENTIAL_UNAVAILABLE, {"provider": _provider(life)}))
        return
    await _send(life, body, put, drop)


def _provider(life: Life) -> str:
    return life.route.injection.provider if life.route.injection is not None else ""


async def _send(life: Life, body: bytes | None, put: Fields, drop: frozenset[bytes]) -> None:
    """Send the request, once more when a reused connection turns out to be dead and that is safe."""
    method = life.exchange.head.method
    if body is None and life.framing > 0 and len(life.wire.buffer) >= life.framing:
        body, life.wire.buffer = life.wire.buffer[: life.framing], life.wire.buffer[life.framing :]
        life.unread = 0
    whole = body is not None or life.framing == 0
    replayable = whole and method in ("GET", "HEAD", "OPTIONS")
    head = life.request_bytes(put, drop)
    upstream = life.parts.upstream(life.route.target)
    while True:
        back = upstream.idle(replayable=replayable)
        reused = back is not None
        if back is None:
            back = await upstream.open()
        try:
            await _converse(life, upstream, back, head, body if whole else None)
        except UpstreamError as error:
            back.abort()
            if reused and replayable and error.unsent:
                replayable = False
                continue
            raise
        except BaseException:
            back.abort()  # the client left, or something broke: the backend stops working on it
            raise
        return


async def _converse(life: Life, upstream: Upstream, back: Wire, head: bytes, body: bytes | None) -> None:
    target = life.route.target
    life.left_for_backend()
    sender: asyncio.Task[None] | None = None
    try:
        back.write(head + body if body else head)
        if body is None and life.framing != 0:
            life.ask_for_body()
            sender = _begin_upload(life, back)
        # While the client still sends, its pace counts; the backend's time begins when all is sent.
        patience = target.first_byte if sender is None else 0
        try:
            answer = await read_answer(
                back, life.exchange.head.method, patience, upstream.reader, lambda answer: _interim(life, answer)
            )
        except UpstreamError:
            # What the client did wrong while it sent explains the broken exchange better.
            fault = sender.exception() if sender is not None and sender.done() and not sender.cancelled() else None
            if fault is not None:
                raise fault from None
            raise
        if answer.status == 101:
            raise UpstreamError(Code.BACKEND_BROKEN, "an upgrade that nobody asked for")
        life.head_arrived()
        clean = await relay(life, back, answer)
        # One that failed in this very turn of the loop is done as well, and nothing is in step after it.
        finished = sender is None or (sender.done() and not sender.cancelled() and sender.exception() is None)
        if finished:
            life.unread = 0
        else:
            life.keep = False  # the rest of the body is still to come, and nobody will read it
        upstream.release(back, clean=clean and finished and answer.reusable)
    except PeerLeft:
        if not life.wire.left:
            raise UpstreamError(Code.BACKEND_BROKEN, "closed while it was sent to") from None
        raise
    finally:
        if sender is not None and not sender.done():
            sender.cancel()


def _begin_upload(life: Life, back: Wire) -> asyncio.Task[None]:
    bounds, route = life.policy.bounds, life.route
    chunked, patience = life.framing == CHUNKED, route.target.first_byte
    sender = asyncio.create_task(
        upload(life.wire, back, body_of(life.framing), chunked, route.max_body, bounds, patience)
    )
    sender.add_done_callback(lambda task: _sent(life, task, back))
    return sender


def _sent(life: Life, sender: asyncio.Task[None], back: Wire) -> None:
    """Stop the exchange when the upload failed, or give the backend its time to answer."""
    if sender.cancelled():
        return
    if sender.exception() is not None:
        back.abort()
    elif life.backend < 0:
        back.expect_within(life.route.target.first_byte)


def _interim(life: Life, answer: ResponseHead) -> None:
    """Pass on an interim answer (103 Early Hints); RFC 9110 §15.2."""
    if life.exchange.head.version == 1 and not life.wire.left:
        lines = replies.relayed_lines(answer, life.exchange, life.route, life.filters, length_known=False)
        life.wire.write(replies.interim(answer.status, lines))
