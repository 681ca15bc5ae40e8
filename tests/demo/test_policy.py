"""The demo's policy as text; that it compiles is tested with the compiler."""

from __future__ import annotations

import yaml

from sidecar.demo.policy import BACKEND, MANAGEMENT, POLICY, PUBLIC, policy_text


def test_each_address_stands_in_the_file_once():
    text = POLICY.read_text()
    assert [text.count(address) for address in (PUBLIC, MANAGEMENT, BACKEND)] == [1, 1, 1]


def test_addresses_are_put_in_and_nothing_else_changes():
    written = yaml.safe_load(POLICY.read_text())
    meant = yaml.safe_load(policy_text(backend="http://127.0.0.1:1", public="127.0.0.1:9090", management="127.0.0.1:3"))
    assert meant["backend"].pop("url") == "http://127.0.0.1:1"
    assert meant["listen"].pop("public") == {"address": "127.0.0.1:9090"}
    assert meant["listen"].pop("management") == {"address": "127.0.0.1:3"}
    del written["backend"]["url"], written["listen"], meant["listen"]
    assert meant == written


def test_the_chat_takes_sixty_a_minute():
    chat = yaml.safe_load(policy_text(backend=BACKEND))["routes"][0]
    assert chat["match"] == {"path": "/api/chat", "methods": ["POST"]}
    assert {"name": "ip-minute", "per": "ip", "limit": 60, "window": "1m"} in chat["rate_limits"]
