"""`sidecar check --kubernetes`: the exit code, and where each line goes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sidecar.__main__ import main

EXAMPLE = Path(__file__).parents[2] / "deploy/kubernetes/example.yaml"


def test_the_example_is_safe(capsys) -> None:
    assert main(["check", "--kubernetes", str(EXAMPLE)]) == 0
    said = capsys.readouterr()
    assert said.out == f"{EXAMPLE}: fine; guarded: Deployment/chat\n"
    assert said.err == ""


def test_a_way_past_the_sidecar_is_said_at_its_line(tmp_path, capsys) -> None:
    path = tmp_path / "rendered.yaml"
    text = EXAMPLE.read_text().replace("port: 80, targetPort: 8080", "port: 80, targetPort: 3001")
    path.write_text(text)
    line = next(number for number, each in enumerate(text.splitlines(), 1) if "targetPort: 3001" in each)
    assert main(["check", "--kubernetes", str(path)]) == 1
    assert capsys.readouterr().out == (
        f"{path}:{line}: Service/chat: port 80 leads to 3001 of Deployment/chat, past the sidecar; "
        "write targetPort: 8080\n"
    )
    assert main(["check", "--json", "--kubernetes", str(path)]) == 1
    said = json.loads(capsys.readouterr().out)
    assert (said["ok"], said["guarded"], said["findings"][0]["line"]) == (False, ["Deployment/chat"], line)


def test_manifests_without_a_sidecar_are_not_safe(tmp_path, capsys) -> None:
    path = tmp_path / "rendered.yaml"
    path.write_text("kind: Service\nmetadata: { name: a }\n")
    assert main(["check", "--kubernetes", str(path)]) == 1
    assert "no workload has a sidecar" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--kubernetes", "/nowhere.yaml"], "cannot read /nowhere.yaml: no such file"),
        (["policy.yaml", "--kubernetes", str(EXAMPLE)], "--kubernetes takes the policy from the manifests"),
    ],
    ids=["no file", "two files"],
)
def test_wrong_usage(arguments, said, capsys) -> None:
    assert main(["check", *arguments]) == 2
    assert said in capsys.readouterr().err
