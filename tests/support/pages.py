"""The commands of a documentation page, run in a shell beside a running sidecar."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.support.sidecar import MASTER, Running, environment

ROOT = Path(__file__).parents[2]
SECRETS = {"JWT_SECRET": MASTER, "ENCRYPTION_KEY": MASTER[::-1]}
LOGS = ("/var/log/sidecar/events.log", "/var/log/sidecar.log", "app.log")
CALLING = """
sidecar() {
  case $1 in
    why|maintenance|drain|erase|suggest) command sidecar "$@" --management "$MANAGEMENT" ;;
    *) command sidecar "$@" ;;
  esac
}
"""
"""The pages leave out the address of the management listener where it is the default."""


def blocks(page: str) -> list[str]:
    """Return the shell blocks of a page: fenced ones, and runs of indented lines that begin with a command."""
    text = (ROOT / "docs" / page).read_text()
    fenced = re.findall(r"^```(?:sh|bash)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    rest = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    indented = re.findall(r"^(?:    (?:sidecar|printf|export|# restart|# exit).*\n)+", rest, re.MULTILINE)
    return [*fenced, *(re.sub(r"^    ", "", block, flags=re.MULTILINE) for block in indented)]


class Shell:
    """A shell in a folder with the sidecar's environment; variables that are listed last from script to script."""

    running: Running

    def __init__(self, folder: Path, *lasting: str, **variables: str) -> None:
        self.folder = folder
        self.variables = variables
        self._lasting = "|".join(lasting) or "MANAGEMENT"

    def sh(self, script: str) -> str:
        """Run a script, which must succeed; return what it prints."""
        kept = self.folder / "variables"
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        env = {**os.environ, **environment(self.folder, **SECRETS), **self.variables}
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", f"{script}\n(set -o posix; set) | grep -E '^[A-Z_]+=' > {kept}"],
            cwd=self.folder, capture_output=True, text=True, timeout=60, check=False,
            env=env | {"PYTHONPATH": str(ROOT), "PATH": path},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr + done.stdout
        found = re.findall(rf"^({self._lasting})=(.*)$", kept.read_text(), re.MULTILINE)
        self.variables |= {name: value.strip("'") for name, value in found}
        return done.stdout

    def page(self, script: str) -> str:
        """Run a block of a page, with the addresses and files of the running sidecar in it."""
        management = f"http://127.0.0.1:{self.running.management}"
        script = script.replace("http://127.0.0.1:9090", management).replace("http://localhost:9090", management)
        for host in ("127.0.0.1", "localhost"):
            script = script.replace(f"http://{host}:8080", f"http://127.0.0.1:{self.running.public}")
        for name in LOGS:
            script = script.replace(name, str(self.running.log))
        for name in ("/etc/sidecar/policy.yaml", "config/policy.yaml"):
            script = script.replace(name, str(self.running.policy))
        calls = CALLING if "--management" not in script else ""
        return self.sh(f"MANAGEMENT={management}\n{calls}{script}")
