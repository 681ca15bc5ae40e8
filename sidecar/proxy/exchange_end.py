"""How an exchange ends: answered here, refused, ended early, broken off, or relayed to its end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, TypeVar

from sidecar.decision import Answer, Refuse
from sidecar.events import about
from sidecar.proxy import response_heads
from sidecar.proxy.backend_connection import BackendConnection
from sidecar.proxy.connection import PeerLeft, TooSlow
from sidecar.proxy.early_end import EarlyEnd
from sidecar.proxy.exchange_context import ExchangeContext
from sidecar.proxy.failure_headers import retry_advice, unread_request
from sidecar.proxy.request_body import StreamedBody, TooLarge
from sidecar.proxy.response_relay import ResponseRelay, TruncatedResponse
from sidecar.proxy.strict_rules import Malformed
from sidecar.proxy.upstream import Upstream
from sidecar.proxy.upstream_error import UpstreamError
from sidecar.proxy.websocket_relay import WebSocketRelay
from sidecar.responses.stream_end import StreamEnded, last_event
from sidecar.vocabulary import Code, Outcome

_log = logging.getLogger(__name__)
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


class ExchangeEnd(ExchangeContext):
    """The part of an exchange that does not go on: whatever happens, it ends here, once."""

    only_refuse: Refuse | None = None  # malformed heads, ambiguous paths: only the client's address is asked about
    done = False
    back: BackendConnection | None = None
    upstream: Upstream | None = None
    upload: StreamedBody | None = None
    relay: ResponseRelay | None = None
    socket: WebSocketRelay | None = None
    early: EarlyEnd | None = None  # it is being ended before its end
    refused = False  # a refusal is about to be written
    task: asyncio.Future[Any] | None = None  # what is waited for
    judged = False  # services that judge answers have been asked, or need not be
    replayable = False  # it may be sent once more when a reused connection turns out to be dead
    reused = False

    def connect(self) -> None:
        """Send the request, over a connection of the pool or a new one; once more where that is safe."""
        raise NotImplementedError

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
        """Go on with `then` once the awaitable is done; a future needs no task."""
        if type(awaitable) is asyncio.Future:
            self.task = awaitable
            awaitable.add_done_callback(partial(self._arrived, then))
        else:
            self.task = self.connection.loop.create_task(self._awaited(awaitable, then))

    def _arrived(self, then: Callable[[T], None], future: asyncio.Future[T]) -> None:
        if future.cancelled():
            return
        self.task = None
        try:
            result = future.result()
            if not self.done:
                then(result)
        except Exception as error:  # noqa: BLE001  one place says what each failure means
            self.failed(error)

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
            try:
                release()
            except Exception:  # noqa: BLE001  what else it holds, and its place among the open requests, is given back
                _log.exception("fault at the end of %s", self.exchange.id)
        self.exchange.releases.clear()  # they may refer to it, too
        self.services.activity.requests -= 1
        self.record()
        connection = self.connection
        connection.client = self.exchange.client.subject or connection.peer
        connection.exchange_ended(keep=self.keep, sending=self.unread != 0 or self.only_refuse is not None)
