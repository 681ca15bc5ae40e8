"""`sidecar demo` as its own process, asked what the README says to ask, in the README's words."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest
import yaml

from tests.support.processes import free_port

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```bash\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
POLICY = next(
    text for text in re.findall(r"^```yaml\n(.*?)^```$", README, re.MULTILINE | re.DOTALL) if "your-website" in text
)
PATIENCE = 30.0
SECRETS = ("ENCRYPTION_KEY", "JWT_SECRET", "REDIS_URL", "DATABASE_URL", "SIDECAR_POLICY")
INSTALLING = ("make ", "python3.11 -m venv")
"""Commands that the Makefile's targets have run before these tests."""


@dataclass
class Running:
    """A process with what it says in files."""

    folder: Path
    public: int = 0
    management: int = 0
    process: subprocess.Popen[bytes] = field(init=False)

    @property
    def scratch(self) -> Path:
        """Where the process puts its temporary files."""
        return self.folder / "temporary"

    def said(self, stream: str = "stderr") -> str:
        return (self.folder / stream).read_text()

    def wait_for(self, pattern: str, stream: str = "stderr") -> re.Match[str]:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            found = re.search(pattern, self.said(stream))
            if found:
                return found
            assert self.process.poll() is None, self.said()
            time.sleep(0.02)
        raise AssertionError(f"{pattern!r} was not said: {self.said()}")

    def sh(self, script: str) -> str:
        """Run a block of the README against this demo."""
        script = script.replace("localhost:8080", f"127.0.0.1:{self.public}")
        script = script.replace("localhost:9090", f"127.0.0.1:{self.management}")
        return bash(script, self.folder)


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in SECRETS}
    # `sidecar` is the console script where the project is installed, and the module of the same name where not.
    return kept | {"PYTHONPATH": str(ROOT), "PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"}


def bash(script: str, folder: Path) -> str:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder, env=environment(), capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


@contextlib.contextmanager
def started(folder: Path, *command: str) -> Iterator[Running]:
    running = Running(folder)
    running.scratch.mkdir()
    with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
        env = environment() | {"TMPDIR": str(running.scratch)}
        process = running.process = subprocess.Popen(command, cwd=folder, env=env, stdout=out, stderr=err)
        try:
            yield running
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(PATIENCE)
            finally:
                process.kill()
                process.wait()


@contextlib.contextmanager
def demo(folder: Path, *arguments: str) -> Iterator[Running]:
    with started(folder, sys.executable, "-m", "sidecar", "demo", *arguments) as running:
        running.public = int(running.wait_for(r"guarded: +http://127.0.0.1:(\d+)/")[1])
        running.management = int(running.wait_for(r"saw: +http://127.0.0.1:(\d+)/metrics")[1])
        yield running


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A demo that the tests of this file share; nothing in them uses up a limit but the one that says so."""
    with demo(tmp_path_factory.mktemp("demo"), "--port", "0", "--management-port", "0") as running:
        yield running


def recipe(words: str, but: str = "\0") -> str:
    """Return the one block of the README that holds these words and not those."""
    (found,) = [block for block in BLOCKS if words in block and but not in block]
    return str(found)


def hello() -> str:
    return recipe('"message":"hello"', but="Origin")


def test_the_link_to_the_console_signs_in_and_is_in_no_log_line(shop: Running) -> None:
    address, token = shop.wait_for(r"console: +(http://127.0.0.1:\d+/console/)#token=(\S+)").groups()
    assert address == f"http://127.0.0.1:{shop.management}/console/"
    asked = urllib.request.Request(f"http://127.0.0.1:{shop.management}/api/whoami")
    asked.add_header("Authorization", f"Bearer {token}")
    with urllib.request.urlopen(asked) as response:
        found = json.load(response)
    assert (found["actor"], found["role"], found["organization"]) == ("demo", "admin", "*")
    assert token not in shop.said("stdout")


def test_every_command_of_the_readme_is_run_here() -> None:
    run = [hello(), *(recipe(words) for words in ("{1..70}", "<script>", "malicious-site", "sidecar check"))]
    left = [line for block in BLOCKS if block not in run for line in block.splitlines() if line]
    assert [line for line in left if not line.startswith(INSTALLING)] == []


def test_1_the_key_is_put_in_and_stands_nowhere(shop: Running) -> None:
    answer = json.loads(shop.sh(hello()))
    assert answer["authorized"] is True
    stolen = re.findall(r"`(curl http://localhost:8080/v1/models[^`]+)`", README)[0]
    answer = shop.sh(stolen)
    assert "parrot-1" in answer
    assert "sk-" not in answer


def test_3_the_message_is_made_harmless_and_said_to_be(shop: Running) -> None:
    answer = shop.sh(recipe("<script>"))
    assert "200 OK" in answer
    assert re.search(r"^X-Sidecar-Sanitized: ", answer, re.MULTILINE)
    body = json.loads(answer.splitlines()[-1])
    assert body["message"] == '&lt;script>alert("xss")&lt;/script>'
    assert '`&lt;script>alert("xss")&lt;/script>`' in README
    plain = shop.sh(hello().replace("hello", "3 < 5 && a[i] > b"))
    assert json.loads(plain)["message"] == "3 < 5 && a[i] > b"


def test_4_a_foreign_origin_is_refused_and_logged(shop: Running) -> None:
    answer = shop.sh(recipe("malicious-site"))
    assert "403 Forbidden" in answer
    body = json.loads(answer.splitlines()[-1])
    assert body["code"] == "CORS_BLOCKED"
    shop.wait_for(f'"category":"SECURITY","event":"CORS_BLOCKED".*{body["request_id"]}', "stdout")


def test_the_metrics_that_the_readme_names(shop: Running) -> None:
    assert "curl http://localhost:9090/metrics" in README
    assert "sidecar_requests_total" in shop.sh("curl -s http://localhost:9090/metrics")


def test_2_sixty_of_seventy_are_answered_and_nothing_is_left_behind(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with demo(tmp_path, "--port", str(port), "--management-port", "0") as running:
            assert running.public not in (0, port)
            assert f"port {port} is taken" in running.said()
            assert running.sh(recipe("{1..70}")).split() == ["60", "200", "10", "429"]
            answer = running.sh(hello().replace("curl ", "curl -is ", 1))
            (scratch,) = running.scratch.iterdir()
            running.process.send_signal(signal.SIGINT)
            assert running.process.wait(PATIENCE) == 0
    heads = dict(line.split(": ", 1) for line in answer.partition("\n\n")[0].splitlines()[1:])
    assert (heads["X-RateLimit-Limit"], heads["X-RateLimit-Remaining"]) == ("60", "0")
    reset = datetime.fromisoformat(heads["X-RateLimit-Reset"]).timestamp()
    said = parsedate_to_datetime(heads["Date"]).timestamp()
    assert 0 < reset - said <= int(heads["Retry-After"]) + 1 <= 63
    assert "Traceback" not in running.said()
    assert not scratch.exists()


def test_the_policy_of_the_readme_checks_explains_and_runs(tmp_path: Path) -> None:
    public, management = free_port(), free_port()
    # The README's policy on ports that are free here.
    listen = {"public": {"address": f"127.0.0.1:{public}"}, "management": {"address": f"127.0.0.1:{management}"}}
    (tmp_path / "policy.yaml").write_text(POLICY + yaml.safe_dump({"listen": listen | {"drain_delay": "0s"}}))
    lines = recipe("sidecar check").replace("sidecar ", f"{sys.executable} -m sidecar ").splitlines()
    assert [re.split(r"sidecar |=", line)[1].split()[0] for line in lines if "-m" in line] == [
        "check",
        "explain",
        "run",
    ]
    *before, run = lines
    with started(tmp_path, "bash", "-c", "\n".join([*before, f"exec {run}"])) as running:
        running.wait_for("listening on port")
        assert "fine, digest" in running.said("stdout")
        assert "cors            pass" in running.said("stdout")
        with urllib.request.urlopen(f"http://127.0.0.1:{management}/readyz", timeout=PATIENCE) as reply:
            assert reply.status == 200
