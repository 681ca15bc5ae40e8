"""A disk that takes no more: chats go on, lost lines are counted, writes of the vault answer 503."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from pathlib import Path

from sidecar.admin.jwt import make_token
from sidecar.admin.roles import Role
from sidecar.secret import Secret
from tests.support.processes import free_port
from tests.support.raw import get
from tests.support.sidecar import policy_text, started, until

SECRET = "an invented secret of forty characters.."
FULL = (
    "bash",
    "-c",
    'ulimit -f 400; exec "$@"',
    "bash",
)  # files end at 400 KiB: each write beyond fails, as on a full disk
ENV = {"JWT_SECRET": SECRET, "ENCRYPTION_KEY": "another invented secret, also forty long."}


def create(management: int, name: str) -> int:
    token = make_token(Secret(SECRET), Role.ADMIN, now=time.time(), ttl=600)
    body = {"organization": "acme", "provider": "openai", "value": "sk-" + "x" * 40, "name": name}
    request = urllib.request.Request(f"http://127.0.0.1:{management}/api/api-credentials", json.dumps(body).encode())
    request.add_header("Authorization", f"Bearer {token}")
    request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:
            return reply.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_what_still_works(tmp_path: Path):
    policy = tmp_path / "policy.yaml"
    limits = [{"name": "many", "per": "ip", "limit": 1_000_000, "window": "1m", "counts": "all"}]
    sections = {"unmatched": "deny", "rate_limits": limits, "clients": {"ban": None}}
    policy.write_text(policy_text("http://127.0.0.1:9", tmp_path, free_port(), free_port(), **sections))
    with started(policy, tmp_path, ENV, before=FULL) as front:
        with front.connect() as client:
            for number in range(2500):
                client.send(get(f"/none/{number}"))
                assert client.response().status == 404
            until(lambda: front.metric("sidecar_log_lines_dropped_total") > 0, "lines to be lost")
            assert front.log.stat().st_size <= 400 * 1024
            statuses = []
            while 503 not in statuses and len(statuses) < 60:
                statuses.append(create(front.management, f"key-{len(statuses)}"))
            assert statuses[-1] == 503
            assert set(statuses[:-1]) <= {201}
            client.send(get("/none"))
            assert client.response().status == 404
        assert front.fetch("/livez")[0] == 200
