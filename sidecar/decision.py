"""What a guard can answer: a value, or what has to be waited for first. The loop in `admission.py` acts on it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar

from sidecar.head import Fields
from sidecar.vocabulary import Code, Event

Detail: TypeAlias = Mapping[str, str | int | float | bool | None]
"""Facts for the log: names, counts and sizes; never text, keys, tokens or query values."""

NOTHING: Detail = {}

T = TypeVar("T")
U = TypeVar("U")


class Waiting(Generic[T]):
    """What comes of `awaitable` makes the answer: `resume` returns it, or what has to be waited for next.

    Who waits for a future needs no task: `resume` may be called from its callback.
    """

    def __init__(self, awaitable: Awaitable[Any], resume: Callable[[Any], T | Waiting[T]]) -> None:
        self.awaitable = awaitable
        self.resume = resume

    def then(self, follow: Callable[[T], U | Waiting[U]]) -> Waiting[U]:
        """Return what waits for the same, and makes another answer of this one."""

        def resume(result: Any) -> U | Waiting[U]:
            answer = self.resume(result)
            return answer.then(follow) if isinstance(answer, Waiting) else follow(answer)

        return Waiting(self.awaitable, resume)

    def __await__(self) -> Generator[Any, None, T]:
        return self._answer().__await__()

    async def _answer(self) -> T:
        answer = self.resume(await self.awaitable)
        return await answer if isinstance(answer, Waiting) else answer


async def settled(answer: T | Waiting[T]) -> T:
    """Wait for all that has to be waited for, and return the answer."""
    return await answer if isinstance(answer, Waiting) else answer


def waiting(awaitable: Awaitable[T]) -> Waiting[T]:
    """Return an awaitable as a Waiting."""
    return awaitable if isinstance(awaitable, Waiting) else Waiting(awaitable, _as_it_is)


def _as_it_is(answer: T) -> T:
    return answer


@dataclass(frozen=True)
class Finding:
    """Something worth recording about a request that goes on."""

    event: Event
    detail: Detail = field(default_factory=dict)


@dataclass(frozen=True)
class Pass:
    """Go on to the next guard."""

    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class Answer:
    """Answer here, successfully, without the backend (a preflight, a session, a status)."""

    status: int
    fields: Fields = field(default_factory=list)
    body: bytes = b""
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class Refuse:
    """Answer here with a refusal. `fields` come on top of what every refusal carries.

    `close` ends the connection after the answer: the framing of what follows cannot be trusted.
    `sentence` is sent in place of the code's own (the operator's words, in maintenance).
    `event` is recorded in place of the code's own, where the log may know more than the client.
    """

    code: Code
    detail: Detail = field(default_factory=dict)
    fields: Fields = field(default_factory=list)
    close: bool = False
    event: Event | None = None
    sentence: str = ""

    @property
    def recorded(self) -> Event | None:
        """The event to record; None for refusals that are no security matter."""
        return self.event or self.code.event


Decision: TypeAlias = Pass | Answer | Refuse

PASS = Pass()


@dataclass(frozen=True)
class Keep:
    """The body goes on as it came."""

    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class Rewrite:
    """The body goes on changed; `changes` is the value of `X-Sidecar-Sanitized`, for the page.

    `drop` are lower-case names of fields that the head loses because they described the old body
    (`content-encoding`, when a compressed body goes on opened).
    """

    body: bytes
    findings: tuple[Finding, ...] = ()
    changes: str = ""
    drop: tuple[bytes, ...] = ()


Inspection: TypeAlias = Keep | Rewrite | Refuse | Answer
"""An Answer is made by the guard of a path that is answered here, once it has read the body."""

KEEP = Keep()
