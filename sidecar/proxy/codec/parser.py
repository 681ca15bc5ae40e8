"""aiohttp's compiled parser, called with the arguments that its C constructor takes in this order."""

from __future__ import annotations

from typing import Any, Final

from aiohttp import http_parser
from aiohttp.http import HttpProcessingError

from sidecar.errors import ConfigError

# The pure-Python parsers, which the annotations of aiohttp describe, take other arguments.
_REQUESTS: Final[Any] = http_parser.HttpRequestParser
_RESPONSES: Final[Any] = http_parser.HttpResponseParser
_UNBOUNDED: Final = 1 << 30
"""Sizes are bounded before the parser sees anything, by the policy."""

PARSER_ERRORS: Final = (HttpProcessingError, ValueError)


class _NoFlowControl:
    """The protocol of a parser's payload, which is emptied after every feed: there is nothing to pause."""

    def pause_reading(self) -> None:
        """Called above a payload's limit, which no single read reaches."""

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Called at the end of each payload."""


_FLOW: Final = _NoFlowControl()


def require_compiled_parser() -> None:
    """Raise ConfigError when aiohttp reads HTTP in pure Python.

    That parser is several times slower, and has let requests through that the compiled one refuses.
    """
    for parser in (_REQUESTS, _RESPONSES):
        if parser.__module__ != "aiohttp._http_parser":
            raise ConfigError(
                "aiohttp runs without its compiled parser: install a wheel for this platform, "
                "or unset AIOHTTP_NO_EXTENSIONS"
            )


def parsed_request_head(raw: bytes) -> Any:
    """Return aiohttp's message of a complete request head; raise one of PARSER_ERRORS.

    A parser of its own for each head: nothing that one client sent can change how the next is read.
    """
    # protocol, loop, limit, timer, longest line, most fields, longest field, error class,
    # with body, until close, decompress
    parser = _REQUESTS(_FLOW, None, _UNBOUNDED, None, _UNBOUNDED, _UNBOUNDED, _UNBOUNDED, None, False, False, False)
    ((message, _),) = parser.feed_data(raw)[0]
    return message


def parsed_response_head(raw: bytes) -> Any:
    """Return aiohttp's message of a complete response head; raise one of PARSER_ERRORS."""
    parser = _RESPONSES(_FLOW, None, _UNBOUNDED, None, _UNBOUNDED, _UNBOUNDED, _UNBOUNDED, None, False, False, False)
    ((message, _),) = parser.feed_data(raw)[0]
    return message


def has_ended(payload: Any) -> bool:
    """Return whether all of a payload has been read: what `is_eof` says, without its call."""
    return bool(payload._eof)  # noqa: SLF001  held by the contract test


def take_payload(payload: Any) -> bytes:
    """Return all data of a payload, which is empty then: what `read_nowait` does in eight calls.

    The ends of chunks, which are not needed, are dropped: they would pile up.
    """
    buffer = payload._buffer  # noqa: SLF001  held by the contract test
    splits = payload._http_chunk_splits  # noqa: SLF001
    if splits:
        splits.clear()
    if not buffer:
        return b""
    payload._size = 0  # noqa: SLF001
    if len(buffer) == 1:
        return buffer.popleft()  # type: ignore[no-any-return]
    data = b"".join(buffer)
    buffer.clear()
    return data


def body_parser(head: bytes, most_trailers: int, longest: int) -> tuple[Any, Any]:
    """Return a parser that has read `head` and goes on with its body, and the payload that it fills."""
    # A payload without a loop would ask for one; it is never waited for, so anything will do.
    parser = _REQUESTS(_FLOW, _FLOW, _UNBOUNDED, None, longest, most_trailers, longest, None, True, False, False)
    ((_, payload),) = parser.feed_data(head)[0]
    return parser, payload
