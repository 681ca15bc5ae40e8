"""Refuses messages that name one of our internal projects."""

from __future__ import annotations

from pydantic import Field

from sidecar.extend import Block, Many, Request, Section, Verdict


class BlocklistSettings(Section):
    """What is under `guards.blocklist.settings`."""

    words: Many[str] = Field(description="words that no message may hold", examples=[["Project Falcon"]])
    case_sensitive: bool = Field(default=False, description="true: capitals matter")


class Blocklist:
    """Asked about the texts of each message; answers from memory."""

    description = "refuses messages that hold one of some words"
    stage = "message"
    Settings = BlocklistSettings

    def __init__(self, settings: BlocklistSettings) -> None:
        if not settings.words:
            raise ValueError("words is empty, so nothing would ever be refused")
        self._fold = (lambda text: text) if settings.case_sensitive else str.casefold
        self._words = tuple(self._fold(word) for word in settings.words)

    def check(self, request: Request) -> Verdict:
        for text in request.texts:
            folded = self._fold(text)
            for number, word in enumerate(self._words):
                if word in folded:
                    # The number and not the text: reasons and details go into the log.
                    return Block("a word of the list", detail={"word": number})
        return None
