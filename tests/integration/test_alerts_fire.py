"""A real Prometheus scrapes a real sidecar while it is attacked: the right alerts fire, soon, and no others.

Rules are those of deploy/monitoring with every time divided by SCALE (see `scaled`), so that minutes become seconds.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.backends import Serving
from tests.support.processes import free_port, running
from tests.support.raw import get, post
from tests.support.sidecar import Running, sidecar, until
from tests.support.tools import need

RULES = Path(__file__).parents[2] / "deploy/monitoring/alerts.yaml"
SCALE = 20
"""Three minutes of an attack are nine seconds here."""
ATTACKS = {"ChatSidecarAttackByRatio", "ChatSidecarAttackByCount"}
DURATION = re.compile(r"(?<=\[)(\d+)([mhd])(?=\])|(?<=offset )(\d+)([mhd])")
SECONDS = {"m": 60, "h": 3600, "d": 86400}


def scaled(text: str) -> str:
    """Return the rules with each range, offset and `for` SCALE times as short; rates a second stay what they are.

    One number counts over a fixed two minutes ("at least twenty refusals"): it is SCALE times as small as well.
    """

    def shorter(match: re.Match[str]) -> str:
        number, unit = (match[1], match[2]) if match[1] else (match[3], match[4])
        return f"{int(number) * SECONDS[unit] * 1000 // SCALE}ms"

    document = yaml.safe_load(text)
    for group in document["groups"]:
        group["interval"] = "500ms"
        for rule in group["rules"]:
            rule["expr"] = DURATION.sub(shorter, rule["expr"]).replace("* 120 > 20", f"* {120 / SCALE} > {20 / SCALE}")
            if "for" in rule:
                rule["for"] = DURATION.sub(shorter, f"[{rule['for']}]").strip("[]")
    return yaml.safe_dump(document)


@dataclass
class Prometheus:
    """One that watches two replicas; `fired` collects every alert that was firing at a look."""

    port: int
    fired: dict[str, list[dict[str, str]]]

    def is_ready(self) -> bool:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=10):
            return True
        return False

    def look(self) -> set[str]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/alerts", timeout=10) as reply:
            alerts: list[dict[str, Any]] = json.load(reply)["data"]["alerts"]
        firing = [alert["labels"] for alert in alerts if alert["state"] == "firing"]
        for labels in firing:
            self.fired.setdefault(labels["alertname"], []).append(labels)
        return {labels["alertname"] for labels in firing}

    def until(self, wanted: set[str], seconds: float, meanwhile: Callable[[], None] = lambda: None) -> float:
        """Wait until these alerts fire; return the seconds that it took."""
        began = time.monotonic()
        while not wanted <= self.look():
            assert time.monotonic() - began < seconds, f"{wanted} should fire, and there is {self.look()}"
            meanwhile()
        return time.monotonic() - began

    def quiet(self, seconds: float, meanwhile: Callable[[], None]) -> None:
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            assert self.look() == set()
            meanwhile()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[tuple[Prometheus, Running, Running]]:
    prometheus, promtool = need("prometheus"), need("promtool")
    rules, port = tmp_path / "rules.yaml", free_port()
    rules.write_text(scaled(RULES.read_text()))
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
    with (
        Serving() as backend,
        sidecar(folders[0], backend.url) as one,
        sidecar(folders[1], backend.url) as other,
    ):
        targets = [
            {
                "targets": [f"127.0.0.1:{each.management}"],
                "labels": {"namespace": "shop", "pod": f"chat-5d8f7b9c4-{name}"},
            }
            for name, each in (("abcde", one), ("fghij", other))
        ]
        config = tmp_path / "prometheus.yaml"
        config.write_text(
            yaml.safe_dump({
                "global": {"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "500ms"},
                "rule_files": [str(rules)],
                "scrape_configs": [{"job_name": "shop/chat", "static_configs": targets}],
            })
        )  # fmt: skip
        with running([promtool, "check", "config", str(config)], seconds=30) as check:
            assert check.wait(30) == 0, check.output()
        options = [f"--config.file={config}", f"--storage.tsdb.path={tmp_path / 'data'}"]
        with running([prometheus, *options, f"--web.listen-address=127.0.0.1:{port}"], port, seconds=60):
            made = Prometheus(port, {})
            until(made.is_ready, "Prometheus to be ready")
            yield made, one, other


def test_an_attack_and_an_end_are_told_and_nothing_else(stage: tuple[Prometheus, Running, Running]) -> None:
    prometheus, one, other = stage

    def users() -> None:
        for each in (one, other):
            with each.connect() as client:
                assert client.send(get("/")).response().status == 200
        time.sleep(0.2)

    def attack() -> None:
        for _ in range(10):
            with one.connect() as client:
                assert client.send(post("/api/chat", b"{}", "Origin: https://evil.example")).response().status == 403
        users()

    # Three minutes as usual.
    prometheus.quiet(3 * 60 / SCALE, users)
    # The first attack that this Prometheus has ever seen: both rules within three minutes of their scale.
    took = prometheus.until(ATTACKS, 3 * 60 / SCALE + 6, attack)
    assert {labels["job"] for name in ATTACKS for labels in prometheus.fired[name]} == {"shop/chat"}
    assert {labels["event"] for labels in prometheus.fired["ChatSidecarAttackByCount"]} == {"CORS_BLOCKED"}
    # One of two replicas ends, with the attack over.
    assert other.process is not None
    other.process.stop(20)
    prometheus.until({"ChatSidecarReplicaDown"}, 5 * 60 / SCALE + 6)
    assert {labels["pod"] for labels in prometheus.fired["ChatSidecarReplicaDown"]} == {"chat-5d8f7b9c4-fghij"}
    assert set(prometheus.fired) == {*ATTACKS, "ChatSidecarReplicaDown"}, prometheus.fired
    print(f"the attack was told after {took:.1f} s, that is {took * SCALE / 60:.1f} minutes")
