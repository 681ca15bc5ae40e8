"""Reads from a provider's 429 until when it takes no more calls."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from sidecar.exchange import Exchange
from sidecar.guard import ResponseFilter
from sidecar.responses.interfaces import BackendResponseHead
from sidecar.stores.provider_limits import CredentialName, ProviderLimits

TOO_MANY: Final = 429
WINDOWS: Final = (b"requests", b"tokens", b"input-tokens", b"output-tokens")
"""What providers limit, in the names of their headers."""

_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_SPAN: Final = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(ms|s|m|h|d)")
_NUMBER: Final = re.compile(r"\d{1,9}(?:\.\d{1,9})?")


class ProviderRefusals:
    """The ResponseObserver of one provider's calls under one credential; it changes nothing."""

    def __init__(self, limits: ProviderLimits, provider: str, credential: str, now: Callable[[], float]) -> None:
        self._limits = limits
        self._provider = provider
        self._credential = credential
        self._now = now

    def for_answer(self, exchange: Exchange, answer: BackendResponseHead) -> ResponseFilter | None:
        """Note a refusal; the body passes."""
        if answer.status == TOO_MANY:
            now = self._now()
            name = CredentialName(exchange.organization, self._provider, self._credential)
            self._limits.note(name, wait_of(answer.index, now), now)
        return None

    def reads_whole(self, answer: BackendResponseHead) -> bool:  # noqa: ARG002  whatever it is
        """The head says it."""
        return True

    def read_whole(self, exchange: Exchange, answer: BackendResponseHead, body: bytes) -> None:  # noqa: ARG002
        """Note a refusal."""
        self.for_answer(exchange, answer)


def wait_of(index: Mapping[bytes, bytes], now: float) -> float:
    """Return for how many seconds a 429 asks not to come again; 0.0 if it does not say. `now`: epoch seconds.

    Asked in turn: `retry-after-ms`, `Retry-After` (seconds or a date), and of the windows in which nothing is left the
    longest wait: `x-ratelimit-reset-…` as OpenAI writes it (`6m0s`), `anthropic-ratelimit-…-reset` (RFC 3339).
    """
    text = _text(index, b"retry-after-ms")
    if _NUMBER.fullmatch(text):
        return float(text) / 1000
    text = _text(index, b"retry-after")
    if text:
        return float(text) if _NUMBER.fullmatch(text) else max(0.0, _moment(text) - now)
    waits = [0.0]
    for window in WINDOWS:
        if index.get(b"x-ratelimit-remaining-" + window, b"0") == b"0":
            waits.append(_span(_text(index, b"x-ratelimit-reset-" + window)))
        if index.get(b"anthropic-ratelimit-" + window + b"-remaining", b"0") == b"0":
            waits.append(_moment(_text(index, b"anthropic-ratelimit-" + window + b"-reset")) - now)
    return max(waits)


def _text(index: Mapping[bytes, bytes], name: bytes) -> str:
    return index.get(name, b"").decode("latin-1").strip()


def _span(text: str) -> float:
    """Return the seconds of `1s`, `6m0s`, `120ms`; 0.0 for anything else."""
    parts = _SPAN.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return 0.0
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def _moment(text: str) -> float:
    """Return a date of HTTP or of RFC 3339 in epoch seconds; 0.0 for anything else."""
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            found = read(text)
        except (ValueError, TypeError, OverflowError):  # the last for a zone of many digits
            continue
        return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()
    return 0.0
