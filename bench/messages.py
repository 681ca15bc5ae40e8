"""CPU time of reading and sanitizing one message, in microseconds (the best of many short rounds).

Run: python bench/messages.py [--json]
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

from sidecar.errors import Problems
from sidecar.exchange import Exchange
from sidecar.head import RequestHead
from sidecar.messages.message_guard import MessageGuard, build_message_guard
from sidecar.messages.sanitize import Markup, sanitize

ROUNDS = 40
PROSE = "Can you tell me what the weather will be like in Lisbon next week, please? I am going there. "


def body_of(size: int, text: str) -> bytes:
    """Build a chat body of about this many bytes that repeats the text."""
    frame = {"message": "", "sessionId": "0123456789abcdef0123456789abcdef", "n": 1}
    room = size - len(json.dumps(frame))
    frame["message"] = (text * (room // len(text) + 1))[:room]
    return json.dumps(frame, ensure_ascii=False).encode()


def history(turns: int) -> bytes:
    roles = ("user", "assistant")
    messages = [{"role": roles[turn % 2], "content": PROSE} for turn in range(turns)]
    return json.dumps({"model": "gpt-5", "stream": True, "messages": messages}).encode()


def guard(protocol: str, markup: str = "escape") -> MessageGuard:
    built = build_message_guard(
        protocol=protocol, fields=[], max_chars=None, markup=markup, on_uninspectable="refuse", problems=Problems()
    )
    assert built is not None
    return built


def posted() -> Exchange:
    fields = [(b"Host", b"chat.example.com"), (b"Content-Type", b"application/json")]
    head = RequestHead("POST", b"/api/chat", "/api/chat", 1, fields, {name.lower(): value for name, value in fields})
    return Exchange("r", 0.0, 0.0, head, "203.0.113.9", False)


def best(call: Callable[[], object]) -> float:
    """Return the least CPU time of one call over the rounds: what the machine's slow moments add is no cost of ours."""
    began = time.process_time()
    call()
    count = max(1, int(0.005 / max(time.process_time() - began, 1e-6)))
    found = float("inf")
    for _ in range(ROUNDS):
        began = time.process_time()
        for _ in range(count):
            call()
        found = min(found, (time.process_time() - began) / count)
    return found * 1e6


def cases() -> dict[str, Callable[[], object]]:
    asked = posted()
    plain, strip, openai, auto = guard("plain"), guard("plain", "strip"), guard("openai"), guard("auto")
    small, large = body_of(150, PROSE), body_of(8192, PROSE)
    code = body_of(8192, "if (a < 3 && b > 4) { x[i] = <b>y</b>; } ")
    persian = body_of(8192, "می\u200cخواهم کتاب\u200cها را بخوانم. ")
    attack = body_of(150, "<img src=x onerror=alert(1)>")
    megabyte = "<a href='x' " * (2**20 // 12)
    return {
        "150 bytes, nothing changes": lambda: plain.inspect(asked, small),
        "150 bytes, auto": lambda: auto.inspect(asked, small),
        "150 bytes, tags escaped": lambda: plain.inspect(asked, attack),
        "8 KiB, nothing changes": lambda: plain.inspect(asked, large),
        "8 KiB, 400 tags escaped": lambda: plain.inspect(asked, code),
        "8 KiB, 400 tags stripped": lambda: strip.inspect(asked, code),
        "8 KiB of Persian, nothing changes": lambda: plain.inspect(asked, persian),
        "openai, 2 turns": lambda: openai.inspect(asked, history_2),
        "openai, 60 turns (8 KiB)": lambda: openai.inspect(asked, history_60),
        "1 MiB of unclosed tags, escaped": lambda: sanitize(megabyte),
        "1 MiB of unclosed tags, stripped": lambda: sanitize(megabyte, Markup.STRIP),
    }


history_2 = history(2)
history_60 = history(60)


def main() -> None:
    figures = {name: round(best(call), 2) for name, call in cases().items()}
    if "--json" in sys.argv:
        print(json.dumps(figures))
        return
    for name, microseconds in figures.items():
        print(f"{name:36} {microseconds:12,.1f} µs")


if __name__ == "__main__":
    main()
