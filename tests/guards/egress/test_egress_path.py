"""Only allowed paths go to a provider, in one spelling."""

from __future__ import annotations

import pytest

from sidecar.decision import PASS
from sidecar.guards.egress.egress_path import EgressPathGuard
from tests.support.exchanges import exchange

ALLOWED = r"/openai/v1/chat/completions|/openai/v1/files/.*"
PATHS = {
    "/openai/v1/chat/completions": True,
    "/openai/v1/chat/completions?stream=1&x=/../": True,
    "/openai/v1/files/a-1": True,
    "/openai/v1/files/a%20b": True,
    "/openai/v1/chat/completions/": False,
    "/openai/v1/Chat/completions": False,
    "/openai/v1/models": False,
    "/openai/v1/files/../models": False,
    "/openai/v1/files/./x": False,
    "/openai/v1/files/..": False,
    "/openai/v1/files//x": False,
    "/openai/v1/files/%2e%2e/models": False,
    "/openai/v1/files/%2E./models": False,
    "/openai/v1/files/..%2fmodels": False,
    "/openai/v1/files/..%5cmodels": False,
    "/openai/v1/files/..\\models": False,
    "/openai/v1/files/%252e%252e/models": False,
    "/openai/v1/files/x;/../models": False,
    "/openai/v1/files/x%00": False,
    "/openai/v1/files/x%0a": False,
    "/openai/v1/chat/completions%3f": False,
}


@pytest.mark.parametrize("target", PATHS)
def test_paths(target):
    guard = EgressPathGuard("openai", ALLOWED)
    assert (guard.check(exchange("POST", target)) is PASS) == PATHS[target]


def test_none_is_allowed_where_none_is_named():
    assert EgressPathGuard("openai", None).check(exchange("POST", "/openai/v1/models")) is not PASS
