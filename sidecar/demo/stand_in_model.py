"""The stand-in for a language model: the same answer to the same message, always, and no network."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from typing import Final

NAME: Final = "parrot-1"

# The longest part of a message that is repeated.
QUOTED: Final = 200

GREETING: Final = re.compile(r"\s*(hi|hello|hey|hallo|salut|hola|ciao|moin|servus)\b", re.IGNORECASE)
OPENS_MARKUP: Final = re.compile(r"<[a-zA-Z/!?]")
WORD: Final = re.compile(r"\S+\s*")

GREETINGS: Final = (
    "Hello! I stand in for a language model, and repeat what you send.",
    "Hello to you. This answer comes from the demo's backend, behind the sidecar.",
    "Good to see you. Whatever you send next, I repeat it.",
)
QUESTIONS: Final = (
    "is a good question. A real model would answer it; this one only repeats it.",
    "is a question for a real model. This one has no network and no opinion.",
    "reached the backend. The sidecar has counted it as one message.",
)
SHOUTS: Final = ("came in capitals. It is shown in small letters here.",)
ESCAPED: Final = (
    "arrived here as harmless text: the sidecar in front of this backend escaped it.",
    "reached this backend escaped. A page that shows it runs nothing.",
)
MARKUP: Final = (
    "arrived here unchanged, as live markup. No sidecar is in front of this backend.",
    "is markup, and reached this backend as it was sent. A page must show it as text.",
)
REMARKS: Final = (
    "is what the backend received.",
    "arrived at the backend, and this is its answer.",
    "passed all guards and reached the backend.",
    "is noted, and nothing of it is stored.",
)


def answer(message: str) -> str:
    """Return the answer to a message; it depends on the text alone."""
    said = message.strip()
    if not said:
        return "The message was empty."
    if GREETING.match(said):
        return _one_of(GREETINGS, said)
    if OPENS_MARKUP.search(said):
        return f"{_quoted(said)} {_one_of(MARKUP, said)}"
    if "&lt;" in said:
        return f"{_quoted(said)} {_one_of(ESCAPED, said)}"
    if said.endswith("?"):
        return f"{_quoted(said)} {_one_of(QUESTIONS, said)}"
    if len(said) > 3 and said.isupper():
        return f"{_quoted(said.capitalize())} {_one_of(SHOUTS, said)}"
    return f"{_quoted(said)} {_one_of(REMARKS, said)}"


def pieces(text: str) -> list[str]:
    """Cut an answer into the pieces that it is streamed in: words, each with the blanks behind it."""
    return WORD.findall(text)


def tokens(text: str) -> int:
    """Return how many tokens the parrot counts for a text: its words."""
    return len(text.split())


def _quoted(said: str) -> str:
    return f"“{said}”" if len(said) <= QUOTED else f"“{said[:QUOTED]}…”"


def _one_of(choices: Sequence[str], said: str) -> str:
    return choices[zlib.crc32(said.encode("utf-8", "surrogatepass")) % len(choices)]
