"""Connections: kept while they are in step, several requests in a row, nothing sent twice that must not be."""

from __future__ import annotations

import pytest

from tests.support.backends import Backend, answer
from tests.support.raw import Raw, get, post
from tests.support.refused import check_refusal
from tests.support.sidecar import ORIGIN, Running


def serve(peer: Raw, body: bytes = b"ok") -> bytes:
    target = peer.request().target
    peer.send(answer(body))
    return target


def test_both_sides_are_kept_for_the_next_request(front: Running, backend: Backend):
    with front.connect() as client:
        client.send(get("/1"))
        peer = backend.accept()
        for number in range(2, 12):
            serve(peer)
            assert client.response().body == b"ok"
            client.send(get(f"/{number}"))
        assert serve(peer) == b"/11"
        client.response()
    assert backend.untouched()


def test_pipelined_requests_are_answered_in_order(front: Running, backend: Backend):
    with front.connect() as client:
        client.send(b"".join([get("/1"), post("/upload", b"two"), get("/3")]))
        peer = backend.accept()
        for number in (b"/1", b"/upload", b"/3"):
            assert serve(peer, number) == number
        assert [client.response().body for _ in range(3)] == [b"/1", b"/upload", b"/3"]


def test_what_is_pipelined_waits_for_the_answer_before_it(front: Running, backend: Backend):
    with front.connect() as client:
        client.send(get("/1") + get("/2"))
        peer = backend.accept()
        assert peer.request().target == b"/1"
        assert peer.silent()
        assert backend.untouched(0.02)


def test_a_refusal_does_not_end_the_connection(front: Running, backend: Backend):
    with front.connect() as client:
        client.send(post("/upload", b"not for you", "Origin: https://evil.example") + get("/fine", f"Origin: {ORIGIN}"))
        check_refusal(client.response(), 403, "CORS_BLOCKED", origin=False)
        assert serve(backend.accept()) == b"/fine"
        assert client.response().status == 200


@pytest.mark.parametrize("lines", [["Connection: close"], ["Connection: keep-alive, Close"]])
def test_close_is_obeyed(front: Running, backend: Backend, lines: list[str]):
    with front.connect() as client:
        client.send(get("/", *lines))
        serve(backend.accept())
        assert client.response().get(b"connection") == b"close"
        assert client.ended()


def test_http_1_0_is_closed_after_one(front: Running, backend: Backend):
    with front.connect() as client:
        client.send(b"GET / HTTP/1.0\r\nHost: a.example\r\nConnection: keep-alive\r\n\r\n")
        serve(backend.accept())
        assert client.response().body == b"ok"
        assert client.ended()


def test_a_backend_that_closes_is_not_asked_again_on_that_connection(front: Running, backend: Backend):
    with front.connect() as client:
        for number in range(3):
            client.send(post("/upload", b"%d" % number))
            peer = backend.accept()
            peer.request()
            peer.send(answer(b"bye", "Connection: close"))
            assert client.response().body == b"bye"
            assert peer.ended()


# --- a pooled connection that turns out to be dead --------------------------------------------------


def pooled(front: Running, backend: Backend, client: Raw) -> Raw:
    """Leave one connection in the sidecar's pool and return the backend's end of it."""
    client.send(get("/first"))
    peer = backend.accept()
    serve(peer)
    client.response()
    return peer


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_safe_request_is_sent_once_more(front: Running, backend: Backend, method: str, how: str):
    with front.connect() as client:
        peer = pooled(front, backend, client)
        client.send(get("/again", method=method))
        assert peer.request().target == b"/again"  # it was under way when the backend hung up
        if how == "reset":
            peer.break_off()
        else:
            peer.close()
        assert serve(backend.accept()) == b"/again"
        assert client.response(method).status == 200


def test_a_safe_request_is_not_sent_a_third_time(front: Running, backend: Backend):
    with front.connect() as client:
        peer = pooled(front, backend, client)
        client.send(get("/again", f"Origin: {ORIGIN}"))
        peer.request()
        peer.close()
        second = backend.accept()
        second.request()
        second.close()
        check_refusal(client.response(), 502, "BACKEND_BROKEN")
    assert backend.untouched()


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_what_changes_something_is_sent_once(front: Running, backend: Backend, method: str):
    with front.connect() as client:
        peer = pooled(front, backend, client)
        client.send(post("/upload", b"order", f"Origin: {ORIGIN}").replace(b"POST", method.encode(), 1))
        assert peer.request().body == b"order"
        peer.close()
        check_refusal(client.response(), 502, "BACKEND_BROKEN")
    assert backend.untouched()


def test_a_safe_request_whose_answer_has_begun_is_not_repeated(front: Running, backend: Backend):
    with front.connect() as client:
        peer = pooled(front, backend, client)
        client.send(get("/again", f"Origin: {ORIGIN}"))
        peer.request()
        peer.send(b"HTTP/1.1 200 O")
        peer.close()
        check_refusal(client.response(), 502, "BACKEND_BROKEN")
    assert backend.untouched()


def test_a_connection_closed_in_the_pool_costs_a_post_nothing(front: Running, backend: Backend):
    with front.connect() as client:
        pooled(front, backend, client).close()
        client.send(post("/upload", b"order"))
        assert serve(backend.accept()) == b"/upload"
        assert client.response().status == 200


def test_two_clients_never_share_an_exchange(front: Running, backend: Backend):
    with front.connect() as one, front.connect() as two:
        one.send(get("/one"))
        first = backend.accept()
        first.request()
        two.send(get("/two"))
        second = backend.accept()
        second.request()
        second.send(answer(b"for two"))
        first.send(answer(b"for one"))
        assert one.response().body == b"for one"
        assert two.response().body == b"for two"
