"""A request's way: admitted, sent, answered, recorded. Every failure ends here, in one place."""

from __future__ import annotations

import asyncio
import logging
from typing import cast

from sidecar.admission import admit, inspect
from sidecar.decision import PASS, Answer, Refuse, Rewrite
from sidecar.head import Fields
from sidecar.proxy import response_heads
from sidecar.proxy.codec.body_framing import body_of
from sidecar.proxy.codec.http1 import CHUNKED, Malformed, ResponseHead
from sidecar.proxy.connection import Connection, PeerLeft, TooSlow
from sidecar.proxy.exchange_context import ExchangeContext
from sidecar.proxy.request_body import TooLarge, collect, upload
from sidecar.proxy.response_relay import TruncatedResponse, relay
from sidecar.proxy.upstream import Upstream, UpstreamError, read_answer
from sidecar.proxy.websocket_relay import relay_socket
from sidecar.vocabulary import Code

_log = logging.getLogger(__name__)


async def serve(context: ExchangeContext) -> bool:
    """Serve the exchange; return whether the connection may carry another one."""
    parts = context.parts
    parts.activity.request_began()
    try:
        await _answer(context)
    except (TooSlow, PeerLeft) as error:
        context.keep = False
        if isinstance(error, TooSlow) and not context.answered:
            await context.refuse(Refuse(Code.REQUEST_TIMEOUT, {"reason": "body"}, close=True))
    except Malformed as error:
        # Chunk syntax shows itself only while the body is read.
        await context.refuse(Refuse(error.code, {"reason": error.reason}, close=True))
    except TooLarge:
        await context.refuse(Refuse(Code.BODY_TOO_LARGE, {"limit": context.route.max_body}, close=True))
    except UpstreamError as error:
        await context.failed(error)
    except TruncatedResponse as cut:
        context.broke_off(str(cut))
        context.keep = False
        if cut.unframed:
            context.connection.reset()
        else:
            context.connection.close()
    except Exception as error:  # noqa: BLE001 - a fault of ours refuses one request; it never ends the process
        _log.exception("fault while serving %s", context.exchange.id)
        await context.refuse(Refuse(Code.BACKEND_BROKEN, {"reason": f"internal: {type(error).__name__}"}, close=True))
    finally:
        for release in context.exchange.releases:
            release()
        parts.activity.request_ended()
        context.record()
    return context.keep


async def refuse_at_once(context: ExchangeContext, refuse: Refuse) -> None:
    """Refuse what has no route: malformed heads, ambiguous paths. Only who asks is looked at."""
    context.parts.activity.request_began()
    try:
        decision = await admit(context.exchange, context.route.steps, context.parts.events)
        await context.refuse(decision if isinstance(decision, Refuse) else refuse)
    finally:
        context.parts.activity.request_ended()
        context.record()


async def _answer(context: ExchangeContext) -> None:
    exchange, route = context.exchange, context.route
    decision = await admit(exchange, route.steps, context.parts.events)
    if decision is not PASS:
        if isinstance(decision, Refuse):
            await context.refuse(decision)
        else:
            context.reply(cast(Answer, decision))
        return
    if context.framing > route.max_body:
        raise TooLarge
    if exchange.head.index.get(b"upgrade", b"").lower() == b"websocket":
        await relay_socket(context)
        return
    body = None
    drop: frozenset[bytes] = frozenset()
    if route.body_steps:
        # An empty body is a body: what is asked about it must not be left out with it.
        body = b""
        if context.framing != 0:
            context.ask_for_body()
            body = await collect(context.connection, body_of(context.framing), route.max_body, context.policy.bounds)
            context.unread = 0
        result = await inspect(exchange, body, route.body_steps, context.parts.events)
        if isinstance(result, Refuse):
            await context.refuse(result)
            return
        if isinstance(result, Rewrite):
            body, drop = result.body, frozenset(result.drop)
        context.framing = len(body)
    put = await context.key()
    if put is None:
        await context.refuse(Refuse(Code.CREDENTIAL_UNAVAILABLE, {"provider": _provider(context)}))
        return
    await _send(context, body, put, drop)


def _provider(context: ExchangeContext) -> str:
    return context.route.injection.provider if context.route.injection is not None else ""


async def _send(context: ExchangeContext, body: bytes | None, put: Fields, drop: frozenset[bytes]) -> None:
    """Send the request, once more when a reused connection turns out to be dead and that is safe."""
    method = context.exchange.head.method
    if body is None and context.framing > 0 and len(context.connection.buffer) >= context.framing:
        body, context.connection.buffer = (
            context.connection.buffer[: context.framing],
            context.connection.buffer[context.framing :],
        )
        context.unread = 0
    whole = body is not None or context.framing == 0
    replayable = whole and method in ("GET", "HEAD", "OPTIONS")
    head = context.request_bytes(put, drop)
    upstream = context.parts.upstream(context.route.target)
    while True:
        back = upstream.idle(replayable=replayable)
        reused = back is not None
        if back is None:
            back = await upstream.open()
        try:
            await _converse(context, upstream, back, head, body if whole else None)
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


async def _converse(
    context: ExchangeContext, upstream: Upstream, back: Connection, head: bytes, body: bytes | None
) -> None:
    target = context.route.target
    context.left_for_backend()
    sender: asyncio.Task[None] | None = None
    try:
        back.write(head + body if body else head)
        if body is None and context.framing != 0:
            context.ask_for_body()
            sender = _begin_upload(context, back)
        # While the client still sends, its pace counts; the backend's time begins when all is sent.
        patience = target.first_byte if sender is None else 0
        try:
            answer = await read_answer(
                back, context.exchange.head.method, patience, upstream.reader, lambda answer: _interim(context, answer)
            )
        except UpstreamError:
            # What the client did wrong while it sent explains the broken exchange better.
            fault = sender.exception() if sender is not None and sender.done() and not sender.cancelled() else None
            if fault is not None:
                raise fault from None
            raise
        if answer.status == 101:
            raise UpstreamError(Code.BACKEND_BROKEN, "an upgrade that nobody asked for")
        context.head_arrived()
        clean = await relay(context, back, answer)
        # One that failed in this very turn of the loop is done as well, and nothing is in step after it.
        finished = sender is None or (sender.done() and not sender.cancelled() and sender.exception() is None)
        if finished:
            context.unread = 0
        else:
            context.keep = False  # the rest of the body is still to come, and nobody will read it
        upstream.release(back, clean=clean and finished and answer.reusable)
    except PeerLeft:
        if not context.connection.left:
            raise UpstreamError(Code.BACKEND_BROKEN, "closed while it was sent to") from None
        raise
    finally:
        if sender is not None and not sender.done():
            sender.cancel()


def _begin_upload(context: ExchangeContext, back: Connection) -> asyncio.Task[None]:
    bounds, route = context.policy.bounds, context.route
    chunked, patience = context.framing == CHUNKED, route.target.first_byte
    sender = asyncio.create_task(
        upload(context.connection, back, body_of(context.framing), chunked, route.max_body, bounds, patience)
    )
    sender.add_done_callback(lambda task: _sent(context, task, back))
    return sender


def _sent(context: ExchangeContext, sender: asyncio.Task[None], back: Connection) -> None:
    """Stop the exchange when the upload failed, or give the backend its time to answer."""
    if sender.cancelled():
        return
    if sender.exception() is not None:
        back.abort()
    elif context.backend < 0:
        back.expect_within(context.route.target.first_byte)


def _interim(context: ExchangeContext, answer: ResponseHead) -> None:
    """Pass on an interim answer (103 Early Hints); RFC 9110 §15.2."""
    if context.exchange.head.version == 1 and not context.connection.left:
        lines = response_heads.relayed_lines(
            answer, context.exchange, context.route, context.filters, length_known=False
        )
        context.connection.write(response_heads.interim(answer.status, lines))
