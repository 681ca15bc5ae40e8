"""Guards of others: what they are told, what their answers become, and what goes wrong in them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from sidecar.decision import KEEP, PASS, Refuse
from sidecar.extend import Block, Request
from sidecar.guards.custom import LONGEST, CustomHeadGuard, CustomMessageGuard
from sidecar.messages.message_guard import build_reader
from sidecar.messages.protocols.catalogue import BY_NAME
from sidecar.vocabulary import Code, Event
from tests.support.exchanges import exchange


class Says:
    """A guard that answers with what a function makes of the request."""

    def __init__(self, answer: Callable[[Request], Any]) -> None:
        self.answer = answer
        self.asked: list[Request] = []

    def check(self, request: Request) -> Any:
        self.asked.append(request)
        return self.answer(request)


async def decided(answer: Callable[[Request], Any], seconds: float = 5.0) -> object:
    said = CustomHeadGuard("guards.mine", Says(answer), seconds).check(exchange())
    return await said if isinstance(said, Awaitable) else said


def raises(error: BaseException) -> Callable[[Request], Any]:
    def answer(_: Request) -> None:
        raise error

    return answer


async def later(answer: object) -> object:
    await asyncio.sleep(0)
    if isinstance(answer, BaseException):
        raise answer
    return answer


def failed(error: str, detail: dict[str, Any]) -> bool:
    return detail["error"] == error and set(detail) == {"error", "at"}


BLOCKED = Refuse(Code.CONTENT_BLOCKED, {"reason": "no"})


@pytest.mark.parametrize(
    ("answer", "decision"),
    [
        (lambda _: None, PASS),
        (lambda _: later(None), PASS),
        (lambda _: Block("no"), BLOCKED),
        (lambda _: later(Block("no")), BLOCKED),
        (lambda _: Block("no", "FORBIDDEN", {"score": 7}), Refuse(Code.FORBIDDEN, {"score": 7, "reason": "no"})),
        (lambda _: Block("no", "AUTH_FAILED"), Refuse(Code.AUTH_FAILED, {"reason": "no"})),
    ],
    ids=["passes", "passes later", "blocks", "blocks later", "with a fact", "another code"],
)
async def test_its_answer_is_the_decision(answer, decision) -> None:
    assert await decided(answer) == decision


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (raises(RuntimeError("the message was: hello")), "RuntimeError"),
        (lambda _: later(KeyError("hello")), "KeyError"),
        (lambda _: asyncio.sleep(60), "TimeoutError"),
        (lambda _: True, "TypeError"),
        (lambda _: later("no"), "TypeError"),
        (lambda _: Block("no", "TEAPOT"), "TypeError"),  # type: ignore[arg-type]
        (raises(RecursionError()), "RecursionError"),
    ],
    ids=["raises", "raises later", "takes too long", "no answer", "no answer later", "an unknown code", "recurses"],
)
async def test_what_goes_wrong_refuses_this_request_and_is_counted(answer, error) -> None:
    said = await decided(answer, seconds=0.05)
    assert isinstance(said, Refuse)
    assert (said.code, said.recorded) == (Code.OVERLOADED, Event.GUARD_FAILED)
    assert failed(error, dict(said.detail))
    assert "hello" not in json.dumps(dict(said.detail))


async def test_the_line_that_raised_is_named_without_its_folder() -> None:
    said = await decided(raises(ValueError()))
    assert isinstance(said, Refuse)
    name, _, line = str(said.detail["at"]).partition(":")
    assert (name, line.isdigit()) == ("test_custom.py", True)


async def test_a_cancelled_request_stays_cancelled() -> None:
    said = CustomHeadGuard("guards.mine", Says(lambda _: asyncio.sleep(60)), 60).check(exchange())
    assert isinstance(said, Awaitable)
    task = asyncio.ensure_future(said)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_it_says_is_bounded() -> None:
    said = await decided(lambda _: Block("x" * 10_000, detail={f"k{n}": "y" * 10_000 for n in range(1000)}))
    assert isinstance(said, Refuse)
    assert len(said.detail) == 17
    assert max(len(str(value)) for value in said.detail.values()) == LONGEST


def test_it_is_told_what_a_request_is() -> None:
    guard = Says(lambda _: None)
    asked = exchange("POST", "/a%20b?c=d", x_team="red")
    asked.organization, asked.route, asked.user = "acme", "chat", "ann"
    assert CustomHeadGuard("guards.mine", guard, 1).check(asked) is PASS
    assert guard.asked == [
        Request(
            id="req-1", method="POST", path="/a%20b", target="/a%20b?c=d",
            headers={"host": "chat.example.com", "x-team": "red"}, client_ip="203.0.113.9",
            organization="acme", user="ann", session="", route="chat",
        )
    ]  # fmt: skip


def message_guard(guard: Says) -> CustomMessageGuard:
    return CustomMessageGuard("guards.mine", guard, 1, build_reader(BY_NAME["openai"], []))


def test_it_is_told_the_texts_of_a_message() -> None:
    guard = Says(lambda request: Block("no") if "bad" in request.texts[-1] else None)
    asked = exchange("POST", "/v1/chat/completions", content_type="application/json")
    body = {"model": "m", "messages": [{"role": "system", "content": "be"}, {"role": "user", "content": "bad"}]}
    assert message_guard(guard).inspect(asked, json.dumps(body).encode()) == BLOCKED
    assert guard.asked[0].texts == ("be", "bad")


def test_what_cannot_be_read_is_left_to_the_guard_of_messages() -> None:
    guard = Says(lambda _: Block("no"))
    asked = exchange("POST", "/v1/chat/completions", content_type="application/json")
    assert message_guard(guard).inspect(asked, b"{") is KEEP
    assert guard.asked == []
