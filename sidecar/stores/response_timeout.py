"""How long an answer of Redis is waited for, as its round trips are measured."""

from __future__ import annotations

from typing import Final

LEAST_SHARE: Final = 0.5
"""The wait is never below this share of the configured timeout: a busy process measures its own delays too."""

# RFC 6298 §2: the smoothing of TCP's retransmission timeout.
_MEAN: Final = 1 / 8
_DEVIATION: Final = 1 / 4
_DEVIATIONS: Final = 4


class ResponseTimeout:
    """`current` seconds: between half of `most` and `most`, the shorter the faster and steadier the answers come."""

    def __init__(self, most: float) -> None:
        self._mean = -1.0
        self._deviation = 0.0
        self.use(most)

    def use(self, most: float) -> None:
        """Take over a configured timeout in seconds."""
        self.most = most
        self._least = most * LEAST_SHARE
        self.current = most

    def missed(self) -> None:
        """An answer did not come in time: how long it takes is unknown again."""
        self._mean = -1.0
        self.current = self.most

    def measured(self, seconds: float) -> None:
        """Take a round trip into account."""
        if self._mean < 0:
            self._mean, self._deviation = seconds, seconds / 2
        else:
            self._deviation += _DEVIATION * (abs(seconds - self._mean) - self._deviation)
            self._mean += _MEAN * (seconds - self._mean)
        self.current = min(self.most, max(self._least, self._mean + _DEVIATIONS * self._deviation))
