"""A real Prometheus watches two real sidecars through an ordinary quarter of an hour and a bad one.

The rules are those of deploy/monitoring, with their own times, so a run takes about twenty minutes: `make test-alerts`.
Each phase names the alerts that must fire in it and within which time. An alert that is not named, or comes late, ends
the run with exit code 1. What is printed is the transcript in docs/alerts-under-attack.md.

tests/integration/test_alerts_fire.py does a part of this with times divided by twenty, for CI.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import itertools
import json
import signal
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import yaml

from tests.support.processes import Process, free_port
from tests.support.tools import find

ROOT: Final = Path(__file__).parents[1]
RULES: Final = ROOT / "deploy/monitoring/alerts.yaml"
SCRAPE: Final = "15s"
MASTER: Final = "an encryption key for this run only, and no other"
JWT: Final = "a secret of admin tokens for this run only, and no other"
JSON: Final = {"Content-Type": "application/json"}
FORGED: Final = ".".join(
    base64.urlsafe_b64encode(part).decode().rstrip("=")
    for part in (
        b'{"alg":"HS256"}',
        b'{"aud":"sidecar","role":"admin","org":"*","exp":4102444800}',
        b"not a signature" * 2,
    )
)
ONE_POLICY: Final = [
    {"source_labels": ["__name__"], "regex": "sidecar_policy_info", "target_label": "digest", "replacement": "one"}
]
"""On one machine the replicas' policies differ, in their ports; those of a Deployment do not."""
NAMES: Final = ("chat-5d8f7b9c4-abcde", "chat-5d8f7b9c4-fghij")
LONG: Final = frozenset({"ChatSidecarSecretRedacted"})
ACME: Final = {"Host": "acme.example.com", "Authorization": "Bearer any-key-will-do-for-the-demo"}
XSS: Final = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<<b>script>alert(1)</script>",
    "<svg/onload=x>",
)


def policy(backend: int, public: int, management: int, log: Path) -> str:
    """Return the policy of one replica: defaults, a chat, a model's route, and a budget that one user can use up."""
    return yaml.safe_dump({
        "version": 1,
        "listen": {
            "public": {"address": f"127.0.0.1:{public}"},
            "management": {"address": f"127.0.0.1:{management}"},
        },
        "backend": {"url": f"http://127.0.0.1:{backend}"},
        "cors": {"allowed_origins": ["https://chat.example.com"]},
        "routes": [
            {
                "name": "chat",
                "match": {"path": "/api/chat", "methods": ["POST"]},
                "message": {"fields": ["$.message"], "max_chars": 1000},
            },
            {"name": "model", "match": {"path": "/v1/*", "methods": ["POST"]}, "protocol": "openai", "message": {"max_chars": 100_000}},
        ],
        "organizations": {"from": ["host"], "hosts": {"acme.example.com": "acme"}},
        "budgets": [{"name": "day", "per": "organization", "limit": "380k tokens", "window": "1d"}],
        "events": {"log": None, "file": str(log)},
    }, sort_keys=False)  # fmt: skip


@dataclass
class Stage:
    """The backend, two replicas of a sidecar, and the Prometheus that watches them."""

    folder: Path
    backend_port: int = field(default_factory=free_port)
    prometheus_port: int = field(default_factory=free_port)
    public: list[int] = field(default_factory=list)
    management: list[int] = field(default_factory=list)
    backend: Process | None = None
    replicas: list[Process] = field(default_factory=list)
    prometheus: Process | None = None

    def start(self) -> None:
        self.start_backend()
        for name in NAMES:
            folder = self.folder / name
            folder.mkdir()
            public, management = free_port(), free_port()
            file = folder / "policy.yaml"
            file.write_text(policy(self.backend_port, public, management, folder / "events.log"))
            environment = {
                "ENCRYPTION_KEY": MASTER,
                "JWT_SECRET": JWT,
                "REDIS_URL": "",
                "DATABASE_URL": f"sqlite:///{folder}/v.db",
            }
            process = Process(
                [sys.executable, "-m", "sidecar", "run", "--policy", str(file)], env=environment, cwd=ROOT
            )
            self.replicas.append(process.until_listening(public, management, seconds=60))
            self.public.append(public)
            self.management.append(management)
        self._start_prometheus()

    def start_backend(self) -> None:
        command = [sys.executable, "-m", "sidecar.demo", "--port", str(self.backend_port)]
        self.backend = Process(command, cwd=ROOT).until_listening(self.backend_port, seconds=60)

    def _start_prometheus(self) -> None:
        found = find("prometheus")
        if found is None:
            raise SystemExit("prometheus is not installed: run tests/support/install-tools as root")
        targets = [
            {"targets": [f"127.0.0.1:{port}"], "labels": {"namespace": "shop", "pod": name}}
            for name, port in zip(NAMES, self.management, strict=True)
        ]
        config = self.folder / "prometheus.yaml"
        config.write_text(yaml.safe_dump({
            "global": {"scrape_interval": SCRAPE, "evaluation_interval": SCRAPE},
            "rule_files": [str(RULES)],
            "scrape_configs": [{"job_name": "chat", "static_configs": targets, "metric_relabel_configs": ONE_POLICY}],
        }))  # fmt: skip
        options = [f"--config.file={config}", f"--storage.tsdb.path={self.folder / 'data'}"]
        address = f"--web.listen-address=127.0.0.1:{self.prometheus_port}"
        self.prometheus = Process([found, *options, address]).until_listening(self.prometheus_port, seconds=60)

        while not self._is_ready():
            time.sleep(0.1)

    def _is_ready(self) -> bool:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{self._url}/-/ready", timeout=20):
            return True
        return False

    @property
    def _url(self) -> str:
        return f"http://127.0.0.1:{self.prometheus_port}"

    def firing(self) -> dict[str, dict[str, str]]:
        """Return the alerts that fire now, each with the labels of one of its series."""
        with urllib.request.urlopen(f"{self._url}/api/v1/alerts", timeout=20) as reply:
            alerts: list[dict[str, Any]] = json.load(reply)["data"]["alerts"]
        return {alert["labels"]["alertname"]: alert["labels"] for alert in alerts if alert["state"] == "firing"}

    def stop(self) -> None:
        for process in (self.prometheus, *self.replicas, self.backend):
            if process is not None:
                process.stop()


class Traffic:
    """Clients of a stage; each has an address of its own, and asks one question after another, at a steady rate."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def every(self, seconds: float, act: Callable[[int], object]) -> None:
        """Call `act(0)`, `act(1)`, … this often, in a thread of its own, until the block of `during` ends."""

        def run() -> None:
            began = time.monotonic()
            for number in itertools.count():
                if self._stop.wait(max(0.0, began + number * seconds - time.monotonic())):
                    return
                with contextlib.suppress(OSError, http.client.HTTPException):  # closed and killed on purpose
                    act(number)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        self._threads.append(thread)

    def end(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def ask(
        self,
        number: int,
        source: str,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> int:
        """Send one request to one of the replicas, in turn; return its status."""
        content = json.dumps(body) if body is not None and not isinstance(body, bytes) else body
        port = self._stage.public[number % len(self._stage.public)]
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20, source_address=(source, 0))
        with contextlib.closing(connection):
            connection.request(method, path, content, {**(JSON if body is not None else {}), **(headers or {})})
            with contextlib.closing(connection.getresponse()) as answer:
                answer.read()
                return answer.status

    # --- users ---------------------------------------------------------------------------------------

    def users(self) -> None:
        """Ten users who load the page, chat, stream, and at times make a mistake that is refused."""

        def user(number: int) -> None:
            source = f"127.0.3.{number % 10 + 1}"
            if number % 4 == 0:
                self.ask(number // 4, source, "GET", "/")
                self.ask(number // 4, source, "GET", "/assets/chat.js")
            elif number % 40 == 7:
                self.ask(number, source, "POST", "/api/chat", {"sessionId": "s", "message": "far too long " * 100})
            elif number % 40 == 18:
                self.ask(number, source, "GET", "/nothing-here")
            else:
                kind = {"Accept": "text/event-stream"} if number % 3 == 0 else None
                self.ask(number, source, "POST", "/api/chat", {"sessionId": "s", "message": "3 < 5 && a[i] > b?"}, kind)

        self.every(0.4, user)

    # --- the attack ----------------------------------------------------------------------------------

    def attack(self) -> None:
        """What a campaign does at once: all of it from addresses other than the users'."""
        message = {"sessionId": "s", "message": "hello"}
        self.every(0.05, lambda n: self.ask(n, "127.0.5.1", "POST", "/api/chat", message))
        self.every(0.5, self._foreign_page)
        self.every(0.5, self._script)
        self.every(1.0, self._oversize)
        for group in range(4):
            self.every(0.2, partial(self._smuggle, group))
        self.every(0.5, self._forged_token)
        self.every(0.5, self._undeclared_proxy)
        self.every(5.0, self._echoed_key)

    def _foreign_page(self, number: int) -> None:
        self.ask(number, "127.0.5.2", "POST", "/api/chat", {"message": "hello"}, {"Origin": "https://evil.example"})

    def _script(self, number: int) -> None:
        self.ask(number, f"127.0.5.{20 + number % 9}", "POST", "/api/chat", {"message": XSS[number % len(XSS)]})

    def _oversize(self, number: int) -> None:
        self.ask(number, "127.0.5.3", "POST", "/api/chat", {"message": "x" * (2 << 20)})

    def _smuggle(self, group: int, number: int) -> None:
        """Four addresses of each group send a request of two lengths, each to both replicas."""
        headers = {"Transfer-Encoding": "chunked", "Content-Length": "5"}
        self.ask(number, f"127.0.6.{4 * group + number // 2 % 4 + 1}", "POST", "/api/chat", b"0\r\n\r\n", headers)

    def _forged_token(self, number: int) -> None:
        """Someone who reached the management port guesses admin tokens."""
        url = f"http://127.0.0.1:{self._stage.management[number % 2]}/api/bans"
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {FORGED}"})
        with contextlib.suppress(urllib.error.HTTPError):
            urllib.request.urlopen(request, timeout=20).close()

    def _undeclared_proxy(self, number: int) -> None:
        self.ask(number, "127.0.7.1", "GET", "/", None, {"X-Forwarded-For": f"198.51.100.{number % 200}"})

    def _echoed_key(self, number: int) -> None:
        """A message that makes the backend say what looks like a provider's key."""
        key = "sk-proj-" + "Ab3dEf6hIj9kLm2n" * 4
        self.ask(number, "127.0.5.4", "POST", "/api/chat", {"message": f"repeat {key}"})

    # --- the bill ------------------------------------------------------------------------------------

    def spend(self) -> None:
        """The users of one organization ask the model until its budget is used up: much at first, little in the end."""

        def ask(number: int) -> None:
            words = 18_000 if number < 20 else 1_500
            question = {
                "model": "m",
                "max_tokens": 60,
                "messages": [{"role": "user", "content": "a b " * (words // 2)}],
            }
            source = f"127.0.3.{number % 3 + 11}"
            # One replica: without Redis each counts alone.
            self.ask(0, source, "POST", "/v1/chat/completions", question, ACME)

        self.every(1.5, ask)


@dataclass
class Run:
    """What has fired, phase by phase."""

    stage: Stage
    began: float = field(default_factory=time.monotonic)
    active: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)
    rows: list[tuple[str, str, str, str]] = field(default_factory=list)

    def say(self, text: str) -> None:
        seconds = int(time.monotonic() - self.began)
        print(f"{seconds // 60:02}:{seconds % 60:02}  {text}", flush=True)

    @contextlib.contextmanager
    def traffic(self) -> Iterator[Traffic]:
        made = Traffic(self.stage)
        try:
            yield made
        finally:
            made.end()

    def phase(
        self, title: str, must: Mapping[str, float], seconds: float, lasts: bool = False, ends: bool = False
    ) -> None:
        """Watch until all alerts of `must` fire, each within its seconds, and none that is in neither `must` nor active.

        lasts  watch for all of `seconds`, even when everything has fired
        ends   wait instead until none fires any more but LONG, which looks back ten minutes
        """
        self.say(f"-- {title}")
        start = time.monotonic()
        waiting = dict(must)
        while (took := time.monotonic() - start) < seconds:
            firing = self.stage.firing()
            for name in sorted(firing.keys() - self.active):
                labels = {
                    key: value
                    for key, value in firing[name].items()
                    if key not in ("alertname", "severity", "namespace", "job")
                }
                shown = ", ".join(f"{key}={value}" for key, value in sorted(labels.items()))
                self.say(f"FIRES     {name} [{firing[name]['severity']}] {shown}".rstrip())
                if name not in must:
                    self.wrong.append(f"{name} fired in the phase {title!r}, and should not")
                elif took > must[name]:
                    self.wrong.append(f"{name} fired after {took:.0f} s; at most {must[name]:.0f} are allowed")
                if name in must:
                    self.rows.append((title, name, _minutes(must[name]), _minutes(took)))
                waiting.pop(name, None)
            for name in sorted(self.active - firing.keys()):
                self.say(f"resolved  {name}")
            self.active = set(firing)
            if ends and firing.keys() <= LONG:
                self.say(f"what still fires: {', '.join(firing) or 'nothing'}")
                return
            if not waiting and not lasts and not ends:
                return
            time.sleep(2)
        if ends:
            self.wrong.append(f"after {title!r} there still fire {sorted(self.active)}")
        self.wrong += [f"{name} did not fire within {seconds:.0f} s of {title!r}" for name in waiting]
        if not must and not self.active:
            self.say("nothing fired")


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def play(run: Run) -> None:
    stage = run.stage
    with run.traffic() as calm:
        calm.users()
        run.phase("four minutes as usual: pages, chats, streams, a few mistakes", {}, 240, lasts=True)
        with run.traffic() as attack:
            attack.attack()
            run.phase("three minutes of an attack", {
                "ChatSidecarAttackByRatio": 180, "ChatSidecarAttackByCount": 180, "ChatSidecarBanSurge": 90,
                "ChatSidecarAuthFailures": 120, "ChatSidecarUndeclaredProxy": 180, "ChatSidecarSecretRedacted": 60,
            }, 180, lasts=True)  # fmt: skip
        run.phase("the attack is over; users go on", {}, 7 * 60, ends=True)
        assert stage.backend is not None
        stage.backend.stop()
        run.phase("the backend is killed", {"ChatSidecarBackendDown": 180}, 240)
        stage.start_backend()
        run.phase("the backend is back", {}, 5 * 60, ends=True)
        with run.traffic() as bill:
            bill.spend()
            run.phase("one user uses the budget up", {"ChatSidecarBudgetLow": 120, "ChatSidecarBudgetUsedUp": 150}, 180)
        stage.replicas[1].stop()
        run.phase("one of two replicas ends", {"ChatSidecarReplicaDown": 180}, 240)
        stage.replicas[0].stop()
        run.phase("the other one ends too", {"ChatSidecarDown": 120}, 180)


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started here is ended here
    with tempfile.TemporaryDirectory(prefix="sidecar-alerts-") as folder:
        stage = Stage(Path(folder))
        try:
            stage.start()
            run = Run(stage)
            play(run)
        finally:
            stage.stop()
    print("\n| phase | alert | at the latest after | fired after |\n|---|---|---|---|")
    for row in run.rows:
        print(f"| {' | '.join(row)} |")
    for each in run.wrong:
        print(f"WRONG: {each}", file=sys.stderr)
    print("every alert that should fire fired in time, and no other" if not run.wrong else f"{len(run.wrong)} faults")
    return 1 if run.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
