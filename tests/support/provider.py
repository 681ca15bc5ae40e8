"""A stand-in provider over TLS with a CA of its own: checks a key, answers as told, remembers what it saw."""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Answer: TypeAlias = tuple[int, dict[str, str], bytes]


@dataclass
class Seen:
    """One request, as the provider got it."""

    path: str
    headers: dict[str, str]


@dataclass
class Provider:
    """A running provider. `ca` is the file to trust; `answer` may be replaced by a test."""

    port: int
    ca: Path
    answer: Callable[[Seen], Answer]
    seen: list[Seen] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"


def accepts(header: str, value: str) -> Callable[[Seen], Answer]:
    """Answer 200 to this key, 401 to every other."""

    def answer(seen: Seen) -> Answer:
        good = seen.headers.get(header.lower()) == value
        body = {"object": "list", "data": []} if good else {"error": {"message": "Incorrect API key provided"}}
        return (200 if good else 401), {"Content-Type": "application/json"}, json.dumps(body).encode()

    return answer


@contextlib.contextmanager
def provider(folder: Path, answer: Callable[[Seen], Answer]) -> Iterator[Provider]:
    """Run a provider on a free port of localhost; `folder` gets its certificates."""
    ca, certificate, key = certificates(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    running = Provider(0, ca, answer)

    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:
            seen = Seen(self.path, {name.lower(): value for name, value in self.headers.items()})
            running.seen.append(seen)
            status, headers, body = running.answer(seen)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            return  # a client that does not trust us ends the handshake: that is a test, not an error

    server = Server(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    running.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield running
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def certificates(folder: Path, host: str = "localhost") -> tuple[Path, Path, Path]:
    """Write a CA and a certificate for `host` and 127.0.0.1 signed by it; return CA, certificate, key."""
    now = dt.datetime.now(dt.UTC)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test CA")])

    def builder(subject: x509.Name, public: ec.EllipticCurvePublicKey, *, ca: bool) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(ca_name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        )

    signer = builder(ca_name, ca_key.public_key(), ca=True).add_extension(
        x509.KeyUsage(False, False, False, False, False, True, True, False, False), critical=True
    )
    names = x509.SubjectAlternativeName([x509.DNSName(host), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    leaf = builder(subject, key.public_key(), ca=False).add_extension(names, critical=False)
    paths = folder / "ca.pem", folder / "provider.pem", folder / "provider.key"
    paths[0].write_bytes(signer.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(leaf.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    paths[2].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths
