"""Whatever fields a client sends, and a backend answers: what comes out the other side keeps to the rules."""

from __future__ import annotations

from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from tests.support.backends import Backend
from tests.support.raw import Message, get
from tests.support.sidecar import Running

HOP_BY_HOP = {
    b"connection", b"keep-alive", b"proxy-connection", b"proxy-authenticate", b"proxy-authorization", b"te", b"trailer",
    b"transfer-encoding", b"upgrade", b"http2-settings", b"proxy-authentication-info",
}  # fmt: skip
OURS = {
    b"host": b"chat.example", b"via": b"1.1 sidecar", b"x-forwarded-for": b"127.0.0.1", b"x-real-ip": b"127.0.0.1",
    b"x-forwarded-proto": b"http", b"x-forwarded-host": b"chat.example", b"x-org-id": b"default",
    b"accept-encoding": b"identity",
}  # fmt: skip
TOKEN = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
SPECIAL = [
    "X-Forwarded-For", "x-forwarded-for", "X_Forwarded_For", "X-Real-IP", "Forwarded", "Via", "X-Request-ID", "TE",
    "Keep-Alive", "Proxy-Authorization", "Trailer", "X-Forwarded-Proto", "X-Org-ID", "Connection", "Cookie", "Accept",
    "Accept-Encoding", "X-Forwarded-Host", "Proxy-Connection", "X-Original-URL", "CF-Connecting-IP", "X-A", "x-a",
]  # fmt: skip
FREE = st.text(TOKEN, min_size=1, max_size=20).map(lambda text: "X-Free-" + text)
"""Names that mean nothing to anybody: they must pass, but for those with an underscore."""
VALUE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=30).filter(
    lambda text: not any(0x7F <= ord(char) <= 0xA0 for char in text)
)
LINES = st.lists(st.tuples(st.one_of(FREE, st.sampled_from(SPECIAL)), VALUE), max_size=12).filter(
    lambda lines: sum(name == "X-Org-ID" for name, _ in lines) < 2  # said twice it is refused
)
PROFILE = settings(
    max_examples=120,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # each example that fails costs a timeout: no shrinking
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def named(lines: list[tuple[str, str]]) -> set[bytes]:
    """Return what the Connection lines make hop-by-hop."""
    values = [value for name, value in lines if name.lower() == "connection"]
    return {part.strip().lower().encode("latin-1") for value in values for part in value.split(",")}


def free(fields: list[tuple[bytes, bytes]], gone: set[bytes]) -> list[tuple[bytes, bytes]]:
    return [(n, v) for n, v in fields if n.lower().startswith(b"x-free-") and b"_" not in n and n.lower() not in gone]


@PROFILE
@given(lines=LINES)
@example(lines=[("Connection", "x-free-a"), ("X-Free-a", "1"), ("X-Free-b", "2")])
@example(lines=[("Connection", "host, via, x-forwarded-for"), ("Connection", "x-request-id")])
def test_towards_the_backend(front: Running, backend: Backend, lines: list[tuple[str, str]]):
    backend.forget()
    with front.connect() as client:
        client.send(get("/p", *[f"{name}: {value}" for name, value in lines]))
        peer = backend.accept()
        request = peer.request()  # reads strictly: a name, a colon, a value
    assert not HOP_BY_HOP & request.names()
    assert not any(b"_" in name for name, _ in request.fields)
    for name, value in OURS.items():
        assert request.all(name) == [value]
    assert len(request.all(b"x-request-id")) == 1
    sent = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in lines]
    assert free(request.fields, set()) == free(sent, named(lines))


@PROFILE
@given(lines=LINES)
@example(lines=[("Connection", "x-free-a"), ("X-Free-a", "1"), ("X-Free-b", "2")])
@example(lines=[("Connection", "x-frame-options, content-security-policy, vary, content-length")])
def test_towards_the_client(front: Running, backend: Backend, lines: list[tuple[str, str]]):
    backend.forget()
    fields = "".join(f"{name}: {value}\r\n" for name, value in lines).encode("latin-1")
    with front.connect() as client:
        client.send(get("/p"))
        peer = backend.accept()
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\n" + fields + b"Content-Type: image/png\r\nContent-Length: 2\r\n\r\nok")
        reply: Message = client.response()
    assert reply.body == b"ok"
    assert not (HOP_BY_HOP - {b"connection"}) & reply.names()
    assert reply.get(b"content-length") == b"2"
    assert len(reply.all(b"x-request-id")) == 1
    for name in (b"x-frame-options", b"content-security-policy", b"x-content-type-options"):
        assert len(reply.all(name)) == 1
    sent = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in lines]
    assert free(reply.fields, set()) == free(sent, named(lines))
