"""The memory of a running sidecar is nobody else's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.backends import Backend
from tests.support.sidecar import sidecar

SEEN = """
import ctypes, resource
from sidecar.process import keep_memory_private
before = ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)  # PR_GET_DUMPABLE
keep_memory_private()
print(before, ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), *resource.getrlimit(resource.RLIMIT_CORE))
"""


def test_no_core_and_no_reading_by_others():
    done = subprocess.run([sys.executable, "-c", SEEN], capture_output=True, text=True, check=True, cwd=Path.cwd())
    assert done.stdout.split() == ["1", "0", "0", "0"]


def test_the_running_sidecar_is_private(tmp_path):
    """The kernel gives the files of such a process to root."""
    with Backend() as backend, sidecar(tmp_path, backend.url) as running:
        limits = Path(f"/proc/{running.process.pid}/limits").read_text()
        (core,) = (line for line in limits.splitlines() if line.startswith("Max core file size"))
        assert core.split()[4:6] == ["0", "0"]
