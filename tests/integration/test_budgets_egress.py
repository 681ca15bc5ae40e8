"""Budgets of provider calls, by their handles, and the limits that providers themselves have."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.egress import ACME_KEY, GLOBEX_KEY, Outbound, outbound
from tests.support.language_model import Call, Told, language_model
from tests.support.raw import Message, post

PATH = "/openai/v1/chat/completions"
BUDGETS = [{"name": "day", "per": "organization", "limit": "1000 tokens", "header": True}]


def call(out: Outbound, handle: str, **more: object) -> Message:
    body = json.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hi"}], **more}).encode()
    asked = post(PATH, body, f"Authorization: Bearer {handle}", host="127.0.0.1:8181")
    with out.connect() as client:
        return client.send(asked).response()


@pytest.mark.parametrize("allowed", ["/v1/chat/completions", "/v1/*", "/*"])
def test_calls_are_held_to_the_budget_of_their_organization(tmp_path: Path, allowed: str) -> None:
    with (
        language_model(tmp_path, ACME_KEY, GLOBEX_KEY) as model,
        outbound(tmp_path, model, allow={"openai": [allowed]}, budgets=BUDGETS) as out,
    ):
        acme, globex = (out.handle(name)[0] for name in ("acme", "globex"))
        assert call(out, acme, max_tokens=5000).status == 200, "it holds all of the budget, and gives back the rest"
        used = sum(model.tokens(ACME_KEY))
        reply = call(out, acme, max_tokens=400)
        assert reply.status == 200
        assert (reply.get(b"x-sidecar-budget-remaining") or b"").startswith(b'"day";r=')
        assert out.running.metric("sidecar_budget_remaining_ratio", budget="day", organization="acme") == pytest.approx(
            1 - sum(model.tokens(ACME_KEY)) / 1000
        )
        assert used < sum(model.tokens(ACME_KEY)) < 1000
        while (status := call(out, acme, max_tokens=300).status) == 200:
            assert sum(model.tokens(ACME_KEY)) < 1000
        assert status == 429
        assert call(out, globex).status == 200
        assert out.running.logged(event="BUDGET_EXCEEDED")["organization"] == "acme"


def test_a_provider_that_refuses_is_not_asked_again_before_its_time(tmp_path: Path) -> None:
    def busy(call: Call) -> Told | None:
        if call.key != ACME_KEY:
            return None
        fields = {"Content-Type": "application/json", "Retry-After": "30"}
        return 429, fields, b'{"error": {"message": "Rate limit reached", "type": "tokens"}}'

    with (
        language_model(tmp_path, ACME_KEY, GLOBEX_KEY) as model,
        outbound(tmp_path, model) as out,
    ):
        model.instead = busy
        acme, globex = (out.handle(name)[0] for name in ("acme", "globex"))
        reply = call(out, acme)
        assert (reply.status, reply.get(b"retry-after")) == (429, b"30")
        assert b"Rate limit reached" in reply.body
        for _ in range(3):
            reply = call(out, acme)
            assert reply.status == 429
            assert 20 < int(reply.get(b"retry-after") or b"") <= 30
            assert json.loads(reply.body)["error"]["type"] == "rate_limit_error"
        assert len(model.calls) == 1
        assert call(out, globex).status == 200
        assert out.running.logged(event="RATE_LIMIT_EXCEEDED")["detail"]["reason"] == "provider"
