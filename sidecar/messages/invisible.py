"""Remove what cannot be seen and changes what is read: controls, bidi overrides, zero-width, tags.

Some invisible characters belong to writing: a joiner inside an emoji or a Persian word, a direction
mark in Hebrew text, the tags of a regional flag. Those stay. Each rule looks at neighbours that are
never removed themselves, so removing twice changes nothing more.
"""

from __future__ import annotations

import re
from typing import Final

CONTROLS: Final = r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"  # C0 but tab, newline and return; DEL; C1
DIRECTION: Final = r"\u202a-\u202e\u2066-\u2069"  # embeddings, overrides and isolates: UAX #9
MARKS: Final = r"\u061c\u200e\u200f"  # direction marks: at home in right-to-left text
ZERO_WIDTH: Final = r"\u180e\u200b-\u200d\u2060-\u2065\u206a-\u206f\ufeff\ufff0-\ufffb"
FILLERS: Final = r"\u115f\u1160\u3164\uffa0"  # letters that show nothing
TAGS: Final = r"\U000e0000-\U000e007f"
SELECTORS: Final = r"\ufe00-\ufe0f\U000e0100-\U000e01ef"

# UTS #51: Extended_Pictographic, skin tones included (rounded out to blocks).
EMOJI: Final = (
    r"\u00a9\u00ae\u203c\u2049\u2122\u2139\u2194-\u21aa\u231a-\u23ff\u24c2\u25aa-\u25fe\u2600-\u27bf"
    r"\u2934\u2935\u2b05-\u2b55\u3030\u303d\u3297\u3299\U0001f000-\U0001faff"
)
# Scripts whose letters join or stack, where U+200C and U+200D are part of spelling (Unicode ch. 9, 12-16).
JOINING: Final = (
    r"\u0600-\u061b\u061d-\u07ff\u0840-\u085f\u0860-\u08ff\u0900-\u0dff\u0f00-\u109f\u1700-\u180d\u180f-\u18af\u1900-\u1aaf"
    r"\u1b00-\u1bff\ua840-\ua8df\ua8e0-\uaadf\uabc0-\uabff\ufb50-\ufdff\ufe70-\ufefc\U00010d00-\U00010d3f\U00011000-\U00011fff\U0001e900-\U0001e95f"
)
# Scripts written without spaces, where U+200B is where a line may break.
UNSPACED: Final = r"\u0e00-\u0eff\u0f00-\u109f\u1780-\u17ff\u1950-\u19df\u1a20-\u1aaf\ua980-\ua9df\uaa60-\uaa7f"
RIGHT_TO_LEFT: Final = (
    r"\u0590-\u0602\u0604-\u061b\u061d-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff"
)
HAN: Final = r"\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
HANGUL: Final = r"\u1100-\u11ff\ua960-\ua97c\ud7b0-\ud7fb"

SUSPECT = re.compile(f"[{CONTROLS}{DIRECTION}{MARKS}{ZERO_WIDTH}{FILLERS}{TAGS}{SELECTORS}]")
CONTROL = re.compile(f"[{CONTROLS}]")
HAS_RIGHT_TO_LEFT = re.compile(f"[{RIGHT_TO_LEFT}]")

LEGITIMATE: Final = "|".join(
    (
        rf"(?<=[{EMOJI}])\u200d(?=[{EMOJI}])",
        rf"(?<=[{EMOJI}]\ufe0f)\u200d(?=[{EMOJI}])",
        rf"(?<=[{JOINING}])[\u200c\u200d]",
        rf"(?<=[{UNSPACED}])\u200b(?=[{UNSPACED}])",
        # A flag of a subdivision: country, one to three letters or digits, end. UTS #51 ED-14a.
        r"(?<=\U0001f3f4)[\U000e0061-\U000e007a]{2}[\U000e0030-\U000e0039\U000e0061-\U000e007a]{1,3}\U000e007f",
        # One selector after what it varies; a run of selectors is a way to hide text.
        rf"(?<=[#*0-9{EMOJI}\u2000-\u200a\u2010-\u2027\u2030-\u205e\u2190-\u2bff\u3000-\u303f\u1000-\u109f\ua840-\ua87f\uaa60-\uaa7f\U00010ac0-\U00010aff])[\ufe00-\ufe0f]",
        rf"(?<=[{HAN}])[\ufe00-\ufe02\U000e0100-\U000e01ef]",
        rf"[\u115f\u1160](?=[{HANGUL}])|(?<=[{HANGUL}])\u1160",
    )
)
# The look at one character comes first: it is all that most positions need.
PLAIN_RULE = re.compile(f"(?={SUSPECT.pattern})(?:({LEGITIMATE})|.)", re.DOTALL)
RIGHT_TO_LEFT_RULE = re.compile(f"(?={SUSPECT.pattern})(?:({LEGITIMATE}|[{MARKS}])|.)", re.DOTALL)
SEEN: Final = bytes((9, 10, 13, *range(32, 127)))


def hides(text: str) -> bool:
    """Return whether a text holds anything that `remove_invisible` would look at twice."""
    if text.isascii():
        return bool(text.encode().translate(None, SEEN))  # five times as fast as a pattern
    return SUSPECT.search(text) is not None


def remove_invisible(text: str) -> tuple[str, int]:
    """Return the text without hidden characters, and how many were removed."""
    if not hides(text):
        return text, 0
    if text.isascii():
        return CONTROL.subn("", text)
    rule = RIGHT_TO_LEFT_RULE if HAS_RIGHT_TO_LEFT.search(text) else PLAIN_RULE
    kept = rule.sub(r"\1", text)
    return kept, len(text) - len(kept)
