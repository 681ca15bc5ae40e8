"""The documented example of a guard: installed as a package, listed, checked, explained, and asked by a real sidecar."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.backends import Serving
from tests.support.raw import post
from tests.support.sidecar import Running, sidecar

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs/examples/guard"
PAGE = (ROOT / "docs/extending.md").read_text()
POLICY = """\
version: 1
backend: { url: http://127.0.0.1:3001 }
guards: { blocklist: { settings: { words: [Project Falcon] } } }
routes:
  - { name: chat, match: { path: /api/chat, methods: [POST] }, message: { fields: [$.message] } }
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Install the example into a folder of its own; return what PYTHONPATH has to say."""
    folder = tmp_path_factory.mktemp("packages")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index"]
    done = subprocess.run(
        [*pip, "--no-deps", "--no-build-isolation", "--target", str(folder), str(EXAMPLE)],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return str(folder)


def command(installed: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sidecar", *arguments],
        env={**os.environ, "PYTHONPATH": installed}, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["chat_guard/blocklist.py", "chat_guard/business_hours.py", "pyproject.toml"])
def test_the_page_shows_the_files_that_are_installed(name: str) -> None:
    assert (EXAMPLE / name).read_text() in re.findall(
        r"^```(?:python|toml)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL
    )


def test_it_is_listed(installed: str) -> None:
    said = command(installed, "guards")
    assert said.returncode == 0, said.stderr
    assert "blocklist  (chat-guard 1.0.0)  message: refuses messages that hold one of some words" in said.stdout
    assert "    words: required  words that no message may hold" in said.stdout
    listed = json.loads(command(installed, "guards", "--json").stdout)["guards"]
    assert [(each["name"], each["stage"]) for each in listed] == [("blocklist", "message"), ("business-hours", "head")]


def test_nothing_is_listed_where_nothing_is_installed(tmp_path: Path) -> None:
    said = command(str(tmp_path), "guards")
    assert (said.returncode, said.stderr) == (0, "")
    assert said.stdout.startswith("no installed package brings a guard")


def test_a_policy_that_uses_it_is_checked_and_explained(installed: str, tmp_path: Path) -> None:
    policy, body = tmp_path / "policy.yaml", tmp_path / "body.json"
    policy.write_text(POLICY)
    body.write_text('{"message": "what is project FALCON?"}')
    assert command(installed, "check", str(policy)).returncode == 0
    asked = ["explain", "--policy", str(policy), "POST", "/api/chat", "-H", "Content-Type: application/json"]
    said = command(installed, *asked, "--body", str(body), "--expect", "refuse")
    assert said.returncode == 0, said.stdout + said.stderr
    assert re.search(rf"guards\.blocklist +refuse 403 CONTENT_BLOCKED .*{policy}:3 +guards\.blocklist", said.stdout)
    policy.write_text(POLICY.replace("words: [Project Falcon]", "word: x"))
    broken = command(installed, "check", str(policy))
    assert broken.returncode == 2
    assert f"{policy}:3:42: guards.blocklist.settings.word: is not a key that is known here" in broken.stdout


@pytest.fixture
def running(installed: str, tmp_path: Path) -> Iterator[Running]:
    guards = {"blocklist": {"settings": {"words": ["Project Falcon"]}}}
    routes = [
        {"name": "chat", "match": {"path": "/api/chat", "methods": ["POST"]}, "message": {"fields": ["$.message"]}}
    ]
    with (
        Serving() as backend,
        sidecar(tmp_path, backend.url, {"PYTHONPATH": installed}, guards=guards, routes=routes) as made,
    ):
        yield made


def test_a_sidecar_asks_it(running: Running) -> None:
    with running.connect() as client:
        assert client.send(post("/api/chat", b'{"message": "hello"}')).response().status == 200
        refused = client.send(post("/api/chat", b'{"message": "about project falcon"}')).response()
    assert refused.status == 403
    assert json.loads(refused.body)["code"] == "CONTENT_BLOCKED"
    line = running.logged(event="CONTENT_BLOCKED")
    assert line["detail"]["guard"] == "guards.blocklist"
    assert (line["detail"]["reason"], line["detail"]["word"]) == ("a word of the list", 0)
    assert "falcon" not in running.log.read_text().lower()
