"""What counting tokens costs for each event of a stream, and how far the estimate is from real tokenizers.

`python bench/budgets.py`. The table of errors needs `tiktoken`, which is no dependency, and its vocabularies, which it
fetches once; TIKTOKEN_CACHE_DIR names a folder that has them.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from sidecar.budget import Budget, BudgetPer, Unit
from sidecar.events import SecurityEvent, Served
from sidecar.exchange import Exchange
from sidecar.guards.budgets.spend import Share, Spend
from sidecar.head import RequestHead
from sidecar.prices import Price, PriceTable
from sidecar.responses.budget_meter import BudgetMeter
from sidecar.responses.token_usage import UsageCounter
from sidecar.stores.budget_ledger import BudgetLedger
from sidecar.stores.memory_budgets import MemoryBudgets
from sidecar.token_estimate import tokens_of

ROOT: Final = Path(__file__).parents[1]
EVENTS: Final = 20_000
MOST: Final = 3.0
"""Microseconds that counting an event may take."""
LONG: Final = "OpenAI, 13 tokens an event"
VOCABULARIES: Final = ("o200k_base", "cl100k_base")
PIECES: Final = (1, 4, 20)


class _Answer:
    status = 200
    index = {b"content-type": b"text/event-stream"}  # noqa: RUF012


class _Nowhere:
    def record(self, event: SecurityEvent) -> None:
        """Keep nothing."""

    def served(self, served: Served) -> None:
        """Keep nothing."""


class _Clock:
    def now(self) -> float:
        return 0.0

    def monotonic(self) -> float:
        return 0.0


def openai_event(text: str) -> bytes:
    """Return an event as OpenAI's chat completions send it."""
    choice = {"index": 0, "delta": {"content": text}, "logprobs": None, "finish_reason": None}
    head = {"id": "chatcmpl-BZ0123456789abcdefghijklm", "object": "chat.completion.chunk", "created": 1_767_225_600}
    more = {"model": "gpt-4o-mini-2024-07-18", "service_tier": "default", "system_fingerprint": "fp_0123456789"}
    return b"data: " + json.dumps({**head, **more, "choices": [choice], "usage": None}).encode() + b"\n\n"


def anthropic_event(text: str) -> bytes:
    """Return an event as Anthropic's messages send it."""
    delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}
    return b"event: content_block_delta\ndata: " + json.dumps(delta).encode() + b"\n\n"


def meter(protocol: str, unit: Unit = Unit.TOKENS) -> Any:
    """Return the filter of one stream under a budget that never ends."""
    ledger = BudgetLedger(MemoryBudgets(), _Clock())
    path = "/v1/messages" if protocol == "anthropic" else "/v1/chat/completions"
    exchange = Exchange("bench", 0.0, 0.0, RequestHead("POST", path.encode(), path, 1, [], {}), "127.0.0.1", False)
    budget = Budget("day", BudgetPer.IP, unit, 10**12, 86_400.0)
    spend = Spend(ledger, "acme", [Share(budget, "x", True)], Price(1.0, 2.0))
    helds = spend.reserve(100, 500)
    assert isinstance(helds, tuple)
    spend._take(helds)  # noqa: SLF001  without the timer of a running loop
    exchange.spend = spend
    counter = UsageCounter("openai", lambda *_: None, lambda *_: None, PriceTable())
    return BudgetMeter(counter, ledger, _Nowhere(), protocol).for_answer(exchange, _Answer())  # type: ignore[arg-type]


def microseconds(protocol: str, events: Sequence[bytes], unit: Unit = Unit.TOKENS) -> float:
    """Return what one event costs, the best of five."""
    best = 1e9
    for _ in range(5):
        feed = meter(protocol, unit).feed
        began = time.process_time()
        for event in events:
            feed(event)
        best = min(best, (time.process_time() - began) / len(events))
    return best * 1e6


def costs() -> dict[str, float]:
    """Return microseconds for each event, by what is streamed."""
    words = (" the", " quick", "er", ", and", " so", " on", "\n")
    longer = " and so it goes on, for some words more, until it ends"
    short = [openai_event(words[number % len(words)]) for number in range(EVENTS)]
    return {
        "OpenAI, a token an event": microseconds("openai", short),
        "OpenAI, a token an event, in USD": microseconds("openai", short, Unit.USD),
        LONG: microseconds("openai", [openai_event(longer)] * EVENTS),
        "Anthropic, 5 tokens an event": microseconds("anthropic", [anthropic_event(" and so on it goes")] * EVENTS),
    }


def texts() -> dict[str, str]:
    """Return texts of several kinds."""
    return {
        "documentation": (ROOT / "docs/operating.md").read_text(),
        "prose": (ROOT / "THREAT_MODEL.md").read_text(),
        "Python": (ROOT / "sidecar/proxy/handler.py").read_text(),
        "JavaScript": (ROOT / "sidecar/demo/page/assets/chat.js").read_text(),
        "JSON": (ROOT / "tests/clients/node/package-lock.json").read_text()[:30_000],
        "German": "Die Sitzung des Rates wurde gestern Nachmittag eröffnet; über die künftige Finanzierung der öffentlichen "
        "Verkehrsmittel in den größeren Städten wird erst im nächsten Frühjahr abgestimmt. ",
        "French": "Le conseil municipal s'est réuni hier après-midi afin d'examiner le budget de l'année prochaine ; plusieurs "
        "élus ont demandé des précisions sur les dépenses prévues pour l'entretien des écoles. ",
        "Russian": "Городской совет собрался вчера днём, чтобы обсудить финансирование общественного транспорта в следующем году. ",
        "Chinese": "市议会昨天下午召开会议，讨论明年公共交通的资金安排。几位议员要求进一步说明学校维修的预算。",
        "Japanese": "市議会は昨日の午後に開かれ、来年の公共交通機関の資金について議論しました。",
        "Korean": "시의회는 어제 오후에 회의를 열어 내년 대중교통 재정에 대해 논의했습니다. ",
    }


def pieces_of(text: str, vocabulary: Any) -> tuple[int, list[str]]:
    """Return how many tokens a text has, and the pieces in which it can be sent, about one token each."""
    found, rest = [], b""
    tokens = vocabulary.encode(text)
    for token in tokens:
        rest += vocabulary.decode_single_token_bytes(token)
        try:
            found.append(rest.decode())
        except UnicodeDecodeError:
            continue
        rest = b""
    return len(tokens), found


def errors() -> list[str]:
    """Return a row for each text: the error in percent, for pieces of 1, 4 and 20 tokens, by vocabulary."""
    import tiktoken

    vocabularies = {name: tiktoken.get_encoding(name) for name in VOCABULARIES}
    rows = [f"{'error in %, pieces of 1, 4, 20 tokens':<40}" + "".join(f"{name:>22}" for name in VOCABULARIES)]
    for name, text in texts().items():
        row = f"{name:<40}"
        for vocabulary in vocabularies.values():
            real, pieces = pieces_of(text, vocabulary)
            counts = [
                sum(tokens_of("".join(pieces[at : at + size])) for at in range(0, len(pieces), size)) for size in PIECES
            ]
            row += "".join([f"{' ':>4}", *(f"{100 * (count / real - 1):>+6.0f}" for count in counts)])
        rows.append(row)
    return rows


def main() -> int:
    """Print the costs and the errors; return 1 if an event costs more than it may."""
    found = costs()
    for name, cost in found.items():
        print(f"{name:<40} {cost:6.2f} µs an event")
    try:
        print("\n".join(errors()))
    except ImportError:
        print("tiktoken is not installed: no errors were measured", file=sys.stderr)
    return 1 if max(found.values()) > MOST else 0


if __name__ == "__main__":
    sys.exit(main())
