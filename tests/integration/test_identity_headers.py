"""What clients may not claim is dropped, and operators see it; the policy may let a name through."""

from __future__ import annotations

import json
import time
import urllib.request
from pathlib import Path

from sidecar.admin.jwt import make_token
from sidecar.admin.roles import Role
from sidecar.secret import Secret
from tests.support.backends import Backend, answer
from tests.support.raw import get
from tests.support.sidecar import Running, threaded

SECRET = "an invented secret of forty characters.."


def dropped(front: Running) -> dict[str, int]:
    token = make_token(Secret(SECRET), Role.VIEWER, now=time.time(), ttl=60)
    request = urllib.request.Request(f"http://127.0.0.1:{front.management}/api/policy")
    request.add_header("Authorization", f"Bearer {token}")
    with urllib.request.urlopen(request, timeout=10) as reply:
        return json.load(reply)["dropped_headers"]


def test_what_is_dropped_is_seen_by_operators(tmp_path: Path):
    clients = {"pass_headers": ["Remote-Groups"], "trusted_proxies": ["127.0.0.2"]}
    with Backend() as backend, threaded(tmp_path, backend.url, {"JWT_SECRET": SECRET}, clients=clients) as front:
        lines = ("Remote-User: root", "Remote-Groups: staff", "X-Auth-Token: 1", "Proxy-Connection: x")
        for source in ("127.0.0.1", "127.0.0.1", "127.0.0.2"):
            with front.connect(source) as client:
                client.send(get("/", *lines))
                peer = backend.accept()
                names = peer.request().names()
                peer.send(answer(b"fine"))
                client.response()
            backend.forget()
            assert {b"remote-groups", b"x-auth-token"} <= names
            assert (b"remote-user" in names) == (source == "127.0.0.2")
        assert dropped(front) == {"remote-user": 2}
