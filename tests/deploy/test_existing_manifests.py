"""docs/kubernetes-existing.md: its commands run on its example, print what the page shows, and what they make is safe."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from tests.support.kustomize import command

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/kubernetes-existing.md").read_text().partition("## A Helm release")[0]
PARTS = re.findall(r"^```(bash|yaml|)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = [text for kind, text in PARTS if kind == "bash"]
SHOWN = [text for kind, text in PARTS if kind == ""]
(RULE,) = (text for kind, text in PARTS if kind == "yaml")


def shell(folder: Path, script: str) -> str:
    """Run commands of the page; return what they print, remarks included."""
    path = os.pathsep.join([str(Path(sys.executable).parent), str(Path(command()[0]).parent), "/usr/bin", "/bin"])
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, timeout=60, check=False, env={"PATH": path, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository as the page's reader has it, with the overlay that the first command makes."""
    made = tmp_path_factory.mktemp("existing")
    for name in ("docs", "deploy"):
        (made / name).symlink_to(ROOT / name)
    assert sorted(shell(made, COMMANDS[0]).splitlines()) == sorted(SHOWN[0].splitlines())
    return made


def test_what_comes_out_is_what_the_page_shows(folder: Path) -> None:
    assert sorted(shell(folder, COMMANDS[1]).splitlines()) == sorted(SHOWN[1].splitlines())
    for resource in yaml.safe_load_all((folder / "guarded.yaml").read_text()):
        kubernetes_validate.validate(resource, kubernetes_validate.latest_version(), strict=True)


def test_the_policy_is_fine_and_refuses_another_origin(folder: Path) -> None:
    assert "refused: 403 CORS_BLOCKED" in shell(folder, COMMANDS[2])


def test_prometheus_may_reach_the_exporter_once_it_is_said(folder: Path) -> None:
    file = folder / "guarded/component/networkpolicy.yaml"
    file.write_text(file.read_text() + RULE)
    with pytest.raises(AssertionError, match="admits the app's port 9113"):
        shell(folder, COMMANDS[1])
    meant = '  annotations: { chat-sidecar/dangerously-unguarded-ports: "9113" }\n'
    file.write_text(file.read_text().replace("metadata:\n", f"metadata:\n{meant}"))
    assert "fine; guarded: Deployment/helpdesk" in shell(folder, COMMANDS[1])
