"""`sidecar suggest`, as a person runs it beside a sidecar that observes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from sidecar.__main__ import main
from tests.support.backends import Serving
from tests.support.raw import post
from tests.support.sidecar import MASTER, threaded

SAID = ("what is the weather like", "tell me about trains please", "and a short story now")


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JWT_SECRET_FILE", raising=False)
    monkeypatch.setenv("JWT_SECRET", MASTER)


def observed(
    folder: Path, capsys: pytest.CaptureFixture[str], *arguments: str, **sections: Any
) -> tuple[int, str, str]:
    """Send three messages, then run the command."""
    with Serving() as backend, threaded(folder, backend.url, {"JWT_SECRET": MASTER}, **sections) as running:
        with running.connect() as client:
            for text in SAID:
                body = json.dumps({"id": "0b1c", "said": {"text": text}}).encode()
                assert client.send(post("/ask/6c1f9b0e-3f0a-4c58-9a3a-0f3f1c2d4e5f", body)).response().status == 200
        capsys.readouterr()
        code = main(["suggest", "--policy", str(running.policy), *arguments])
    out, err = capsys.readouterr()
    return code, out, err


def test_it_prints_routes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = observed(tmp_path, capsys, mode="observe")
    assert code == 0
    assert '    match: { path: "/ask/*", methods: [POST] }' in out.splitlines()
    assert '    message: { fields: ["$.said.text"] }' in out.splitlines()
    assert not any(text in out for text in SAID)


def test_it_prints_what_they_rest_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = observed(tmp_path, capsys, "--json", mode="observe")
    (place,) = json.loads(out)["routes"][0]["places"]
    assert (code, place["path"], place["sure"], place["different"]) == (0, "$.said.text", True, 3)


@pytest.mark.parametrize("sections", [{}, {"mode": "observe", "suggestions": False}], ids=["enforced", "switched off"])
def test_nothing_is_observed(tmp_path: Path, capsys: pytest.CaptureFixture[str], sections: dict[str, Any]) -> None:
    code, out, err = observed(tmp_path, capsys, **sections)
    assert (code, out) == (1, "")
    assert "mode: observe" in err


def test_no_sidecar_answers(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["suggest", "--management", "http://127.0.0.1:9"]) != 0
    assert "no sidecar answers" in capsys.readouterr().err


def test_what_it_prints_is_a_policy_that_guards_the_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = observed(tmp_path, capsys, mode="observe")
    suggested = tmp_path / "suggested.yaml"
    suggested.write_text(out)
    assert main(["check", str(suggested)]) == 0
    assert capsys.readouterr().err == ""
    told = yaml.safe_load(out)
    with Serving() as backend, threaded(tmp_path, backend.url, routes=told["routes"]) as running:
        with running.connect() as client:
            for text, status in (("<img src=x onerror=alert(1)>", 200), ("x" * 1001, 400)):
                body = json.dumps({"id": "0b1c", "said": {"text": text}}).encode()
                assert client.send(post("/ask/0f1c9b0e-3f0a-4c58-9a3a-0f3f1c2d4e5f", body)).response().status == status
        assert [json.loads(each.body)["said"]["text"] for each in backend.seen] == ["&lt;img src=x onerror=alert(1)>"]
