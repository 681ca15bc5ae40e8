"""No other process of the user reads the memory of a running sidecar."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from tests.support.backends import Backend
from tests.support.sidecar import MASTER, sidecar

SEEN = """
import ctypes, resource
from sidecar.process_memory import keep_memory_private
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


def test_freed_memory_goes_back_to_the_system():
    program = """
import resource
from sidecar.process_memory import give_back_memory
def resident(): return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
small = [bytes(400) for _ in range(100_000)]
pin = bytes(400)
full = resident()
del small
give_back_memory()
print(full - resident())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=Path.cwd())
    assert int(done.stdout) > 20_000_000


def test_code_that_only_the_start_ran_is_no_longer_mapped_and_runs_again():
    program = """
import asyncio, hashlib, re, sqlite3, ssl
from sidecar.process_memory import give_back_memory
def of_files():
    return int(re.search(r"RssFile:\\s+(\\d+)", open("/proc/self/status").read())[1])
full = of_files()
give_back_memory()
print(full - of_files())
print(sqlite3.connect(":memory:").execute("select 2 + 2").fetchone()[0], hashlib.sha256(b"").hexdigest()[:8])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=Path.cwd())
    freed, *ran = done.stdout.split()
    assert int(freed) > 2_000  # KiB, of some 8,000
    assert ran == ["4", "e3b0c442"]


def cpu_seconds(pid: int) -> float:
    """Return what all threads have used; the kernel counts it in nanoseconds."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9


def resident_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def test_an_idle_sidecar_with_a_vault_costs_next_to_nothing(tmp_path):
    """Measured 0.08 % of a core and 69 MiB; the bounds are wide enough for a busy machine and other libraries."""
    with Backend() as backend, sidecar(tmp_path, backend.url, env={"ENCRYPTION_KEY": MASTER}) as running:
        time.sleep(2.0)
        before = cpu_seconds(running.process.pid)
        time.sleep(6.0)
        assert (cpu_seconds(running.process.pid) - before) / 6.0 < 0.003
        assert resident_mib(running.process.pid) < 77
