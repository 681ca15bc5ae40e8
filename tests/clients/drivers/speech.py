"""What all drivers do: say three things, then speak until it is too much; print what came of it as JSON."""

from __future__ import annotations

import asyncio
import inspect
import json
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

URL, MARKUP, LONG = sys.argv[1:4]
MANY = int(sys.argv[4]) if len(sys.argv) > 4 else 40


def failed(error: BaseException, **more: Any) -> dict[str, Any]:
    """Return what a client's own error says."""
    errors = list(leaves(error))
    kinds = {f"{kind.__module__.partition('.')[0]}.{kind.__name__}" for one in errors for kind in type(one).__mro__}
    return {"error": {"classes": sorted(kinds), "text": "\n".join(map(str, errors)), **more}}


def leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    else:
        yield error


async def _say(speak: Callable[[str], Any], text: str, describe: Callable[[BaseException], dict[str, Any]]) -> Any:
    try:
        said = speak(text)
        return await said if inspect.isawaitable(said) else said
    except Exception as error:  # noqa: BLE001 - whatever the client raises is the fact
        return failed(error, **describe(error))


def run(
    *ways: Callable[[str], Any | Awaitable[Any]], describe: Callable[[BaseException], dict[str, Any]] = lambda _: {}
) -> None:
    """`ways` are the ways to speak (plain, streaming); each returns the answer's text, or its pieces."""

    async def main() -> dict[str, Any]:
        facts: dict[str, Any] = {}
        for text, fact in (("hello", "plain"), (MARKUP, "markup"), (LONG, "too_long")):
            facts[fact] = [await _say(way, text, describe) for way in ways]
        limited: list[Any] = []
        for way in ways:
            for number in range(MANY):
                heard = await _say(way, f"and again for the time {number}", describe)
                if isinstance(heard, dict):
                    break
            limited.append(heard)
        return facts | {"limited": limited}

    print(json.dumps(asyncio.run(main())))
