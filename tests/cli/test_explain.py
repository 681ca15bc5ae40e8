"""`sidecar explain --expect`: a pipeline's question, answered by the exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sidecar.__main__ import main

TEXT = """\
version: 1
backend: { url: http://127.0.0.1:3001 }
cors: { allowed_origins: ["https://chat.example.com"] }
"""
FOREIGN = ["-H", "Origin: https://elsewhere.example"]
OWN = ["-H", "Origin: https://chat.example.com"]
REFUSED = "is refused: 403 CORS_BLOCKED"


@pytest.fixture
def policy(tmp_path: Path) -> str:
    path = tmp_path / "policy.yaml"
    path.write_text(TEXT)
    return str(path)


@pytest.mark.parametrize(
    ("expected", "request_", "code", "told"),
    [
        ([], ["POST", "/chat", *FOREIGN], 0, ""),
        (["--expect", "refuse"], ["POST", "/chat", *FOREIGN], 0, ""),
        (["--expect", "pass"], ["POST", "/chat", *FOREIGN], 1, f"expected pass, but POST /chat {REFUSED}\n"),
        (["--expect", "pass"], ["POST", "/chat", *OWN], 0, ""),
        (["--expect", "refuse"], ["POST", "/chat", *OWN], 1, "expected refuse, but POST /chat is not refused\n"),
        (["--expect", "pass"], ["GET", "/api/rate-limit/status"], 0, ""),
    ],
    ids=["no expectation", "refused as expected", "refused", "passes as expected", "passes", "answered here"],
)
def test_the_exit_code_says_whether_it_is_as_expected(policy, capsys, expected, request_, code, told) -> None:
    assert main(["explain", "--policy", policy, *expected, *request_]) == code
    assert "".join(line for line in capsys.readouterr().err.splitlines(True) if "expected" in line) == told


def test_json_is_printed_all_the_same(policy, capsys) -> None:
    assert main(["explain", "--policy", policy, "--json", "--expect", "pass", "POST", "/chat", *FOREIGN]) == 1
    assert json.loads(capsys.readouterr().out)["decision"] == "refuse"


def test_another_word_is_wrong_usage(policy) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["explain", "--policy", policy, "--expect", "perhaps", "GET", "/"])
    assert ended.value.code == 2


def test_a_policy_that_does_not_compile_is_no_answer(tmp_path, capsys) -> None:
    broken = tmp_path / "policy.yaml"
    broken.write_text(TEXT + "corss: {}\n")
    assert main(["explain", "--policy", str(broken), "--expect", "refuse", "GET", "/"]) == 2
    assert "corss" in capsys.readouterr().err
