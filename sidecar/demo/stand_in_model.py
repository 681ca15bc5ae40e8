"""The stand-in for a language model: the same answer to the same message, always, and no network."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from typing import Final

NAME: Final = "parrot-1"

# The longest part of a message that is said back; a parrot has a short memory.
QUOTED: Final = 200

GREETING: Final = re.compile(r"\s*(hi|hello|hey|hallo|salut|hola|ciao|moin|servus)\b", re.IGNORECASE)
OPENS_MARKUP: Final = re.compile(r"<[a-zA-Z/!?]")
WORD: Final = re.compile(r"\S+\s*")

GREETINGS: Final = (
    "Hello! I am a parrot, not a model, but I listen well.",
    "Hello to you. Nobody has been kind to me for at least a millisecond.",
    "Good to see you. Whatever you say next, I shall say it too.",
)
QUESTIONS: Final = (
    "is a good question. A larger model would now invent an answer; I am content to admire it.",
    "has kept wiser birds than me awake. My considered opinion is: it depends.",
    "I would tell you, but then the sidecar would have to count two messages.",
)
SHOUTS: Final = ("There is no need to shout, my feathers are quite close to the microphone.",)
ESCAPED: Final = (
    "arrived here as harmless text. Somebody in front of me was careful.",
    "has had its teeth filed before it came to me. I shall read it out and nothing will happen.",
)
MARKUP: Final = (
    "arrived here exactly as it is, teeth and all. Is nobody standing in front of me?",
    "looks like markup, and nobody stopped it on its way. I only hope that your page shows it as text.",
)
REMARKS: Final = (
    "could not have been put better, least of all by me.",
    "is what I would have said, had I thought of it first.",
    "has a pleasant ring to it. I shall repeat it at parties.",
    "is noted. By noted I mean that I have already forgotten it.",
)


def answer(message: str) -> str:
    """Return what the parrot says to a message; the choice hangs on the text alone."""
    said = message.strip()
    if not said:
        return "You said nothing, and you said it very well."
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
