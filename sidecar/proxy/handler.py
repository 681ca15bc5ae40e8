"""The stages of a request: admitted, sent, answered, recorded. Every failure is handled here.

One path of plain calls. Where something has to be waited for (a shared store, a body that is still to
come, a connection that has to be opened) the path is left, and resumed at the next stage when it is
there; where nothing has to, a request passes from the client's socket to the backend's, and its
response back, without a task.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final, TypeVar, cast

from sidecar.admission import Admission, BodyInspection, Waiting, admit, inspect
from sidecar.decision import PASS, Answer, Decision, Inspection, Refuse, Rewrite
from sidecar.events import about
from sidecar.guard import Step
from sidecar.head import Fields
from sidecar.proxy import response_heads
from sidecar.proxy.backend_connection import BackendConnection
from sidecar.proxy.codec.response_heads import ResponseHead
from sidecar.proxy.connection import PeerLeft, TooSlow
from sidecar.proxy.early_end import EarlyEnd
from sidecar.proxy.exchange_context import ExchangeContext
from sidecar.proxy.failure_headers import provider_request_id, retry_advice, unread_request
from sidecar.proxy.held_body import HeldBody, now_whole, opened
from sidecar.proxy.request_body import CollectedBody, StreamedBody, TooLarge, request_body
from sidecar.proxy.response_body import ResponseBody
from sidecar.proxy.response_relay import TURN, ResponseRelay, TruncatedResponse, settle
from sidecar.proxy.strict_rules import CHUNKED, Malformed
from sidecar.proxy.upstream import Upstream
from sidecar.proxy.upstream_error import UpstreamError
from sidecar.proxy.websocket_relay import (
    NOT_NEGOTIATED,
    OTHER_VERSION,
    SPOKEN,
    UPGRADE,
    WebSocketRelay,
    accepts_upgrade,
    fault_of_upgrade,
)
from sidecar.responses.interfaces import AnswerJudge
from sidecar.responses.stream_end import StreamEnded, last_event
from sidecar.vocabulary import Code, Outcome

_log = logging.getLogger(__name__)
_LOOKED_AT: Final = frozenset({206, 304})
"""Statuses of responses whose lines may have to change although their body does not: ranges, validators."""
_REPLAYABLE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_PROVIDERS_ID: Final = b"X-Provider-Request-ID: %b\r\n"
"""On the egress listener, where X-Request-ID is ours: what the provider's support asks for."""
_NO_NAMES: Final[frozenset[bytes]] = frozenset()

_CHECKS: Final = {
    Code.REQUEST_MALFORMED: "request",
    Code.REQUEST_TIMEOUT: "request",
    Code.HEADERS_TOO_LARGE: "request",
    Code.TARGET_TOO_LONG: "request",
    Code.BODY_TOO_LARGE: "body",
    Code.CREDENTIAL_UNAVAILABLE: "credential",
}
"""What refuses with a code when no guard did: names as `sidecar explain` prints them."""

T = TypeVar("T")


class Handler(ExchangeContext):
    """Serves one exchange; the client's connection is told at its end."""

    only_refuse: Refuse | None = None  # malformed heads, ambiguous paths: only the client's address is asked about
    done = False
    upgrading = False
    back: BackendConnection | None = None
    upstream: Upstream | None = None
    upload: StreamedBody | None = None
    relay: ResponseRelay | None = None
    socket: WebSocketRelay | None = None
    early: EarlyEnd | None = None  # it is being ended before its end
    refused = False  # a refusal is about to be written
    task: asyncio.Task[None] | None = None
    body: bytes | None = None  # None: it streams
    drop = _NO_NAMES  # what the head loses because it described the body as it was
    put: Fields | None = None  # the key's header, while the request may have to be made once more
    request = b""
    whole = False  # the request is in `request`, body included
    judged = False  # services that judge answers have been asked, or need not be
    replayable = False  # it may be sent once more when a reused connection turns out to be dead
    reused = False
    reusable = False

    # --- admission -----------------------------------------------------------------------------

    def begin(self, steps: Sequence[Step]) -> None:
        """Serve the exchange, as far as nothing has to be waited for; `steps` are the guards of the head to ask."""
        self.services.activity.requests += 1
        self.connection.exchange = self
        try:
            self.admitted(admit(self.exchange, steps, self.services.events))
        except Exception as error:  # noqa: BLE001  one place says what each failure means
            self.failed(error)

    def admitted(self, decision: Decision | Admission) -> None:
        """Go on with what the guards of the head have said."""
        if decision is not PASS:
            if isinstance(decision, Waiting):
                waiting = decision
                self.wait(waiting.awaitable, lambda decided: self.admitted(waiting.resume(decided)))
            elif isinstance(decision, Refuse):
                self.refuse(decision)
            else:
                self.reply(cast(Answer, decision))
            return
        route, index = self.route, self.exchange.head.index
        if self.only_refuse is not None:
            self.refuse(self.only_refuse)
        elif self.framing > route.max_body:
            raise TooLarge
        elif b"upgrade" in index and index[b"upgrade"].lower() == b"websocket":
            self.upgrade()
        elif not route.body_steps:
            self.get_key()
        elif self.framing == 0:
            # An empty body is a body: what is asked about it must not be left out with it.
            self.look_into(b"")
        else:
            body = self.connection.take_whole(self.framing)
            if body is not None:
                self.look_into(body)
            else:
                self.ask_for_body()
                sink = CollectedBody(self.connection, route.max_body, self.policy.bounds, self.look_into)
                self.connection.read_body(request_body(self.framing), sink)

    def upgrade(self) -> None:
        """Send an upgrade request on, if it is one that opens a WebSocket."""
        has_body = self.framing != 0 or self.connection.has_unread
        fault = fault_of_upgrade(self.exchange.head, has_body=has_body)
        if fault == OTHER_VERSION:
            self.refuse(Refuse(Code.UPGRADE_REQUIRED, {"reason": fault}, list(SPOKEN)))
            return
        if fault:
            self.refuse(Refuse(Code.REQUEST_MALFORMED, {"reason": fault}, close=True))
            return
        self.upgrading = True
        self.drop = NOT_NEGOTIATED
        self.get_key()

    def look_into(self, body: bytes) -> None:
        """Ask the guards of the body, now that all of it is here."""
        self.unread = 0
        self.body = body
        self.looked_into(inspect(self.exchange, body, self.route.body_steps, self.services.events))

    def looked_into(self, result: Inspection | BodyInspection) -> None:
        """Go on with what the guards of the body have said."""
        if isinstance(result, Waiting):
            waiting = result
            self.wait(waiting.awaitable, lambda found: self.looked_into(waiting.resume(found)))
            return
        if isinstance(result, Refuse):
            self.refuse(result)
            return
        if isinstance(result, Answer):
            self.reply(result)
            return
        if isinstance(result, Rewrite):
            self.body, self.drop = result.body, frozenset(result.drop)
        assert self.body is not None
        self.framing = len(self.body)
        self.get_key()

    def get_key(self) -> None:
        """Read the key that the route puts in."""
        injection = self.route.injection
        if injection is None:
            self.send([])
            return
        fields = self.services.keys.fields(self.exchange, injection, self.route.target)
        if isinstance(fields, list):
            self.send(fields)
        elif fields is None:
            self.got_key(None)
        else:
            self.wait(fields, self.got_key)

    def got_key(self, put: Fields | None) -> None:
        """Go on with the key, or refuse: the request is never sent without it."""
        if put is None:
            injection = self.route.injection
            assert injection is not None
            detail = {"provider": injection.provider, "reason": self.exchange.key_fault or None}
            self.refuse(Refuse(Code.CREDENTIAL_UNAVAILABLE, detail, close=self.upgrading))
        else:
            self.send(put)

    # --- to the backend ------------------------------------------------------------------------

    def send(self, put: Fields) -> None:
        """Send the request over a connection that waits in the pool, or over a new one."""
        body = self.body
        if body is None and self.framing > 0:
            body = self.connection.take_whole(self.framing)
            if body is not None:
                self.unread = 0
        self.whole = body is not None or self.framing == 0
        self.replayable = self.whole and not self.upgrading and self.exchange.head.method in _REPLAYABLE
        self.part = self.replayable and self.filters is not None and b"range" in self.exchange.head.index
        self.put = put if self.part else None
        head = self.request_bytes(put, self.drop, UPGRADE if self.upgrading else b"")
        self.request = head + body if body else head
        self.connect()

    def connect(self) -> None:
        """Take a connection out of the pool, or open one."""
        self.upstream = self.services.upstream(self.route.target)
        back = self.upstream.idle(replayable=self.replayable)
        self.reused = back is not None
        if back is not None:
            self.converse(back)
        else:
            self.wait(self.upstream.open(self.route.target.connect), self.converse)

    def converse(self, back: BackendConnection) -> None:
        """Send the request; its response comes to `answered`."""
        self.back = back
        self.sent_at = now = self.services.clock.monotonic()
        self.spent = now - self.exchange.started
        target = self.route.target
        try:
            # While the client still sends, its pace counts; the backend's time begins when all is sent.
            back.ask(self.request, self.exchange.head.method, self, target.first_byte if self.whole else 0)
        except PeerLeft:
            raise UpstreamError(Code.BACKEND_BROKEN, "closed while it was sent to", unsent=True) from None
        if not self.replayable:
            self.request = b""
        if not self.whole:
            self.ask_for_body()
            self.upload = StreamedBody(
                self.connection,
                back,
                chunked=self.framing == CHUNKED,
                bound=self.route.max_body,
                bounds=self.policy.bounds,
                patience=target.first_byte,
                ended=self.uploaded,
                failed=self.failed,
            )
            self.connection.read_body(request_body(self.framing), self.upload)

    def uploaded(self) -> None:
        """All of the body has been sent: the backend's time begins."""
        self.unread = 0
        if self.backend < 0 and self.back is not None:
            self.back.expect_within(self.route.target.first_byte)

    def backend_takes_more(self) -> None:
        """The backend reads on."""
        if self.upload is not None:
            self.upload.backend_takes_more()

    # --- and back ------------------------------------------------------------------------------

    def interim(self, answer: ResponseHead) -> None:
        """Pass on an interim response (103 Early Hints); RFC 9110 §15.2."""
        if self.exchange.head.version == 1 and not self.connection.left:
            lines = response_heads.relayed_lines(answer, self.exchange, self.route, self.filters, length_known=False)
            self.connection.write(response_heads.interim(answer.status, lines))

    def answered(self, answer: ResponseHead) -> None:
        """Relay a final response."""
        self.backend = self.services.clock.monotonic() - self.sent_at
        if answer.status == 101:
            self.open_websocket(answer)
            return
        if self.upgrading:
            self.keep = answer.reusable = False
        self.relay_response(answer)

    def relay_response(self, answer: ResponseHead) -> None:
        """Send the backend's response to the client, or our own body in place of a failure's."""
        back = self.back
        assert back is not None
        instead = response_heads.replaces(answer.status)
        if instead is not None:
            self.replace(answer, instead)
            return
        exchange, route, filters = self.exchange, self.route, self.filters
        if filters is not None and filters.held is not None and not self.judged:
            self.judged = True
            if self.hold(answer, back, filters.held):
                return
        self.provider_id = provider_request_id(answer.index, exchange.id, filters)
        self.reusable = answer.reusable
        body = back.peek_whole()
        if body is not None and exchange.head.method != "HEAD" and answer.status not in _LOOKED_AT:
            # All of it is here, and most have nothing in them that is looked for.
            lines = response_heads.relayed_lines(answer, exchange, route, None, length_known=True)
            if filters is None or (
                b"accept-ranges" not in answer.index and filters.passes_whole(exchange, answer, lines, body)
            ):
                back.take_whole()
                if route.outward and self.provider_id:
                    lines += _PROVIDERS_ID % self.provider_id.encode()
                self.write_response(answer.status, lines, body, None)
                return
        self.relay_filtered(answer, back)

    def hold(self, answer: ResponseHead, back: BackendConnection, held: AnswerJudge) -> bool:
        """Keep the response back until it is judged; return whether that is what becomes of it."""
        wanted = held.holds(self.exchange, answer)
        if wanted is True:
            back.deliver(HeldBody(back, held.most, partial(self.judge, answer)), TURN, self.route.target.idle)
        elif wanted is not False:
            self.refuse(wanted)
        return wanted is not False

    def judge(self, answer: ResponseHead, body: bytes | None) -> None:
        """Ask about a held body; None: it is too long to be asked about."""
        filters = self.filters
        assert filters is not None
        assert filters.held is not None
        if body is None:
            answer.reusable = False
        else:
            now_whole(answer, body)
        plain = None if body is None else opened(answer, body, filters.held.most)
        asked = filters.held.judge(self.exchange, answer, plain, filters.clean)
        self.wait(asked, lambda refuse: self.judged_as(answer, plain, refuse))

    def judged_as(self, answer: ResponseHead, plain: bytes | None, refuse: Refuse | None) -> None:
        """Relay a held response, or refuse it."""
        if refuse is None:
            self.relay_response(answer)
            return
        if self.filters is not None and plain is not None:
            self.filters.count_refused(self.exchange, answer, plain)
        if plain is not None:
            self.let_go(reusable=answer.reusable)
        self.refuse(refuse)

    def relay_filtered(self, answer: ResponseHead, back: BackendConnection) -> None:
        """Relay a response that is still coming, or that filters have to look at."""
        exchange, route, filters = self.exchange, self.route, self.filters
        chosen = filters.for_answer(exchange, answer) if filters is not None else None
        if chosen is not None and self.part and answer.status == 206:
            self.ask_for_whole(answer)
            return
        response = ResponseBody(answer, chosen, exchange.head)
        # The whole response is here: one write, and a filtered one can say its new length.
        body = response.whole(back.take_whole(response.most))
        answer.lines = response.lines()
        known = response.length_known
        lines = response_heads.relayed_lines(answer, exchange, route, filters, length_known=known)
        if route.outward and self.provider_id:
            lines += _PROVIDERS_ID % self.provider_id.encode()
        if response.new_length >= 0:
            lines += b"Content-Length: %d\r\n" % response.new_length
            known = True
        chunked = not known and exchange.head.version == 1
        if exchange.head.method == "HEAD":
            chunked = False
        elif chunked:
            lines += b"Transfer-Encoding: chunked\r\n"
        elif not known:
            self.keep = False
        kind = _kind(answer)
        if kind == "sse" and b"x-accel-buffering" not in answer.index:
            lines += b"X-Accel-Buffering: no\r\n"
        if body is None:
            readable = response.chosen is not None or b"content-encoding" not in answer.index
            self.relay = ResponseRelay(
                self,
                self,
                back,
                response.chosen,
                response.decoder(),
                "egress" if route.outward else kind,
                chunked=chunked,
                framed=chunked or known,
                events=kind == "sse" and readable and not known,
            )
        if exchange.pending:
            self.wait(settle(exchange), lambda _: self.write_response(answer.status, lines, body, response.unopened))
        else:
            self.write_response(answer.status, lines, body, response.unopened)

    def ask_for_whole(self, answer: ResponseHead) -> None:
        """Ask once more, without the client's Range: half a secret could be in a part."""
        self.part = False
        self.let_go(reusable=answer.reusable)
        self.replayable = True
        self.request = self.request_bytes(self.put or [], self.drop)
        self.connect()

    def let_go(self, *, reusable: bool) -> None:
        """Give back the backend's connection without its response, read only if that is cheap."""
        back, self.back = self.back, None
        assert back is not None
        assert self.upstream is not None
        read = back.take_whole() is not None
        finished = self.upload is None or self.upload.done
        self.upstream.release(back, clean=read and finished and reusable)

    def write_response(self, status: int, lines: bytes, body: bytes | None, unopened: bytes | None) -> None:
        """Write the head, and the body if all of it is here; else let it flow."""
        self.status = status
        self.head_sent = True
        head = response_heads.head(status, lines, self.exchange, self.route, keep=self.keep, known=self.known)
        if body is None:
            self.connection.write(head)
            assert self.relay is not None
            self.relay.begin(unopened)
        else:
            self.connection.write(head + body if body else head)
            self.relayed()

    def relayed(self) -> None:
        """All of the response has been written."""
        finished = self.upload is None or self.upload.done
        if not finished:
            self.keep = False  # the rest of the body is still to come, and will not be read
        back, self.back = self.back, None
        assert back is not None
        assert self.upstream is not None
        self.upstream.release(back, clean=finished and self.reusable)
        self.finish()

    def replace(self, answer: ResponseHead, instead: Refuse) -> None:
        """Send our own body for a backend's 5xx; the backend's is read only if that is cheap."""
        self.provider_id = provider_request_id(answer.index, self.exchange.id, self.filters)
        instead.fields.extend(response_heads.failure_lines(answer, self.exchange, self.route, self.filters))
        if self.route.outward and self.provider_id:
            instead.fields.append((b"X-Provider-Request-ID", self.provider_id.encode()))
        self.backend_event(instead.code, f"status {instead.detail.get('backend_status')}")
        self.let_go(reusable=answer.reusable)
        self.refuse(instead, answer.status)

    # --- WebSockets ----------------------------------------------------------------------------

    def open_websocket(self, answer: ResponseHead) -> None:
        """Upgrade both sides, and relay until one of them closes."""
        if not self.upgrading:
            raise UpstreamError(Code.BACKEND_BROKEN, "an upgrade that was not requested")
        if not accepts_upgrade(self.exchange.head, answer):
            raise UpstreamError(Code.BACKEND_BROKEN, "a wrong answer to the upgrade")
        lines = response_heads.relayed_lines(answer, self.exchange, self.route, self.filters, length_known=False)
        self.status = 101
        self.head_sent = True
        self.keep = False
        head = response_heads.head(101, UPGRADE + b"\r\n" + lines, self.exchange, self.route, keep=True)
        self.connection.write(head)
        back, self.back = self.back, None
        assert back is not None
        self.socket = WebSocketRelay(self, self.connection.stream(), back.stream())
        self.exchange.releases.append(self.forget_socket)
        self.wait(self.socket.run(), lambda _: self.finish())

    def forget_socket(self) -> None:
        """Let the relay go: it refers to this exchange."""
        self.socket = None

    # --- responses that are made here ---------------------------------------------------------------------

    def reply(self, answer: Answer) -> None:
        """Answer without the backend."""
        keep = self.skip_body()
        self.status = answer.status
        self.head_sent = True
        self.connection.write(response_heads.local(answer, self.exchange, self.route, keep=keep))
        self.finish()

    def refuse(self, refuse: Refuse, status: int = 0) -> None:
        """Answer with a refusal, or cut what was begun."""
        self.leave_backend()
        exchange, policy = self.exchange, self.policy
        if self.head_sent:
            self.keep = False
            self.connection.reset()
            self.finish()
            return
        if policy.struck is not None:
            policy.struck(exchange, refuse, None)
        if exchange.limits is None and self.route.peek is not None and refuse.code is not Code.IP_BLOCKED:
            peeked = self.route.peek(exchange)
            if peeked is not None:
                self.refused = True
                self.wait(peeked, lambda _: self.write_refusal(refuse, status))
                return
        self.write_refusal(refuse, status)

    def write_refusal(self, refuse: Refuse, status: int) -> None:
        """Write a refusal; its state of the limits is known."""
        exchange = self.exchange
        self.status = status or refuse.code.status
        if refuse.recorded is not None:
            event = about(exchange, refuse.recorded, Outcome.REFUSED, exchange.now, self.status, self.cause(refuse))
            self.services.events.record(event)
        if refuse.close:
            self.keep = False
        keep = self.skip_body()
        self.head_sent = True
        self.connection.write(response_heads.refused(refuse, exchange, self.route, keep=keep, status=status))
        self.finish()

    def cause(self, refuse: Refuse) -> dict[str, Any]:
        """Return the detail of a refusal: which guard, by which line of which policy."""
        guard = self.exchange.refused_by or _CHECKS.get(refuse.code, "")
        detail = {**refuse.detail, "code": refuse.code.name}
        if guard:
            detail["guard"] = guard
            detail["place"] = self.services.place(self.route.name, guard, refuse.detail) or None
        detail["policy"] = self.policy.digest
        return detail

    # --- waits, failures and the end -----------------------------------------------------------

    def wait(self, awaitable: Awaitable[T], then: Callable[[T], None]) -> None:
        """Go on with `then` once the awaitable is done."""
        self.task = self.connection.loop.create_task(self._awaited(awaitable, then))

    async def _awaited(self, awaitable: Awaitable[T], then: Callable[[T], None]) -> None:
        try:
            result = await awaitable
            self.task = None
            if not self.done:
                then(result)
        except Exception as error:  # noqa: BLE001  one place says what each failure means
            self.task = None
            self.failed(error)

    def failed(self, error: Exception) -> None:
        """Turn a failure of any stage into a refusal, or into a visible end of the response."""
        if self.done:
            return
        try:
            self._fail(error)
        except PeerLeft:
            self.client_left()
        except Exception as fault:  # noqa: BLE001  the refusal itself failed: nothing more can be said
            _log.exception("fault while refusing %s", self.exchange.id, exc_info=fault)
            self.connection.abort()
            self.finish()

    def _fail(self, error: Exception) -> None:
        if self.relay is not None and self.head_sent:
            self._cut(error)
        elif isinstance(error, UpstreamError):
            self._backend_failed(error)
        elif isinstance(error, PeerLeft):
            if self.connection.left:
                self.client_left()
            else:
                self._backend_failed(UpstreamError(Code.BACKEND_BROKEN, "closed while it was sent to"))
        elif isinstance(error, TooSlow) and self.judged:
            self._backend_failed(UpstreamError(Code.BACKEND_TIMEOUT, "silence in an answer that is held"))
        elif isinstance(error, TooSlow):
            self.refuse(Refuse(Code.REQUEST_TIMEOUT, {"reason": "body"}, close=True))
        elif isinstance(error, Malformed):
            if error.code is Code.REQUEST_MALFORMED:
                # Chunk syntax shows itself only while the body is read.
                self.refuse(Refuse(error.code, {"reason": error.reason}, close=True))
            else:
                self._backend_failed(UpstreamError(error.code, error.reason))
        elif isinstance(error, TooLarge):
            self.refuse(Refuse(Code.BODY_TOO_LARGE, {"limit": self.route.max_body}, close=True))
        else:
            # A fault of ours refuses one request; it never ends the process.
            _log.error("fault while serving %s", self.exchange.id, exc_info=error)
            self.refuse(Refuse(Code.BACKEND_BROKEN, {"reason": f"internal: {type(error).__name__}"}, close=True))

    def _backend_failed(self, error: UpstreamError) -> None:
        """Say 502, 503 or 504 for a backend that gave no answer, or ask once more where that is safe."""
        if error.unsent and self.reused and self.back is not None and self.upstream is not None:
            self.upstream.failed_after(self.back.rest)
        if error.unsent and self.replayable and self.reused:
            self.replayable = False
            self.leave_backend()
            self.connect()
            return
        self.backend_event(error.code, str(error))
        advice = unread_request() if error.unread and self.reused else retry_advice(error.code, sent=not error.unsent)
        self.refuse(Refuse(error.code, {"reason": str(error)}, advice))

    def _cut(self, error: Exception) -> None:
        """End a response whose head has been sent, so that it never looks complete."""
        assert self.relay is not None
        self.leave_backend()
        if isinstance(error, StreamEnded) and not self.connection.left:
            self._end(error)
            return
        if self.connection.left:
            self.client_left()
            return
        if isinstance(error, TooSlow):
            reason = "a client that does not read" if self.relay.holding else "silence"
        elif isinstance(error, Malformed):
            reason = error.reason
        elif isinstance(error, UpstreamError | TruncatedResponse):
            reason = str(error)
        elif isinstance(error, PeerLeft):
            reason = "closed in the middle of the answer"
        elif isinstance(error, TooLarge):
            reason = "a request that became too large"
        else:
            _log.error("fault while serving %s", self.exchange.id, exc_info=error)
            reason = f"internal: {type(error).__name__}"
        self.broke_off(reason)
        self.keep = False
        if self.relay.framed:
            self.connection.close()
        else:
            self.connection.reset()  # nothing else can tell the client of it
        self.finish()

    @property
    def outward(self) -> bool:
        """It goes to a provider, by the egress listener."""
        return self.route.outward

    def end_early(self, why: EarlyEnd) -> None:
        """End the exchange now: refuse what is not answered yet, and end what streams in its protocol's own words."""
        if self.done or self.refused or self.early is not None:
            return
        if not self.head_sent:
            self.early = why
            task, self.task = self.task, None
            if task is not None:
                task.cancel()  # what it waits for would go on beside the refusal
            self.connection.stop_body()
            self.refuse(Refuse(why.code, dict(why.detail), close=self.unread != 0))
        elif self.socket is not None:
            self.record_early(why)
            self.socket.end_early(why.close_reason)
        elif self.relay is not None:
            self.early = why
            exchange = self.exchange
            self.relay.end_early(last_event(self.route.protocol, why.code, exchange.id, path=exchange.head.path))

    def record_early(self, why: EarlyEnd) -> None:
        """Record that a stream was ended, and for how many seconds it ran."""
        self.early = why
        clock = self.services.clock
        detail = {**why.detail, "code": why.code.name, "seconds": round(clock.monotonic() - self.exchange.started, 3)}
        assert why.code.event is not None
        event = about(self.exchange, why.code.event, Outcome.REFUSED, clock.now(), self.status, detail)
        self.services.events.record(event)

    def ended_early(self) -> None:
        """The relay has said what there is to say: end the rest."""
        relay, why = self.relay, self.early
        assert relay is not None
        assert why is not None
        self.leave_backend()
        if self.connection.left:
            self.client_left()
            return
        self.record_early(why)
        self.keep = False
        if relay.cut and relay.framed:
            self.connection.close()
        elif relay.cut:
            self.connection.reset()  # nothing else can tell the client of it
        self.finish()

    def _end(self, ended: StreamEnded) -> None:
        """End a stream as a filter of it says, in the words of its protocol."""
        assert self.relay is not None
        self.connection.write(self.relay.last(ended.last, complete=ended.complete))
        if not ended.complete:
            self.keep = False
            self.connection.close()
        self.finish()

    def client_takes_more(self) -> None:
        """The client reads on."""
        if self.relay is not None:
            self.relay.client_takes_more()

    def client_left(self) -> None:
        """The client is gone: close the backend's connection, so that it stops working."""
        self.keep = False
        self.exchange.left = True
        self.finish()

    def last(self) -> None:
        """No further request is taken on the client's connection: its response says so, if it still can."""
        if not self.head_sent:
            self.keep = False

    def shut_down(self) -> None:
        """The drain is over."""
        self.client_left()

    def leave_backend(self) -> None:
        """Throw the backend's connection away: nothing on it is in step any more."""
        back, self.back = self.back, None
        if self.upload is not None:
            self.upload.stop()
            if not self.upload.done:
                self.keep = False
                self.connection.stop_body()
        if back is not None:
            back.forget()
            back.abort()

    def finish(self) -> None:
        """End the exchange, once: everything that was taken is given back, and what happened is written down."""
        if self.done:
            return
        self.done = True
        if self.back is not None or self.upload is not None:
            self.leave_backend()
        task, self.task = self.task, None
        if task is not None:
            task.cancel()
        if self.relay is not None:
            self.relay.end()
        self.relay = self.upload = None  # they refer to this exchange: no cycle is left for the collector
        for release in self.exchange.releases:
            release()
        self.services.activity.requests -= 1
        self.record()
        connection = self.connection
        connection.client = self.exchange.client.subject or connection.peer
        connection.exchange_ended(keep=self.keep, sending=self.unread != 0 or self.only_refuse is not None)


def _kind(answer: ResponseHead) -> str:
    return "sse" if answer.index.get(b"content-type", b"").startswith(b"text/event-stream") else "chunked"
