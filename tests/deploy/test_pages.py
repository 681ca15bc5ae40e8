"""The commands of the operators' pages run, against a running sidecar with a vault."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.support.backends import Serving
from tests.support.pages import SECRETS, Shell, blocks
from tests.support.raw import post
from tests.support.sidecar import sidecar

KEY = "sk-proj-" + "a" * 48
SHOWN = "https://app.example.com"
STORE = 'printf %s "$KEY" | sidecar credentials add acme openai --name extra && sidecar handle create acme openai'
SECTIONS = {
    "cors": {"allowed_origins": [SHOWN]},
    "rate_limits": [{"name": "few", "per": "ip", "limit": 3, "window": "1h"}],
    "sessions": {"mode": "issue"},
}


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A sidecar that has a key, a handle, an anchor, a refusal by CORS and one by a limit."""
    folder = tmp_path_factory.mktemp("pages")
    made = Shell(folder, KEY=KEY, NEW=KEY.replace("a", "n"), OPENAI_API_KEY=KEY)
    made.sh(STORE)
    with Serving() as backend, sidecar(folder, backend.url, SECRETS, **SECTIONS) as made.running:
        with made.running.connect() as client:
            refused = client.send(post("/api/chat", b"{}", "Origin: https://elsewhere.example")).response()
            statuses = [client.send(post("/api/chat", b"{}")).response().status for _ in range(5)]
        assert statuses == [200, 200, 200, 429, 429]
        made.variables["REFUSED"] = json.loads(refused.body)["request_id"]
        made.running.logged(event="RATE_LIMIT_EXCEEDED")
        made.running.logged(event="ADMIN_ACTION", detail={"action": "audit.anchor"})
        policy = made.running.policy.read_text()
        (folder / "old.yaml").write_text(policy)
        (folder / "new.yaml").write_text(policy + "websocket: { idle: 10m }\n")
        yield made


def test_operating(shell: Shell) -> None:
    said = [
        shell.page(block.replace("r-4f1c9a0b-000017", shell.variables["REFUSED"])) for block in blocks("operating.md")
    ]
    assert len(said) >= 5
    assert "CORS_BLOCKED" in said[0]
    assert "websocket.idle" in said[1]


def test_observability(shell: Shell) -> None:
    (reading,) = [block for block in blocks("observability.md") if "grep SECURITY" in block]
    assert "https://elsewhere.example" in shell.page(reading)


def test_admin_api(shell: Shell) -> None:
    token, calls = blocks("admin-api.md")
    assert shell.page(token)
    *at_once, stream = calls.rstrip("\n").split("\n")
    assert stream.startswith("curl -N")
    said = shell.page("\n".join((*at_once, f"timeout 2 {stream} || [ $? -eq 124 ]")))
    assert "data: {" in said


def test_getting_started(shell: Shell) -> None:
    (looking,) = [block for block in blocks("getting-started.md") if "/readyz" in block]
    assert "403 Forbidden" in shell.page(looking)
    (asked,) = [block for block in blocks("getting-started.md") if block.startswith("sidecar explain")]
    assert "CORS_BLOCKED" in shell.page(asked.replace("policy.yaml", "new.yaml"))


def test_data(shell: Shell) -> None:
    with shell.running.connect() as client:
        answer = client.send(post("/api/session", b"")).response()
    session = json.loads(answer.body).get("sessionId", "0" * 64)
    (erasing,) = [block for block in blocks("data.md") if "sidecar erase" in block]
    said = shell.page(erasing.replace("--session ID", f"--session {session}"))
    assert "credentials" in said


NEEDS_A_PROVIDER = ("--test", "credentials test")


def test_credentials(shell: Shell) -> None:
    """What asks a provider is left to tests/cli/test_credentials.py, which has one. The other tests may have erased acme."""
    shell.sh(STORE)
    for block in sorted(blocks("credentials.md"), key=lambda block: "rewrap" in block):  # the key changes last
        script = "\n".join(line for line in block.split("\n") if not any(word in line for word in NEEDS_A_PROVIDER))
        if "export DATABASE_URL" in script:
            continue
        for listed, name in (("credentials", "crd_…"), ("handle", "hdl_…")):
            script = script.replace(name, json.loads(shell.sh(f"sidecar {listed} list acme --json"))[0]["id"])
        script = script.replace("acme openai --expires 90d", "globex openai --expires 90d")
        shell.page(script.replace("SESSION_KEY", "0" * 64))
    kept = json.loads((shell.folder / "audit.jsonl").read_text().split("\n")[0])
    assert kept["action"] == "credential.create"
