"""How the body of one response goes on: as it came, or opened, searched and with lines that are true of it."""

from __future__ import annotations

from typing import Final

from sidecar.guard import ResponseFilter
from sidecar.head import Fields, RequestHead
from sidecar.proxy import response_validators
from sidecar.proxy.codec.response_heads import ResponseHead
from sidecar.proxy.content_codings import Decoder, Unreadable, accepts, decoder, open_whole
from sidecar.proxy.upstream_error import UpstreamError
from sidecar.responses.stream_end import StreamEnded
from sidecar.vocabulary import Code

_WHOLE_CODED: Final = 16 * 1024
"""Bytes of a compressed body that is opened at once, if it comes to at most _WHOLE."""
_WHOLE: Final = 64 * 1024
"""Bytes that are searched at once."""


class ResponseBody:
    """Decides once for a response; `whole` is called before `lines`, `length_known` and `new_length` are read.

    chosen        the filter of the body, None if it passes as it comes
    most          bytes that a body may have to be handed to `whole`; None: any
    length_known  the backend's Content-Length is true of what the client gets
    new_length    the length of a body that was searched as a whole, or -1
    unopened      a body that has come as a whole, and is too long to be opened at once: for the relay
    """

    __slots__ = (
        "_answer", "_changed", "_coding", "_kept", "_request", "_searched", "chosen", "length_known", "new_length",
        "unopened",
    )  # fmt: skip

    def __init__(self, answer: ResponseHead, chosen: ResponseFilter | None, request: RequestHead) -> None:
        bodiless, head_only = answer.framing == 0, request.method == "HEAD"
        self._answer = answer
        self._request = request
        self._searched = chosen is not None and (not bodiless or head_only)
        self._coding = _coding(answer) if self._searched else None
        self._changed = self._searched  # until it is known better
        self._kept = False
        self.chosen = None if bodiless else chosen
        # HEAD says nothing that GET might not say.
        self.length_known = answer.framing >= 0 and not self._searched
        self.new_length = -1
        self.unopened: bytes | None = None

    @property
    def most(self) -> int | None:
        """Bytes that a body may have to be read at once; None: any."""
        if self._coding is not None:
            return _WHOLE_CODED
        return _WHOLE if self._searched else None

    def whole(self, body: bytes | None) -> bytes | None:
        """Take a body that has come completely (None: it has not); return what the client gets at once."""
        if body is None or self.chosen is None:
            return body
        plain = body if self._coding is None else open_whole(self._coding, body, _WHOLE)
        if plain is None:
            self.unopened = body
            return None
        try:
            found = self.chosen.feed(plain) + self.chosen.finish()
        except StreamEnded as ended:
            found = ended.last
        if found == plain:
            # Nothing was found in it: it may as well go on as the backend has coded it.
            self._kept = self._coding is not None and accepts(self._request.get(b"accept-encoding"), self._coding)
            self._changed = self._coding is not None and not self._kept
            found = body if self._kept else found
        self.new_length = len(found)
        return found

    def lines(self) -> Fields:
        """Return the backend's field lines, as (lower-case name, line), that are true of what the client gets."""
        lines = self._answer.lines
        if self._searched:
            opened = self._coding is not None and not self._kept
            lines = response_validators.searched(lines, changed=self._changed, opened=opened)
        if self._answer.status == 304:
            lines = response_validators.not_modified(lines, self._request.get(b"if-none-match"))
        return lines

    def decoder(self) -> Decoder | None:
        """Return what opens a body that streams."""
        return decoder(self._coding) if self.chosen is not None else None


def _coding(answer: ResponseHead) -> bytes | None:
    """Return the content coding that must be taken away; None for none."""
    coding = answer.index.get(b"content-encoding")
    try:
        return coding if decoder(coding) is not None else None
    except Unreadable:
        # A response that cannot be looked at is not passed on.
        raise UpstreamError(Code.BACKEND_BROKEN, "an answer in a content coding that cannot be inspected") from None
