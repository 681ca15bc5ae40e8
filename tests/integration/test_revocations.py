"""A revocation ends what runs: on the replica that it was made on, and on another one over a real Redis."""

from __future__ import annotations

import contextlib
import json
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import openai
import pytest

from sidecar.__main__ import main
from sidecar.admin.roles import Role
from sidecar.cli.admin_call import admin_token
from sidecar.proxy import client_connection
from sidecar.secret import Secret
from sidecar.session import key_of
from tests.integration.test_websockets import CLOSE, HANDSHAKE, PAGE, TEXT, at_backend, at_client, close, switching
from tests.integration.test_websockets import frame as server_frame
from tests.support.backends import Backend
from tests.support.browsers import ELSEWHERE, HOME, Browser
from tests.support.egress import ACME_KEY, OPERATOR, Outbound
from tests.support.language_model import LanguageModel
from tests.support.processes import free_port
from tests.support.raw import Message, Raw, connect, get
from tests.support.redis import redis_server
from tests.support.sidecar import MASTER, TRUSTED, Running, threaded, until

SECRET = "a secret for tokens, long enough to be one"
SECOND = 1.0
"""Seconds within which every replica ends what stands on a revoked subject."""
SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
ROUTES = [
    {"name": "openai", "match": {"path": "/v1/chat/completions"}, "protocol": "openai"},
    {"name": "events", "match": {"path": "/events"}},
    {"name": "ws", "match": {"path": "/ws"}},
    {"name": "inspected", "match": {"path": "/inspected"}, "message": {"fields": ["$.message"]}},
    {"name": "keyed", "match": {"path": "/keyed"}, "credential": {"provider": "openai", "as": "header"}},
]


@dataclass
class Stage:
    """`here` serves the streams, `there` is where revocations are made: the same process, or another replica."""

    here: Running
    there: Running
    backend: Backend
    egress: int

    def manage(self, method: str, path: str, body: Any = None) -> int:
        """Call the admin API of the replica that revokes."""
        token = admin_token({"JWT_SECRET": SECRET}, Role.ADMIN).reveal()
        fields = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        data = json.dumps(body).encode() if body is not None else None
        url = f"http://127.0.0.1:{self.there.management}{path}"
        with urllib.request.urlopen(urllib.request.Request(url, data, fields, method=method), timeout=20) as reply:
            return int(reply.status)

    def cli(self, *words: str) -> None:
        assert main([*words]) == 0


def piece(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@pytest.fixture(scope="module", params=["one replica", "two replicas"])
def _stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    shared = tmp_path_factory.mktemp("shared")
    environ = {
        "JWT_SECRET": SECRET,
        "ENCRYPTION_KEY": MASTER,
        "DATABASE_URL": f"sqlite:///{shared}/vault.db",
    }
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        backend = stack.enter_context(Backend())
        if request.param == "two replicas":
            environ["REDIS_URL"] = stack.enter_context(redis_server()).url
        for name, value in environ.items():
            patch.setenv(name, value)
        running, ports = [], []
        for name in ("here", "there") if request.param == "two replicas" else ("here",):
            ports.append(free_port())
            spoken = {"url": backend.url, "allow": ["/v1/chat/completions", "/v1/realtime"]}
            sections: dict[str, Any] = {
                "listen": {"egress": {"address": f"127.0.0.1:{ports[-1]}"}},
                "egress": {"providers": {"openai": spoken, "anthropic": spoken}},
                "sessions": {"mode": "issue"},
                "organizations": {"from": ["header"]},
                "clients": {"ban": {"strikes": 3}},
                "routes": ROUTES,
            }
            folder = tmp_path_factory.mktemp(name)
            running.append(stack.enter_context(threaded(folder, backend.url, environ, **sections)))
        yield Stage(running[0], running[-1], backend, ports[0])


@pytest.fixture
def stage(_stage: Stage) -> Iterator[Stage]:
    _stage.backend.forget()
    yield _stage
    _stage.backend.forget()
    for address in (HOME, ELSEWHERE):
        with contextlib.suppress(OSError):
            _stage.manage("DELETE", f"/api/bans/{address}")
    for front in (_stage.here, _stage.there):
        until(lambda front=front: front.metric("sidecar_bans_active") == 0, "the bans to be lifted")


@dataclass
class Stream:
    """An open answer: the client's side and the backend's."""

    client: Raw
    peer: Raw
    head: Message

    def ends(self) -> tuple[float, bytes]:
        """Return after how many seconds the answer ended, and what came until then."""
        began = time.monotonic()
        rest = self.client.rest()
        return time.monotonic() - began, rest

    def runs(self) -> bool:
        """Tell whether an event still passes."""
        self.peer.send(piece(b"data: still\n\n"))
        return self.client.chunk() == b"data: still\n\n"

    def is_cancelled(self) -> bool:
        return self.peer.ended(SECOND)


def lines_of(address: str, organization: str, session: str = "") -> list[str]:
    lines = [f"X-Forwarded-For: {address}", f"X-Org-ID: {organization}"]
    return [*lines, f"X-Session-ID: {session}"] if session else lines


@contextlib.contextmanager
def streaming(
    stage: Stage, *lines: str, path: str = "/events", begin: bytes = SSE + piece(b"data: begun\n\n")
) -> Iterator[Stream]:
    """Open an answer that streams, through a trusted proxy."""
    with stage.here.connect(TRUSTED) as client:
        client.send(get(path, *lines))
        peer = stage.backend.accept()
        peer.request()
        peer.send(begin)
        head = client.head()
        if begin.startswith(SSE) and len(begin) > len(SSE):
            assert client.chunk()
        yield Stream(client, peer, head)


def session_of(front: Running, address: str, organization: str) -> str:
    browser = Browser(front, address, headers={"X-Org-ID": organization})
    made: str = browser.ask("POST", "/api/session").json()["sessionId"]
    return made


def banned(stage: Stage, _: str) -> None:
    assert stage.manage("POST", "/api/bans", {"ip": HOME, "seconds": 60}) == 201


def struck(stage: Stage, _: str) -> None:
    for _ in range(3):
        with stage.there.connect(TRUSTED) as client:
            client.send(get("/ws", "Upgrade: websocket", "Connection: Upgrade", f"X-Forwarded-For: {HOME}"))
            assert client.response().status == 400  # a handshake without its key


def logged_out(stage: Stage, session: str) -> None:
    browser = Browser(stage.there, HOME, headers={"X-Org-ID": "acme", "X-Session-ID": session})
    assert browser.ask("DELETE", "/api/session").status == 204


def erased(kind: str) -> Callable[[Stage, str], None]:
    def erase(stage: Stage, session: str) -> None:
        option, name = {
            "ip": ("--ip", HOME),
            "organization": ("--org", "acme"),
            "session": ("--session", key_of(session)),
        }[kind]
        stage.cli("erase", option, name, "--management", f"http://127.0.0.1:{stage.there.management}")

    return erase


def ended_by_an_operator(stage: Stage, session: str) -> None:
    assert stage.manage("POST", "/api/sessions/end", {"session": key_of(session)[:8]}) == 200


def all_ended_by_an_operator(stage: Stage, _: str) -> None:
    assert stage.manage("POST", "/api/sessions/end", {"organization": "acme"}) == 200


@pytest.mark.parametrize(
    ("revoke", "told"),
    [
        pytest.param(banned, {"revoked": "ip", "cause": "banned"}, id="banned by hand"),
        pytest.param(struck, {"revoked": "ip", "cause": "banned"}, id="banned for strikes"),
        pytest.param(logged_out, {"revoked": "session", "cause": "ended"}, id="logged out"),
        pytest.param(ended_by_an_operator, {"revoked": "session", "cause": "revoked"}, id="ended by an operator"),
        pytest.param(all_ended_by_an_operator, {"revoked": "session", "cause": "revoked"}, id="all of an organization"),
        pytest.param(erased("ip"), {"revoked": "ip", "cause": "erased"}, id="erased address"),
        pytest.param(erased("session"), {"revoked": "session", "cause": "erased"}, id="erased session"),
        pytest.param(erased("organization"), {"revoked": "organization", "cause": "erased"}, id="erased organization"),
    ],
)
def test_what_stands_on_a_revoked_subject_ends_and_nothing_else(
    stage: Stage, revoke: Callable[[Stage, str], None], told: dict[str, str]
) -> None:
    mine, theirs = session_of(stage.here, HOME, "acme"), session_of(stage.here, ELSEWHERE, "globex")
    before = stage.here.metric("sidecar_security_events_total", event="STREAM_REVOKED")
    with (
        streaming(stage, *lines_of(HOME, "acme", mine)) as ended,
        streaming(stage, *lines_of(ELSEWHERE, "globex", theirs)) as other,
    ):
        revoke(stage, mine)
        seconds, rest = ended.ends()
        assert b'event: error\ndata: {"error":"Access has been revoked","code":"ACCESS_REVOKED"' in rest
        assert not rest.endswith(b"0\r\n\r\n"), "an answer that was broken off looks complete"
        assert seconds < SECOND
        assert ended.is_cancelled()
        assert other.runs()
    line = stage.here.logged(event="STREAM_REVOKED", detail=told)
    assert (line["category"], line["outcome"], line["client_ip"]) == ("SECURITY", "refused", HOME)
    assert stage.here.metric("sidecar_security_events_total", event="STREAM_REVOKED") == before + 1


def test_a_request_that_waits_for_its_answer_is_refused(stage: Stage) -> None:
    with stage.here.connect(TRUSTED) as client:
        client.send(get("/events", f"X-Forwarded-For: {HOME}"))
        peer = stage.backend.accept()
        peer.request()
        banned(stage, "")
        refused = client.response()
        assert (refused.status, json.loads(refused.body)["code"]) == (403, "ACCESS_REVOKED")
        assert peer.ended(SECOND)


@pytest.mark.parametrize("framing", ["Content-Length: 1000000", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize("path", ["/events", "/inspected"])
def test_an_upload_is_refused_while_it_runs(stage: Stage, path: str, framing: str) -> None:
    with stage.here.connect(TRUSTED) as client:
        lines = f"X-Forwarded-For: {HOME}", "Content-Type: application/json", framing
        client.send(get(path, *lines, method="POST") + b"a\r\n" + b"x" * 10)
        if path == "/events":
            stage.backend.accept().head()
        else:
            assert stage.backend.untouched()
        banned(stage, "")
        refused = client.response()
        assert (refused.status, json.loads(refused.body)["code"]) == (403, "ACCESS_REVOKED")
        assert client.ended(SECOND * 3)


@pytest.mark.parametrize(
    ("begin", "is_complete"),
    [
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n" + piece(b"begun"),
            lambda rest: rest.endswith(b"0\r\n\r\n"),
            id="chunked",
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1000\r\n\r\nbegun",
            lambda rest: len(rest) >= 1000,
            id="of a known length",
        ),
    ],
)
def test_what_is_no_stream_of_events_is_broken_off(
    stage: Stage, begin: bytes, is_complete: Callable[[bytes], bool]
) -> None:
    with streaming(stage, f"X-Forwarded-For: {HOME}", begin=begin) as stream:
        banned(stage, "")
        seconds, rest = stream.ends()
        assert b"ACCESS_REVOKED" not in rest
        assert not is_complete(rest)
        assert seconds < SECOND
        assert stream.is_cancelled()


def test_the_event_under_way_is_completed_first(stage: Stage) -> None:
    stage = replace(stage, there=stage.here)  # known at once: what is sent next is sent to what ends
    with stage.here.connect(TRUSTED) as client:
        client.send(get("/v1/chat/completions", f"X-Forwarded-For: {HOME}"))
        peer = stage.backend.accept()
        peer.request()
        peer.send(SSE + piece(b'data: {"choices":[{"delta":{"content":"one"}}]}\n\n'))
        client.head()
        client.chunk()
        peer.send(piece(b'data: {"choices":[{"delta":'))
        banned(stage, "")
        with contextlib.suppress(OSError):
            for part in (b'{"content":"two"}', b"}]}\n", b"\ndata: three\n\n"):
                time.sleep(0.02)
                peer.send(piece(part))
        rest = client.rest()
    events = [line for line in rest.split(b"\n") if line.startswith(b"data: ")]
    assert b"three" not in rest
    assert b'"code":"ACCESS_REVOKED"' in events[-1]
    assert rest.endswith(b"\r\n0\r\n\r\n")


def test_a_websocket_is_closed_with_a_reason(stage: Stage) -> None:
    with stage.here.connect(TRUSTED) as client:
        client.send(get("/ws", *HANDSHAKE, PAGE, f"X-Forwarded-For: {HOME}"))
        peer = stage.backend.accept()
        peer.send(switching(peer.request()))
        assert client.head().status == 101
        peer.send(server_frame(TEXT, b"hello"))
        assert at_client(client)[1] == b"hello"
        banned(stage, "")
        began = time.monotonic()
        assert at_client(client) == (CLOSE, close(1008, b"Access has been revoked"), True)
        assert time.monotonic() - began < SECOND
        assert at_backend(peer)[:2] == (CLOSE, close(1001))
        assert client.ended(SECOND)
        assert peer.ended(SECOND * 3)
    stage.here.logged(event="STREAM_REVOKED", route="ws", status=101)


def test_a_stream_to_http_1_0_ends_with_its_connection(stage: Stage) -> None:
    with stage.here.connect(TRUSTED) as client:
        client.send(b"GET /v1/chat/completions HTTP/1.0\r\nHost: h\r\nX-Forwarded-For: %b\r\n\r\n" % HOME.encode())
        peer = stage.backend.accept()
        peer.request()
        peer.send(SSE + piece(b"data: begun\n\n"))
        assert client.until(b"data: begun\n\n")
        banned(stage, "")
        assert b'"code":"ACCESS_REVOKED"' in client.rest()
        assert not client.reset
        assert peer.ended(SECOND)


def test_a_client_that_does_not_read_holds_nothing(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_connection, "_UNREAD", 0.5)
    assert stage.here.app is not None
    listener = stage.here.app.public
    began = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
    with streaming(stage, f"X-Forwarded-For: {HOME}", begin=began) as stream:
        stream.peer.sock.settimeout(1)
        with contextlib.suppress(TimeoutError):
            while True:
                stream.peer.send(piece(bytes(65_536)))
        open_before = len(listener._connections)
        banned(stage, "")
        assert stream.is_cancelled()
        until(lambda: len(listener._connections) < open_before, "its connection to be closed", SECOND * 3)


def test_a_ban_of_a_proxy_that_is_trusted_ends_nothing(stage: Stage) -> None:
    with streaming(stage) as stream:  # without a forwarding header: the proxy speaks for itself
        stage.manage("POST", "/api/bans", {"ip": TRUSTED, "seconds": 60})
        time.sleep(SECOND)
        assert stream.runs()
    stage.manage("DELETE", f"/api/bans/{TRUSTED}")


def test_what_begins_after_a_revocation_is_left_alone(stage: Stage) -> None:
    erased("ip")(stage, "")
    time.sleep(SECOND * 0.7)
    with streaming(stage, f"X-Forwarded-For: {HOME}") as stream:
        time.sleep(SECOND * 1.5)
        assert stream.runs()


# --- the vault ---------------------------------------------------------------------------------------


def vault_of(stage: Stage) -> Outbound:
    return Outbound(stage.there, stage.egress, LanguageModel(stage.backend.port, Path(), set()))


@pytest.fixture
def key(stage: Stage) -> Iterator[str]:
    """The id of acme's key, which the replica that serves knows."""
    vault = vault_of(stage)
    vault.add_key("acme", ACME_KEY, f"127.0.0.1:{stage.backend.port}")
    (row,) = vault.wait(vault.vault.credentials.list("acme"))
    assert stage.here.app is not None
    serving = stage.here.app
    until(lambda: row.id in serving.vault.credential_ids(), "the key to be known")  # type: ignore[union-attr]
    yield row.id
    for left in vault.wait(vault.vault.credentials.list("acme")):
        vault.wait(vault.vault.credentials.delete(OPERATOR, "acme", left.id))


def revoked_handle(stage: Stage, handle: str, _: str) -> None:
    stage.cli("handle", "revoke", "acme", handle)


def revoked_handle_by_api(stage: Stage, handle: str, _: str) -> None:
    assert stage.manage("DELETE", f"/api/handles/{handle}") == 200


def revoked_handles_of_session(stage: Stage, _: str, __: str) -> None:
    stage.cli("handle", "revoke", "acme", "--session", OLD_SESSION)


def deleted_key(stage: Stage, _: str, credential: str) -> None:
    stage.cli("credentials", "delete", "acme", credential, "--now")


def deleted_key_by_api(stage: Stage, _: str, credential: str) -> None:
    assert stage.manage("DELETE", f"/api/api-credentials/{credential}") == 200


WAYS = [
    pytest.param(revoked_handle, "handle", id="handle revoke"),
    pytest.param(revoked_handle_by_api, "handle", id="handle by the API"),
    pytest.param(revoked_handles_of_session, "session", id="handles of a session"),
    pytest.param(deleted_key, "credential", id="credentials delete"),
    pytest.param(deleted_key_by_api, "credential", id="credential by the API"),
]
OLD_SESSION = "session-that-is-revoked"
CHUNK = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}


def chunk_of(text: str) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return piece(b"data: " + json.dumps({**CHUNK, "choices": [choice]}).encode() + b"\n\n")


@pytest.mark.parametrize(("revoke", "kind"), WAYS)
def test_the_openai_client_reports_a_revoked_stream_as_its_error(
    stage: Stage, key: str, revoke: Callable[[Stage, str, str], None], kind: str
) -> None:
    session = OLD_SESSION if kind == "session" else "another"
    token, handle = vault_of(stage).handle("acme", session=session)
    other, _ = vault_of(stage).handle("acme") if kind != "credential" else (None, None)
    url = f"http://127.0.0.1:{stage.egress}/openai/v1"
    with openai.OpenAI(base_url=url, api_key=token, max_retries=0) as client, ExitStack() as stack:
        asked = concurrent(lambda: stream_of(client))
        peer = stage.backend.accept()
        assert peer.request().get(b"authorization") == b"Bearer " + ACME_KEY.encode()
        peer.send(SSE + chunk_of("Hello"))
        stream = asked()
        assert next(stream).choices[0].delta.content == "Hello"
        if other is not None:
            bystander = stack.enter_context(openai.OpenAI(base_url=url, api_key=other, max_retries=0))
            asked = concurrent(lambda: stream_of(bystander))
            beside = stage.backend.accept()
            beside.request()
            beside.send(SSE + chunk_of("Hello"))
            goes_on = asked()
            next(goes_on)
        revoke(stage, handle, key)
        began = time.monotonic()
        with pytest.raises(openai.APIError, match="Access has been revoked") as raised:
            list(stream)
        assert time.monotonic() - began < SECOND
        assert raised.value.code == "ACCESS_REVOKED"
        assert peer.ended(SECOND)
        if other is not None:
            beside.send(chunk_of(" there"))
            assert next(goes_on).choices[0].delta.content == " there"
        with pytest.raises(openai.APIStatusError):
            stream_of(client)
    line = stage.here.logged(event="STREAM_REVOKED", route="egress:openai", detail={"revoked": kind})
    assert line["organization"] == "acme"


def concurrent(ask: Callable[[], Any]) -> Callable[[], Any]:
    """Begin to ask; return what waits for the answer."""
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(ask()), daemon=True)
    thread.start()

    def answer() -> Any:
        thread.join(20)
        (one,) = answers
        return one

    return answer


def stream_of(client: openai.OpenAI) -> Any:
    message: Any = {"role": "user", "content": "Hi"}
    return client.chat.completions.create(model="m", messages=[message], stream=True)


def test_a_websocket_to_a_provider_is_closed_with_a_reason(stage: Stage, key: str) -> None:
    token, handle = vault_of(stage).handle("acme")
    with connect(stage.egress) as client:
        client.send(get("/openai/v1/realtime", *HANDSHAKE, f"Authorization: Bearer {token}"))
        peer = stage.backend.accept()
        peer.send(switching(peer.request()))
        assert client.head().status == 101
        revoked_handle(stage, handle, key)
        assert at_client(client) == (CLOSE, close(1008, b"Access has been revoked"), True)
        assert at_backend(peer)[:2] == (CLOSE, close(1001))
    stage.here.logged(event="STREAM_REVOKED", route="egress:openai", status=101, detail={"subject": handle})


def test_a_route_with_a_deleted_key_ends_on_the_public_listener(stage: Stage, key: str) -> None:
    with streaming(stage, *lines_of(HOME, "acme"), path="/keyed") as stream:
        deleted_key(stage, "", key)
        seconds, rest = stream.ends()
        assert b"ACCESS_REVOKED" in rest
        assert seconds < SECOND
    stage.here.logged(event="STREAM_REVOKED", route="keyed", detail={"revoked": "credential", "subject": key})


def test_a_rotated_key_ends_nothing(stage: Stage, key: str) -> None:
    vault = vault_of(stage)
    with streaming(stage, *lines_of(HOME, "acme"), path="/keyed") as stream:
        vault.wait(vault.vault.credentials.rotate(OPERATOR, "acme", key, Secret(ACME_KEY + "2")))
        time.sleep(SECOND)
        assert stream.runs()
