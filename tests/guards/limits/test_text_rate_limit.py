from __future__ import annotations

from sidecar.decision import KEEP, Refuse
from sidecar.guards.limits.rate_limit import build_rate_limit
from sidecar.guards.limits.text_rate_limit import build_text_rate_limit
from sidecar.limit import Counts, Limit, Per
from sidecar.stores.memory_rates import MemoryRateStore
from sidecar.vocabulary import Code
from tests.support.exchanges import exchange

ALL = Limit("all", Per.IP, 100, 60.0, Counts.ALL)
CHAT = Limit("chat", Per.IP, 2, 60.0, Counts.CHAT)


def test_only_what_says_something_new_counts():
    store = MemoryRateStore()
    head = build_rate_limit((ALL,), store, waits=False)
    guard = build_text_rate_limit(head, build_rate_limit((CHAT,), store, waits=False))
    decided = []
    for new in (True, False, False, True, False, True, False):
        asked = exchange("POST", "/gradio_api/run/predict", content_type="application/json")
        head.check(asked)
        asked.says_new = new
        decided.append(guard.inspect(asked, b"{}"))
        assert asked.limits is not None
        assert [ask.limit.name for ask in asked.limits.asks] == (["all", "chat"] if new else ["all"])
    refused = decided.pop(5)
    assert decided == [KEEP] * 6
    assert isinstance(refused, Refuse)
    assert refused.code is Code.RATE_LIMIT_EXCEEDED
