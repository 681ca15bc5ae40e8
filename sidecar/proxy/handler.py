"""The stages of a request: admitted, sent, answered. How it ends is in `exchange_end`.

One path of plain calls. Where something has to be waited for (a shared store, a body that is still to
come, a connection that has to be opened) the path is left, and resumed at the next stage when it is
there; where nothing has to, a request passes from the client's socket to the backend's, and its
response back, without a task.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final, cast

from sidecar.admission import admit, inspect
from sidecar.decision import PASS, Answer, Decision, Inspection, Refuse, Rewrite, Waiting
from sidecar.guard import Step
from sidecar.head import Fields
from sidecar.proxy import response_heads
from sidecar.proxy.backend_connection import BackendConnection
from sidecar.proxy.codec.response_heads import ResponseHead
from sidecar.proxy.connection import PeerLeft
from sidecar.proxy.exchange_end import ExchangeEnd
from sidecar.proxy.failure_headers import provider_request_id
from sidecar.proxy.held_body import HeldBody, now_whole, opened
from sidecar.proxy.request_body import CollectedBody, StreamedBody, TooLarge, request_body
from sidecar.proxy.response_body import ResponseBody
from sidecar.proxy.response_relay import TURN, ResponseRelay, settle
from sidecar.proxy.strict_rules import CHUNKED
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
from sidecar.vocabulary import Code

_LOOKED_AT: Final = frozenset({206, 304})
"""Statuses of responses whose lines may have to change although their body does not: ranges, validators."""
_REPLAYABLE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_PROVIDERS_ID: Final = b"X-Provider-Request-ID: %b\r\n"
"""On the egress listener, where X-Request-ID is ours: what the provider's support asks for."""
_NO_NAMES: Final[frozenset[bytes]] = frozenset()


class Handler(ExchangeEnd):
    """Serves one exchange; the client's connection is told at its end."""

    upgrading = False
    body: bytes | None = None  # None: it streams
    drop = _NO_NAMES  # what the head loses because it described the body as it was
    put: Fields | None = None  # the key's header, while the request may have to be made once more
    request = b""
    whole = False  # the request is in `request`, body included
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

    def admitted(self, decision: Decision | Waiting[Decision]) -> None:
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

    def looked_into(self, result: Inspection | Waiting[Inspection]) -> None:
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
            self.head = exchange.head = exchange.head.without_lines()  # they were sent; a stream can last for hours
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


def _kind(answer: ResponseHead) -> str:
    return "sse" if answer.index.get(b"content-type", b"").startswith(b"text/event-stream") else "chunked"
