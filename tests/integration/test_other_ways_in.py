"""Other ways in and out: the PROXY protocol, Unix sockets, several backends, a route's own waits."""

from __future__ import annotations

import socket
import ssl
import subprocess
import time
from pathlib import Path

import pytest

from sidecar.errors import PolicyError
from tests.proxy.codec.test_proxy_protocol import TLS, V4, version_2
from tests.support.backends import Backend, Serving, answer
from tests.support.processes import free_port
from tests.support.raw import PATIENCE, Message, Raw, get
from tests.support.sidecar import TRUSTED, Running, threaded


def asked(client: Raw, *pieces: bytes) -> Message:
    with client:
        return client.send(*pieces).response()


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("proxied")
    port = free_port()
    listen = {"public": {"proxy_protocol": True, "address": f"127.0.0.1:{port}"}}
    with Serving() as backend, threaded(folder, backend.url, listen=listen) as running:
        running.public = port
        yield running, backend


HEARD = {
    "version 1": (b"PROXY TCP4 198.51.100.7 10.0.0.1 4711 443\r\n", b"198.51.100.7", b"http"),
    "version 2": (version_2(0x11, V4), b"198.51.100.7", b"http"),
    "version 2 with TLS": (version_2(0x11, V4 + TLS), b"198.51.100.7", b"https"),
    "the proxy itself": (version_2(0, b"", 0x20), TRUSTED.encode(), b"http"),
    "no header": (b"", TRUSTED.encode(), b"http"),
}


@pytest.mark.parametrize(("header", "address", "scheme"), HEARD.values(), ids=HEARD)
def test_a_trusted_peer_says_for_whom_it_connects(proxied: tuple[Running, Serving], header, address, scheme):
    running, backend = proxied
    assert asked(running.connect(TRUSTED), header + get("/")).status == 200
    assert backend.seen[-1].get(b"x-forwarded-for") == address
    assert backend.seen[-1].get(b"x-forwarded-proto") == scheme


def test_a_header_in_pieces(proxied: tuple[Running, Serving]):
    running, backend = proxied
    with running.connect(TRUSTED) as client:
        for piece in (b"PRO", b"XY TCP4 198.51.100.8 10.0", b".0.1 1 2\r", b"\n" + get("/")):
            client.send(piece)
            time.sleep(0.05)
        assert client.response().status == 200
    assert backend.seen[-1].get(b"x-forwarded-for") == b"198.51.100.8"


def test_an_untrusted_peers_header_is_no_request(proxied: tuple[Running, Serving]):
    running, _ = proxied
    reply = asked(running.connect(), b"PROXY TCP4 198.51.100.7 10.0.0.1 1 2\r\n" + get("/"))
    assert reply.status == 400


def test_a_bad_header_ends_the_connection(proxied: tuple[Running, Serving]):
    running, _ = proxied
    with running.connect(TRUSTED) as client:
        client.send(b"PROXY TCP4 nobody 10.0.0.1 1 2\r\n" + get("/"))
        assert client.ended(5)
        assert client.buffer == b""


def test_before_tls(tmp_path: Path):
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    port = free_port()
    tls = {"certificate": str(certificate), "key": str(key)}
    listen = {"public": {"proxy_protocol": True, "tls": tls, "address": f"127.0.0.1:{port}"}}
    with Serving() as backend, threaded(tmp_path, backend.url, listen=listen) as running:
        running.public = port
        context = ssl.create_default_context(cafile=str(certificate))
        for header, address in (
            (b"PROXY TCP4 198.51.100.7 10.0.0.1 1 2\r\n", b"198.51.100.7"),
            (b"", TRUSTED.encode()),
        ):
            plain = running.connect(TRUSTED)
            plain.send(header)
            client = Raw(context.wrap_socket(plain.sock, server_hostname="localhost"))
            assert asked(client, get("/")).status == 200
            assert backend.seen[-1].get(b"x-forwarded-for") == address
            assert backend.seen[-1].get(b"x-forwarded-proto") == b"https"


def unix(path: Path) -> Raw:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(PATIENCE)
    sock.connect(str(path))
    return Raw(sock)


@pytest.fixture
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("s")  # the path of a socket has at most 107 bytes


@pytest.mark.parametrize("trusted", [True, False], ids=["trusted", "untrusted"])
@pytest.mark.parametrize("proxy_protocol", [True, False], ids=["proxied", "plain"])
def test_listening_on_a_unix_socket(short: Path, trusted: bool, proxy_protocol: bool):
    path = short / "in.sock"
    listen = {"public": {"address": f"unix:{path}", "proxy_protocol": proxy_protocol}}
    clients = {"trusted_proxies": ["unix"] if trusted else []}
    with Serving() as backend, threaded(short, backend.url, listen=listen, clients=clients):
        lines = ("X-Forwarded-For: 198.51.100.7", "X-Forwarded-Host: public.example", "X-Forwarded-Proto: https")
        assert asked(unix(path), get("/", *lines)).status == 200
        heard = backend.seen[-1]
        said = [heard.get(name) for name in (b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto")]
        assert said == ([b"198.51.100.7", b"public.example", b"https"] if trusted else [b"", b"chat.example", b"http"])
        if trusted and proxy_protocol:
            assert asked(unix(path), b"PROXY TCP4 198.51.100.9 10.0.0.1 1 2\r\n", get("/")).status == 200
            assert backend.seen[-1].get(b"x-forwarded-for") == b"198.51.100.9"
        assert asked(unix(path), get("/")).status == 200
    assert not path.exists()


def test_a_socket_that_was_left_behind_makes_way_and_one_in_use_does_not(short: Path):
    path = short / "in.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left:
        left.bind(str(path))
    listen = {"public": {"address": f"unix:{path}"}}
    (short / "second").mkdir()
    with Serving() as backend, threaded(short, backend.url, listen=listen):
        assert asked(unix(path), get("/")).status == 200
        with pytest.raises(Exception, match="is in use"), threaded(short / "second", backend.url, listen=listen):
            pass
        assert asked(unix(path), get("/")).status == 200


class UnixServing(Serving):
    """The same on a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__(lambda _: answer(b"by socket"))
        self._socket.close()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(str(path))
        self._socket.listen(16)

    def _accept(self) -> None:
        try:
            while True:
                sock, _ = self._socket.accept()
                self._open.add(sock)
                self._serve(sock)
        except OSError:
            pass


def test_a_backend_on_a_unix_socket_and_others_by_name(short: Path):
    path = short / "app.sock"
    routes = [
        {"name": "files", "match": {"path": "/files/*"}, "backend": "files"},
        {"name": "here", "match": {"path": "/here/*"}},
    ]
    with Serving(lambda _: answer(b"files")) as files, UnixServing(path) as backend:
        backends = {"files": {"url": files.url, "preserve_host": False}}
        with threaded(short, f"unix:{path}", backends=backends, routes=routes) as running:
            assert asked(running.connect(), get("/files/a")).body == b"files"
            assert files.seen[-1].get(b"host") == f"127.0.0.1:{files.port}".encode()
            for target in ("/here/a", "/"):
                assert asked(running.connect(), get(target)).body == b"by socket"
            assert backend.seen[-1].get(b"host") == b"chat.example"


def test_a_unix_socket_that_is_not_there_is_a_backend_that_is_not_there(short: Path):
    with threaded(short, f"unix:{short}/app.sock") as running:
        assert asked(running.connect(), get("/")).status == 502


def test_a_route_waits_in_its_own_way(tmp_path: Path):
    routes = [
        {"name": "quick", "match": {"path": "/quick"}, "timeouts": {"first_byte": "200ms"}},
        {"name": "slow", "match": {"path": "/slow"}},
    ]
    with (
        Backend() as backend,
        threaded(tmp_path, backend.url, routes=routes) as running,
        running.connect() as quick,
        running.connect() as slow,
    ):
        slow.send(get("/slow"))
        peer = backend.accept()
        peer.request()
        began = time.monotonic()
        quick.send(get("/quick"))
        assert quick.response().status == 504
        assert time.monotonic() - began < 5
        peer.send(answer(b"after all"))
        assert slow.response().body == b"after all"


def test_an_unknown_backend_is_refused_with_its_place(tmp_path: Path):
    routes = [{"name": "files", "match": {"path": "/files/*"}, "backend": "fils"}]
    backends = {"files": {"url": "http://127.0.0.1:2"}}
    said = r'routes\[0\]\.backend: "fils" is not a name of backends; write one of files'
    with (
        pytest.raises(PolicyError, match=said),
        threaded(tmp_path, "http://127.0.0.1:1", routes=routes, backends=backends),
    ):
        pass
