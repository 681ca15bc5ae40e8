"""What is used of aiohttp beyond its documented interface: an upgrade that moves it fails here, with a clear word."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest
from aiohttp import web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.streams import StreamReader

from sidecar.proxy.codec.parser import (
    body_parser,
    has_ended,
    parsed_request_head,
    parsed_response_head,
    require_compiled_parser,
    take_payload,
)

REQUEST = b"POST /a?b HTTP/1.1\r\nHost: a\r\nX-B:  c \r\nContent-Length: 3\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_the_parser_is_the_compiled_one() -> None:
    require_compiled_parser()


def test_without_the_compiled_parser_the_sidecar_does_not_start() -> None:
    code = "from sidecar.proxy.codec.parser import require_compiled_parser as r; r()"
    run = subprocess.run(
        [sys.executable, "-c", code], env={"AIOHTTP_NO_EXTENSIONS": "1"}, capture_output=True, text=True, check=False
    )
    assert run.returncode == 1
    assert "ConfigError: aiohttp runs without its compiled parser" in run.stderr


def test_a_request_head_is_a_message_whose_body_is_left_alone() -> None:
    fields = parsed_request_head(REQUEST).raw_headers
    assert fields == ((b"Host", b"a"), (b"X-B", b"c"), (b"Content-Length", b"3"))


def test_a_response_head_is_a_message_whose_body_is_left_alone() -> None:
    message = parsed_response_head(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nA: b\r\n\r\n")
    assert message.raw_headers == ((b"Content-Length", b"3"), (b"A", b"b"))


def test_a_payload_is_filled_by_feeding_and_emptied_by_reading() -> None:
    parser, payload = body_parser(CHUNKED, most_trailers=8, longest=100)
    parser.feed_data(b"3\r\nabc\r\n2\r\nd")
    assert (take_payload(payload), payload.is_eof(), has_ended(payload)) == (b"abcd", False, False)
    assert not payload._http_chunk_splits
    assert payload._size == 0
    parser.feed_data(b"e\r\n0\r\n\r\n")
    assert (take_payload(payload), payload.is_eof(), has_ended(payload)) == (b"e", True, True)


def test_a_payload_asks_its_protocol_for_nothing_but_flow_control() -> None:
    source = inspect.getsource(StreamReader)
    used = {part.split("(")[0].split(" ")[0].split(")")[0] for part in source.split("self._protocol.")[1:]}
    assert {name.strip().rstrip(":") for name in used} == {
        "pause_reading",
        "resume_reading",
        "connected",
    }


@pytest.mark.parametrize("name", ["connection_made", "connection_lost", "pause_writing", "resume_writing"])
def test_the_socket_protocol_has_what_connections_build_on(name: str) -> None:
    assert callable(getattr(BaseProtocol, name))


def test_the_socket_protocol_keeps_its_state_in_these_attributes() -> None:
    assert {"_loop", "_paused", "transport"} <= set(BaseProtocol.__slots__)
    assert isinstance(inspect.getattr_static(BaseProtocol, "writing_paused"), property)


def test_the_server_is_ended_in_this_order() -> None:
    source = inspect.getsource(web.BaseRunner.cleanup)
    order = ["site.stop()", "self._server.pre_shutdown()", "self.shutdown()", "self._server.shutdown("]
    places = [source.index(each) for each in order]
    assert places == sorted(places)


def test_a_site_registers_with_its_runner_and_keeps_its_server() -> None:
    assert {"_runner", "_ssl_context", "_backlog", "_server"} <= set(web.BaseSite.__slots__)
    assert "_reg_site" in inspect.getsource(web.BaseSite.start)
