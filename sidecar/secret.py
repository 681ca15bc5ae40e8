"""A string that must not be seen."""

from __future__ import annotations

import hmac
from typing import NoReturn


class Secret:
    """A secret value; only `reveal()` returns it.

    It does not print, format, pickle, hash or compare by `==` in variable time, so that it cannot
    reach a log line, an error or a dict's repr by accident.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the plain value. Every call is a place that a reviewer looks at."""
        return self._value

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    __hash__ = None  # type: ignore[assignment]  # a hash of a secret is a fact about it

    def __bool__(self) -> bool:
        return bool(self._value)

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret does not pickle")
