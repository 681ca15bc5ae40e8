"""Costs by organization and day: replicas with one database add to the same sums, which outlive them."""

from __future__ import annotations

import json
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from sidecar import waiting_records
from sidecar.admin.jwt import make_token
from sidecar.admin.roles import Role
from sidecar.secret import Secret
from sidecar.telemetry import cost_ledger
from tests.support.egress import ACME_KEY, GLOBEX_KEY, Outbound
from tests.support.language_model import LanguageModel, language_model
from tests.support.processes import free_port
from tests.support.raw import post
from tests.support.sidecar import MASTER, threaded, until

SECRET = "a secret for tokens, long enough to be one"


def call_api(out: Outbound, method: str, path: str, organization: str = "*") -> Any:
    token = make_token(Secret(SECRET), Role.ADMIN, now=time.time(), organization=organization)
    url = f"http://127.0.0.1:{out.running.management}{path}"
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"}, method=method)
    with urllib.request.urlopen(request, timeout=20) as reply:
        return json.load(reply)


def costs_of(out: Outbound, organization: str = "*") -> dict[str, tuple[int, float]]:
    """Return the requests and the cost of each organization, as one replica tells."""
    entries = call_api(out, "GET", "/api/costs", organization)["entries"]
    return {each["organization"]: (each["requests"], each["cost_usd"]) for each in entries}


def replica(folder: Path, model: LanguageModel, stack: ExitStack) -> Outbound:
    port = free_port()
    folder.mkdir(exist_ok=True)
    spoken = {"url": model.url, "allow": ["/v1/*"], "tls": {"ca": str(model.ca)}}
    database = f"sqlite:///{folder.parent}/vault.db"
    environ = {"JWT_SECRET": SECRET, "ENCRYPTION_KEY": MASTER, "DATABASE_URL": database}
    listen = {"egress": {"address": f"127.0.0.1:{port}"}}
    running = threaded(folder, "http://127.0.0.1:9", environ, listen=listen, egress={"providers": {"openai": spoken}})
    return Outbound(stack.enter_context(running), port, model)


def use(out: Outbound, organization: str, times: int) -> None:
    token, _ = out.handle(organization)
    body = json.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hi"}]}).encode()
    for _ in range(times):
        with out.connect() as client:
            asked = post("/openai/v1/chat/completions", body, f"Authorization: Bearer {token}", host="127.0.0.1:1")
            assert client.send(asked).response().status == 200


def test_replicas_add_to_the_same_sums_which_outlive_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting_records, "TICK", 0.05)
    monkeypatch.setattr(cost_ledger, "WRITTEN", 0.1)
    with language_model(tmp_path, ACME_KEY, GLOBEX_KEY) as model:
        with ExitStack() as stack:
            one, other = (replica(tmp_path / name, model, stack) for name in ("one", "other"))
            one.add_key("acme", ACME_KEY)
            one.add_key("globex", GLOBEX_KEY)
            use(one, "acme", 3)
            use(one, "globex", 1)
            until(lambda: costs_of(other).get("acme", (0, 0.0))[0] == 3, "one replica to write its sums")
            use(other, "acme", 2)
            until(lambda: costs_of(one)["acme"][0] == 5, "the other replica to write its sums")
            counted = sum(
                each.running.metric("sidecar_llm_cost_usd_total", organization="acme") for each in (one, other)
            )
            assert costs_of(one)["acme"][1] == pytest.approx(counted, rel=1e-6)
            assert counted > 0
            assert list(costs_of(one, "globex")) == ["globex"]
            use(one, "globex", 1)  # not written yet: the end writes it
        with ExitStack() as stack:
            late = replica(tmp_path / "late", model, stack)
            assert {name: requests for name, (requests, _) in costs_of(late).items()} == {"acme": 5, "globex": 2}
            assert call_api(late, "DELETE", "/api/subjects/organization/acme")["erased"]["costs"] == 1
            assert list(costs_of(late)) == ["globex"]
