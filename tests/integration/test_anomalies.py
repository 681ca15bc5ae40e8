"""The watch of usage in a running sidecar: turned on and off by a reload, without delaying requests."""

from __future__ import annotations

from pathlib import Path

import yaml

from tests.support.backends import Serving
from tests.support.raw import get
from tests.support.sidecar import Running, threaded, until


def asked(running: Running) -> int:
    with running.connect() as client:
        return client.send(get("/")).response().status


def followers(running: Running) -> int:
    assert running.app is not None
    events = running.app.events
    return len(events._served)  # type: ignore[attr-defined]


def test_it_is_off_until_the_policy_says_so_and_off_again(tmp_path: Path) -> None:
    with Serving() as backend, threaded(tmp_path, backend.url) as running:
        assert asked(running) == 200
        before = followers(running)
        document = yaml.safe_load(running.policy.read_text())
        running.policy.write_text(yaml.safe_dump(document | {"anomalies": {"factor": 9}}, sort_keys=False))
        until(lambda: followers(running) == before + 1, "the watch to follow")
        assert asked(running) == 200
        running.policy.write_text(yaml.safe_dump(document, sort_keys=False))
        until(lambda: followers(running) == before, "the watch to leave")
        assert asked(running) == 200
