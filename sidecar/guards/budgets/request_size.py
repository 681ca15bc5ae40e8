"""What a request may use, read from its body before it is sent: model, input, and the most output."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

import orjson

from sidecar.exchange import Exchange
from sidecar.token_estimate import tokens_of_request

LARGEST: Final = 262_144
"""Tokens of output that a request may name; more is taken for that."""

_MOST: Final = ("max_completion_tokens", "max_output_tokens", "max_tokens", "maxOutputTokens", "num_predict")
_INSIDE: Final = ("generationConfig", "generation_config", "options")
_MODEL_IN_PATH: Final = re.compile(r"/models/([^/:]{1,200}):")
_NO_OUTPUT: Final = ("/embeddings", "/moderations", "/embed", ":embedContent", ":batchEmbedContents", ":countTokens")


@dataclass(frozen=True, slots=True)
class RequestSize:
    """What one request may use.

    model  as the request names it; "" if it names none
    given  tokens of input, by size
    most   tokens of output that it allows at most; None: it does not say
    streams  its answer comes piece by piece
    """

    model: str
    given: int
    most: int | None
    streams: bool = False


def size_of(exchange: Exchange, body: bytes) -> RequestSize:
    """Read a request's body; one that is no JSON object names no model and no bound."""
    value = _parsed(exchange, body)
    path = exchange.head.path
    model = value.get("model")
    if not isinstance(model, str):
        named = _MODEL_IN_PATH.search(path)
        model = named[1] if named is not None else ""
    most = 0 if path.rstrip("/").endswith(_NO_OUTPUT) else _most(value)
    streams = value.get("stream") is True or ":stream" in path
    return RequestSize(model, tokens_of_request(body), most, streams)


def _parsed(exchange: Exchange, body: bytes) -> dict[str, Any]:
    parsed = exchange.parsed
    if parsed is not None and parsed[0] == body:
        value = parsed[1]
    else:
        try:
            value = orjson.loads(body)
        except orjson.JSONDecodeError:
            return {}
    return value if isinstance(value, dict) else {}


def _most(value: dict[str, Any]) -> int | None:
    """Return the bound of a request's output, for all the answers that it asks for."""
    bounds = [value, *(each for name in _INSIDE if isinstance(each := value.get(name), dict))]
    found = [each[name] for each in bounds for name in _MOST if name in each]
    whole = [bound for bound in found if type(bound) is int and bound > 0]
    if not whole:
        return None
    answers = value.get("n")
    times = answers if type(answers) is int and 0 < answers <= 128 else 1
    return min(min(whole) * times, LARGEST)
