"""Ask a provider whether a message is acceptable, off the loop, within a bound of time.

The client library is imported in a thread (it takes half a second) and only where moderation is
configured. Verdicts are kept under a hash of the text; the text itself is not kept.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from threading import Lock
from typing import Any, Final, Protocol

from sidecar.clock import Clock
from sidecar.decision import KEEP, Finding, Inspection, Keep, Refuse
from sidecar.exchange import Exchange
from sidecar.messages.message_body import BodyProblem, MessageReader
from sidecar.secret import Secret
from sidecar.services import KeySupplier
from sidecar.vocabulary import Code, Event

BATCH: Final = 32
THREADS: Final = 4
MAX_WAITING: Final = 64


class OnFailure(StrEnum):
    """What happens to a message that could not be judged."""

    PASS = "pass"  # noqa: S105 -- no password
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The provider's verdict on one text; `categories` are the provider's own names."""

    flagged: bool
    categories: tuple[str, ...] = ()


class ModerationFailed(Exception):
    """No verdict; the message is one word for the log."""


class Moderator(Protocol):
    """Asks the provider about texts; blocking, called in a thread."""

    def __call__(self, key: Secret, texts: Sequence[str]) -> list[Verdict]: ...


class OpenAIModerator:
    """The moderation endpoint, through the `openai` client. Every call may block for `timeout`."""

    def __init__(self, *, model: str, timeout: float, base_url: str | None = None) -> None:
        self._model = model
        self._timeout = timeout
        self._base_url = base_url
        self._client: Any = None
        self._building = Lock()

    def __call__(self, key: Secret, texts: Sequence[str]) -> list[Verdict]:
        import openai

        with self._building:
            self._build(openai)
        client = self._client.with_options(api_key=key.reveal(), timeout=self._timeout)
        try:
            answer = client.moderations.create(model=self._model, input=list(texts))
            verdicts = [verdict(result) for result in answer.results]
        except (openai.OpenAIError, ValueError, TypeError, AttributeError) as error:
            # Its text may quote the key or the message; an answer of another shape ends up here too.
            raise ModerationFailed(type(error).__name__) from None
        if len(verdicts) != len(texts):
            raise ModerationFailed("bad_answer")
        return verdicts

    def _build(self, openai: Any) -> None:
        if self._client is None:
            # No redirects and no proxies from the environment: the key is sent only to the host of the policy.
            http = openai.DefaultHttpxClient(follow_redirects=False, trust_env=False)
            self._client = openai.OpenAI(api_key="none", base_url=self._base_url, http_client=http, max_retries=0)

    def close(self) -> None:
        """Close the client's connections, if it was ever used."""
        if self._client is not None:
            self._client.close()


def verdict(result: Any) -> Verdict:
    """Return the verdict of one entry of the endpoint's `results`, its categories sorted."""
    hits = [name for name, hit in result.categories.model_dump().items() if hit]
    return Verdict(bool(result.flagged), tuple(sorted(hits)))


class Verdicts:
    """Verdicts by the hash of their text; the oldest go first, none lives longer than `ttl` seconds."""

    def __init__(self, *, max_entries: int, ttl: float, clock: Clock) -> None:
        self._max = max_entries
        self._ttl = ttl
        self._clock = clock
        self._entries: OrderedDict[bytes, tuple[float, Verdict]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, text: str) -> Verdict | None:
        """Return the verdict about a text that has not expired, or None."""
        key = hash_of(text)
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry[0] <= self._clock.monotonic():
            del self._entries[key]
            return None
        return entry[1]

    def put(self, text: str, verdict: Verdict) -> None:
        """Remember a verdict for `ttl` seconds; drop the oldest beyond the bound."""
        key = hash_of(text)
        self._entries[key] = (self._clock.monotonic() + self._ttl, verdict)
        self._entries.move_to_end(key)
        while len(self._entries) > self._max:
            self._entries.popitem(last=False)


def hash_of(text: str) -> bytes:
    """Return the SHA-256 of a text (32 bytes): the cache holds no messages."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


class Judgements:
    """Asks a judge about texts, in threads, within a bound of time; remembers what it said."""

    def __init__(
        self,
        *,
        judge: Moderator,
        key: KeySupplier,
        clock: Clock,
        timeout: float,
        max_entries: int = 10_000,
        ttl: float = 3600.0,
    ) -> None:
        self._judge = judge
        self._key = key
        self._timeout = timeout
        self._verdicts = Verdicts(max_entries=max_entries, ttl=ttl, clock=clock)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="moderation")
        self._waiting = 0

    async def about(self, organization: str, texts: Sequence[str]) -> list[Verdict]:
        """Return the verdict on each different text. Raises ModerationFailed; waits for `timeout` seconds at most."""
        try:
            async with asyncio.timeout(self._timeout):
                return await self._judge_all(organization, texts)
        except TimeoutError:
            raise ModerationFailed("timeout") from None

    async def _judge_all(self, organization: str, texts: Sequence[str]) -> list[Verdict]:
        known = {text: self._verdicts.get(text) for text in texts}
        unknown = [text for text, verdict in known.items() if verdict is None]
        if unknown:
            key = await self._key(organization)
            if key is None:
                raise ModerationFailed("no_credential")
            for start in range(0, len(unknown), BATCH):
                batch = unknown[start : start + BATCH]
                for text, made in zip(batch, await self._ask(key, batch), strict=True):
                    self._verdicts.put(text, made)
                    known[text] = made
        return [verdict for verdict in known.values() if verdict is not None]

    async def _ask(self, key: Secret, texts: list[str]) -> list[Verdict]:
        if self._waiting >= MAX_WAITING:
            raise ModerationFailed("too_many_waiting")
        self._waiting += 1
        call = asyncio.get_running_loop().run_in_executor(self._threads, self._judge, key, texts)
        # Counted down when the thread is done, not when the waiting ends: a call outlives its timeout.
        call.add_done_callback(self._done)
        return await asyncio.shield(call)

    def _done(self, call: asyncio.Future[list[Verdict]]) -> None:
        self._waiting -= 1
        if not call.cancelled():
            call.exception()  # read, so that a failure after the timeout is not reported as lost

    def close(self) -> None:
        """Shut the threads down without waiting; running calls end within their timeout."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class ModerationGuard:
    """Refuse a message that the provider flags. Waits for at most `timeout` seconds."""

    name = "moderation"

    def __init__(
        self,
        reader: MessageReader,
        *,
        judge: Moderator,
        key: KeySupplier,
        clock: Clock,
        timeout: float = 2.0,
        on_failure: OnFailure = OnFailure.PASS,
        max_entries: int = 10_000,
        ttl: float = 3600.0,
    ) -> None:
        self._reader = reader
        self._on_failure = on_failure
        self._judgements = Judgements(
            judge=judge, key=key, clock=clock, timeout=timeout, max_entries=max_entries, ttl=ttl
        )

    async def inspect(self, exchange: Exchange, body: bytes) -> Inspection:
        """Refuse with 403 a message of which any text is flagged; on timeout or failure, act as `on_failure` says."""
        message = self._reader.read(exchange, body)
        # What cannot be read was refused, or let pass, by the guard of messages before this one.
        if message is None or isinstance(message, BodyProblem):
            return KEEP
        texts = list(dict.fromkeys(text for _, text in message.texts if text.strip()))
        try:
            verdicts = await self._judgements.about(exchange.organization, texts)
        except ModerationFailed as failure:
            return self._failed(str(failure))
        categories = flagged(verdicts)
        if categories is not None:
            return Refuse(Code.CONTENT_BLOCKED, {"moderation": categories})
        return KEEP

    def _failed(self, why: str) -> Inspection:
        if self._on_failure is OnFailure.REFUSE:
            return Refuse(Code.OVERLOADED, {"reason": why, "guard": self.name})
        return Keep((Finding(Event.BACKEND_ERROR, {"reason": why, "guard": self.name}),))

    def close(self) -> None:
        """Shut the threads down without waiting; running calls end within their timeout."""
        self._judgements.close()


def flagged(verdicts: Sequence[Verdict]) -> str | None:
    """Return the categories of all texts that are flagged, joined by commas; None when none is."""
    hits = [one for one in verdicts if one.flagged]
    return ",".join(sorted({name for one in hits for name in one.categories})) if hits else None
