"""Real clients and servers of the chat protocols, in an environment of their own: found, started, listened to."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import Process, free_port
from tests.support.tools import need

ROOT = Path(__file__).parents[2]
HERE = ROOT / "tests" / "clients"
PYTHON = ROOT / ".venv-clients" / "bin" / "python"
NODE_MODULES = HERE / "node" / "node_modules"
INSTALLED = ROOT / ".venv-clients" / ".installed"

MARKUP = "say <script>x</script> twice"
CLEANED = "say &lt;script>x&lt;/script> twice"
LONG = "long " * 20
MOST = 64
"""Characters that the routes of these tests let a message have."""

_QUIET = {
    "HOME": "",  # set to a folder of the test
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_OFFLINE": "1",
    "CHAINLIT_APP_ROOT": "",
    "LITERAL_API_KEY": "",
    "AI_SDK_LOG_WARNINGS": "false",
    "PYTHONWARNINGS": "ignore",
}


def need_clients(*parts: Path) -> None:
    """Skip the test aloud where the clients are not installed; in CI that is a failure."""
    if all(part.exists() for part in (*parts, INSTALLED)):
        return
    says = "the clients are not installed: run `make clients`"
    if os.environ.get("CI"):
        pytest.fail(says)
    pytest.skip(says)


def environment(folder: Path) -> dict[str, str]:
    """Return what the programs get: nothing that calls home, and a home of their own to write to."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    return {**kept, **_QUIET, "HOME": str(folder), "CHAINLIT_APP_ROOT": str(folder)}


class Backend:
    """One of the unmodified backends; it starts at once, and is waited for when its URL is asked for."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self._port = free_port()
        self._process = Process(_program(name, self._port), env=environment(folder), cwd=folder)

    @property
    def url(self) -> str:
        self._process.until_listening(self._port, seconds=90)
        return f"http://127.0.0.1:{self._port}"

    def close(self) -> None:
        # Some wait for clients that left without a word.
        self._process.stop(1)


def _program(name: str, port: int) -> list[str]:
    if name == "node":
        return [need("node"), str(HERE / "node" / "server.mjs"), str(port)]
    if name == "form_express":
        return [need("node"), str(HERE / "node" / "forms.mjs"), str(port)]
    if name == "form_php":
        return [need("php"), "-S", f"127.0.0.1:{port}", str(HERE / "servers" / "form_php.php")]
    if name == "chainlit":
        app = str(HERE / "servers" / "chainlit_app.py")
        return [str(PYTHON), "-m", "chainlit", "run", app, "--headless", "--host", "127.0.0.1", "--port", str(port)]
    return [str(PYTHON), str(HERE / "servers" / f"{name}.py"), str(port)]


def facts(folder: Path, driver: str, url: str, many: int = 40) -> dict[str, Any]:
    """Run a client against a URL; return what it says came of it. It goes on for `many` messages unless refused."""
    if driver.endswith(".mjs"):
        program = [need("node"), str(HERE / "node" / driver)]
    else:
        program = [str(PYTHON), str(HERE / "drivers" / f"{driver}.py")]
    run = subprocess.run(
        [*program, url, MARKUP, LONG, str(many)],
        env=environment(folder),
        cwd=folder,
        capture_output=True,
        timeout=90,
        check=False,
    )
    assert run.returncode == 0, run.stderr.decode()[-4000:]
    found: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return found
