"""docs/incident-response.md: every block runs, in its order, against a running sidecar, and does what the page says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.session import key_of
from tests.support.backends import Serving
from tests.support.pages import SECRETS, Shell, blocks
from tests.support.raw import get, post
from tests.support.sidecar import TRUSTED, sidecar, until

BLOCKS = blocks("incident-response.md")
ATTACKER = "203.0.113.9"


class Incident(Shell):
    """A sidecar under attack, and the commands of the page that were run."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            folder, "MANAGEMENT", "LOG", "POLICY", "TOKEN", NEW_KEY="sk-proj-" + "n" * 48, ADDRESS=ATTACKER
        )
        self.ran: list[str] = []

    def block(self, words: str) -> str:
        """Run the one block of the page that holds these words."""
        (found,) = [block for block in BLOCKS if words in block]
        self.ran.append(found)
        return self.page(found)

    def ask(self, *lines: str) -> tuple[int, dict[str, str]]:
        """Send a request of the attacker, through the trusted proxy; return status and body."""
        with self.running.connect(TRUSTED) as client:
            body = b'{"message": "hi"}'
            answer = client.send(post("/api/chat", body, f"X-Forwarded-For: {ATTACKER}", *lines)).response()
        return answer.status, json.loads(answer.body) if answer.body[:1] == b"{" else {}


@pytest.fixture
def incident(tmp_path: Path) -> Iterator[Incident]:
    """The credential is there before the start, so that the log has an anchor from the start on."""
    made = Incident(tmp_path)
    made.sh(f'printf %s "sk-proj-{"a" * 48}" | sidecar credentials add acme openai')
    sections = {"sessions": {"mode": "issue"}, "clients": {"ban": {"strikes": 1000, "within": "1m", "for": "15m"}}}
    with Serving() as backend, sidecar(tmp_path, backend.url, SECRETS, **sections) as made.running:
        yield made


def test_every_step_from_the_first_command_to_the_last(incident: Incident) -> None:
    running, sh, block = incident.running, incident.sh, incident.block
    block("TOKEN=$(sidecar token")
    sh("sidecar handle create acme openai")
    incident.variables["CREDENTIAL"] = json.loads(sh("sidecar credentials list acme --json"))[0]["id"]
    incident.variables["HANDLE"] = json.loads(sh("sidecar handle list acme --json"))[0]["id"]
    for name in ("SESSION", "SHORT_KEY"):
        with running.connect() as client:
            session = json.loads(client.send(post("/api/session", b"")).response().body)["sessionId"]
        incident.variables[name] = session if name == "SESSION" else key_of(session)[:8]
    status, refusal = incident.ask("Origin: https://elsewhere.example")
    assert status == 403
    incident.variables["REQUEST_ID"] = refusal["request_id"]
    running.logged(request_id=refusal["request_id"], event="CORS_BLOCKED")
    assert incident.ask()[0] == 200

    block("credentials rotate")
    assert json.loads(sh("sidecar credentials list acme --json"))[0]["last_four"] == "nnnn"
    block("handle revoke")
    assert "1 sessions" in block("erase --session")
    assert json.loads(block("api/sessions/end"))["ended"] == 1
    block('api/bans"')
    assert incident.ask()[0] == 403
    block("maintenance on")
    with running.connect() as client:
        assert client.send(get("/")).response().status == 503

    assert re.search(r"1 CORS_BLOCKED", block('.outcome == "refused") | .event'))
    assert "/api/chat" in block("[.ts, .method, .path")
    assert "CORS_BLOCKED" in block("sidecar why")
    block("SECRET_REDACTED")
    running.logged(event="ADMIN_ACTION", detail={"action": "audit.anchor"})
    assert "credential.rotate" in block("audit verify")
    assert "sidecar_requests_total" in block("/metrics")
    assert "incident.tar.gz" in block("incident.tar.gz")

    policy = running.policy.read_text()
    (incident.folder / "new.yaml").write_text(policy + "unmatched: deny\n")
    assert "unmatched" in block("sidecar diff")
    until(lambda: any(line.get("event") == "POLICY_RELOADED" for line in running.lines()), "the reload")
    block("maintenance off")
    assert incident.ask()[0] == 404, "served again, no longer banned, and held to the new policy"
    assert "default" in block("[.organization, .session]")
    block("erase --ip")
    assert [one for one in BLOCKS if one not in incident.ran] == []
