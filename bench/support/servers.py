"""The servers of a measurement: nginx as a backend, nginx as a plain proxy, and the sidecar with its vault."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.support.chat import ANSWER, CREDENTIAL, KEY, POLICY
from tests.support.processes import free_port

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
TICKS = os.sysconf("SC_CLK_TCK")

NGINX = """
worker_processes 1; daemon off; master_process off; pid {folder}/{name}.pid; error_log {folder}/{name}.err;
events {{ worker_connections 16384; }}
http {{ access_log off; keepalive_requests 1000000000; client_body_temp_path {folder}; proxy_temp_path {folder};
  fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
{rest} }}
"""
BACKEND = """
  server {{ listen 127.0.0.1:{port} backlog=1024; default_type application/json;
    location / {{ error_page 418 = @stream; if ($http_accept ~ event-stream) {{ return 418; }}
      add_header X-Powered-By Chat; return 200 '{answer}'; }}
    location @stream {{ proxy_pass http://127.0.0.1:{sse}; proxy_http_version 1.1; proxy_buffering off; }} }}
"""
PROXY = """
  upstream b {{ server 127.0.0.1:{backend}; keepalive 64; keepalive_requests 1000000000; }}
  server {{ listen 127.0.0.1:{port} backlog=1024;
    location / {{ proxy_pass http://b; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; }} }}
"""


def cpu(pid: int) -> float:
    """Return the seconds that a process has computed, in user and kernel (proc(5): utime, stime)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident(pid: int) -> float:
    """Return the resident memory of a process in MiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmRSS"))) / 1024


def proportional(pid: int) -> float:
    """Return the proportional set size of a process in MiB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("Pss:"))) / 1024


def cores() -> tuple[set[int], set[int]]:
    """Return the core of what is measured, and those of everything else (the same one, if it is alone)."""
    every = sorted(os.sched_getaffinity(0))
    return {every[-1]}, set(every[:-1]) or {every[-1]}


@contextmanager
def running(command: list[str], port: int, core: set[int], **options: object) -> Iterator[subprocess.Popen[bytes]]:
    """Start a process on these cores, wait until it listens, and end it."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": ROOT, **options}
    process = subprocess.Popen(command, **quiet)  # type: ignore[call-overload]
    try:
        os.sched_setaffinity(process.pid, core)
        _until_listening(process, port)
        yield process
    finally:
        process.terminate()
        process.wait(timeout=30)


def _until_listening(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{' '.join(map(str, process.args))} does not listen on {port}") from None
            time.sleep(0.002)


def _nginx(folder: Path, name: str, rest: str) -> list[str]:
    file = folder / f"{name}.conf"
    file.write_text(NGINX.format(folder=folder, name=name, rest=rest))
    return ["nginx", "-p", str(folder), "-c", str(file), "-e", str(folder / f"{name}.err")]


@contextmanager
def backend(folder: Path) -> Iterator[int]:
    """Run the backend, and behind it the streaming one; the port is given."""
    _, others = cores()
    port, sse = free_port(), free_port()
    with (
        running([sys.executable, str(HERE / "sse_backend.py"), str(sse)], sse, others),
        running(_nginx(folder, "backend", BACKEND.format(port=port, sse=sse, answer=ANSWER)), port, others),
    ):
        yield port


@contextmanager
def plain_nginx(folder: Path, behind: int) -> Iterator[tuple[int, int]]:
    """Run nginx as a plain proxy; its pid and port are given."""
    measured, _ = cores()
    port = free_port()
    command = _nginx(folder, "proxy", PROXY.format(port=port, backend=behind))
    with running(command, port, measured) as process:
        yield process.pid, port


@contextmanager
def serve(policy: Path, port: int, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a sidecar without a vault on the measured core; its compiled sources are kept in `folder`."""
    measured, _ = cores()
    command = [sys.executable, "-m", "sidecar", "run", "--policy", str(policy)]
    with running(command, port, measured, env=_environ(folder)) as process:
        yield process


def _environ(folder: Path) -> dict[str, str]:
    keep = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "VIRTUAL_ENV")}
    return {**keep, "PYTHONPYCACHEPREFIX": str(folder / "compiled")}


class Sidecars:
    """Sidecars of one policy, with a vault or without, compiled ahead as an installed package is."""

    def __init__(self, folder: Path, behind: int) -> None:
        self._folder = folder
        self._port, self._management = free_port(), free_port()
        text = POLICY.format(port=self._port, management=self._management, backend=behind, folder=folder)
        (folder / "without.yaml").write_text(text)
        (folder / "with.yaml").write_text(text + CREDENTIAL)
        self._bare = _environ(folder)
        self._environ = {
            **self._bare,
            "ENCRYPTION_KEY": secrets.token_urlsafe(48),
            "DATABASE_URL": f"sqlite:///{folder / 'vault.db'}",
        }

    def store_key(self) -> None:
        """Put a provider's key into the vault, as an operator would."""
        command = [sys.executable, "-m", "sidecar", "credentials", "add", "default", "openai"]
        subprocess.run(
            command, input=KEY.encode(), env=self._environ, cwd=ROOT, check=True, capture_output=True, timeout=60
        )

    @contextmanager
    def run(self, *, vault: bool = True) -> Iterator[tuple[int, int, float]]:
        """Run one; its pid, port and the seconds until it listened are given."""
        measured, _ = cores()
        policy = self._folder / ("with.yaml" if vault else "without.yaml")
        command = [sys.executable, "-m", "sidecar", "run", "--policy", str(policy)]
        began = time.monotonic()
        with running(command, self._port, measured, env=self._environ if vault else self._bare) as process:
            yield process.pid, self._port, time.monotonic() - began
