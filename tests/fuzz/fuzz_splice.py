"""What strict JSON accepts has one reading, and a splice changes the strings that it should and nothing else."""

from __future__ import annotations

import json
from typing import Any

import engine

with engine.instrumented():
    from sidecar.messages.splice import splice
    from sidecar.messages.strict_json import MAX_DEPTH, Fault, parse


TEXTS = ("", "x", '&lt;b>"\\', "\n\x7f\u2028", "é😀", "\x00:{}[],")


class Pairs(list[Any]):
    """An object as its pairs, in order: an independent reading that loses nothing."""


def read(body: bytes) -> Any:
    return json.loads(
        body.decode(), object_pairs_hook=Pairs, parse_float=lambda text: ("n", text), parse_int=lambda text: ("n", text)
    )


def strings(value: Any, place: tuple[str | int, ...] = ()) -> dict[tuple[str | int, ...], str]:
    if isinstance(value, str):
        return {place: value}
    inner = value if isinstance(value, Pairs) else enumerate(value) if isinstance(value, list) else ()
    return {path: text for step, one in inner for path, text in strings(one, (*place, step)).items()}


def depth(value: Any) -> int:
    inner = [one for _, one in value] if isinstance(value, Pairs) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth, inner), default=0)


def unique(value: Any) -> bool:
    if isinstance(value, Pairs):
        return len({key for key, _ in value}) == len(value) and all(unique(one) for _, one in value)
    return all(map(unique, value)) if isinstance(value, list) else True


def changed(value: Any, changes: dict[tuple[str | int, ...], str], place: tuple[str | int, ...] = ()) -> Any:
    if isinstance(value, str):
        return changes.get(place, value)
    if isinstance(value, Pairs):
        return Pairs((key, changed(one, changes, (*place, key))) for key, one in value)
    return [changed(one, changes, (*place, at)) for at, one in enumerate(value)] if isinstance(value, list) else value


def target(data: engine.atheris.FuzzedDataProvider) -> None:
    picks, text = data.ConsumeIntInRange(0, 255), TEXTS[data.ConsumeIntInRange(0, len(TEXTS) - 1)]
    body = data.ConsumeBytes(data.remaining_bytes())
    value = parse(body)
    if type(value) is Fault:
        return
    seen = read(body)
    assert unique(seen)
    assert depth(seen) <= MAX_DEPTH
    found = strings(seen)
    assert strings_of(value) == found
    changes = {place: text for at, place in enumerate(found) if picks >> at % 8 & 1}
    made = splice(body, changes)
    assert read(made) == changed(seen, changes)
    if not changes:
        assert made == body
    assert splice(made, changes) == made


def strings_of(value: Any, place: tuple[str | int, ...] = ()) -> dict[tuple[str | int, ...], str]:
    if isinstance(value, str):
        return {place: value}
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return {path: text for step, one in inner for path, text in strings_of(one, (*place, step)).items()}


if __name__ == "__main__":
    engine.fuzz(
        target, b'{"a":"b"}', b'{"a":["b",{"c":"d"}]}', b'"', b"\\", b"\\u", b"\\u003a", b"\\ud83d\\ude00", b":", b"[", b"]",
        b"{", b"}", b",", b"1e5", b"-0.0", b"null", b"true", b"12345678901234567890123", b" ", b"\n", b"\xc3\xa9",
    )  # fmt: skip
