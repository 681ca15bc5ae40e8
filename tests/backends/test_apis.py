"""Real servers of chat APIs behind the sidecar with three lines of policy: every path to the model is looked at."""

from __future__ import annotations

import asyncio
import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.backends.conftest import Start
from tests.backends.front import TOO_MANY, events, front
from tests.backends.systems import APPS, ENVIRONMENTS, KEY, LANGGRAPH, LITELLM
from tests.support.sidecar import Running

pytestmark = pytest.mark.asyncio(loop_scope="session")

MARKUP = "see <img src=x onerror=alert(1)>"
CLEANED = "see &lt;img src=x onerror=alert(1)>"
LONG = "this is far too long " * 15


def _post(front: Running, path: str, body: Any) -> tuple[int, str]:
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"}
    url = f"http://127.0.0.1:{front.public}{path}"
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


async def post(front: Running, path: str, body: Any) -> tuple[int, str]:
    # In a thread: the model stand-in answers from this one.
    return await asyncio.to_thread(_post, front, path, body)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def langgraph_url(start: Start) -> str:
    return await start(LANGGRAPH)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def litellm_url(start: Start) -> str:
    return await start(LITELLM)


@pytest.fixture(scope="module")
def langgraph(langgraph_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with front(tmp_path_factory.mktemp("front"), langgraph_url, LANGGRAPH.name) as running:
        yield running


@pytest.fixture(scope="module")
def litellm(litellm_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with front(tmp_path_factory.mktemp("front"), litellm_url, LITELLM.name) as running:
        yield running


FORMS = {
    "role and content": lambda text: [{"role": "user", "content": text}],
    "type and parts": lambda text: [{"type": "human", "content": [{"type": "text", "text": text}]}],
    "a string": lambda text: text,
    "strings": lambda text: [text],
    "pairs": lambda text: [["user", text]],
    "one object": lambda text: {"role": "user", "content": text},
    "serialised": lambda text: [
        {
            "lc": 1,
            "type": "constructor",
            "id": ["langchain_core", "messages", "HumanMessage"],
            "kwargs": {"content": text},
        }
    ],
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("path", ["/runs/wait", "/runs/stream"])
async def test_langgraph_looks_at_messages_in_all_their_forms(langgraph: Running, path: str, form: str):
    def body(text: str) -> dict[str, Any]:
        return {"assistant_id": "agent", "input": {"messages": FORMS[form](text)}}

    status, answer = await post(langgraph, path, body(MARKUP))
    assert (status, "<img" in answer) == (200, False), answer
    assert f"You said: {CLEANED}" in answer
    status, answer = await post(langgraph, path, body(LONG))
    assert (status, "too long" in answer) == (400, True), answer


async def test_langgraph_looks_at_states_commands_and_batches(langgraph: Running):
    thread = json.loads((await post(langgraph, "/threads", {}))[1])["thread_id"]
    said = {"messages": [{"role": "user", "content": MARKUP}]}
    run = {"assistant_id": "agent", "input": said}
    assert (await post(langgraph, f"/threads/{thread}/runs/wait", run))[0] == 200
    for path, body in (
        (f"/threads/{thread}/state", {"values": said}),
        (f"/threads/{thread}/runs/wait", {"assistant_id": "agent", "command": {"update": said}}),
        ("/runs/batch", [run]),
    ):
        status, answer = await post(langgraph, path, body)
        assert (status, "<img" in answer) == (200, False), (path, answer)
    _, state = await post(langgraph, f"/threads/{thread}/history", {})
    assert CLEANED in state
    assert "<img" not in state


ALIASES = ("/chat/completions", "/v1/chat/completions", "/engines/parrot/chat/completions")
ALIASES += ("/openai/deployments/parrot/chat/completions",)


@pytest.mark.parametrize("path", ALIASES)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_litellm_looks_at_every_path_to_its_models(litellm: Running, path: str, stream: bool):
    def body(text: str) -> dict[str, Any]:
        return {"model": "parrot", "stream": stream, "messages": [{"role": "user", "content": text}]}

    status, answer = await post(litellm, path, body(MARKUP))
    assert status == 200, answer
    assert "<img" not in answer.replace('"}}', "")
    assert stream or f"You said: {CLEANED}" in answer
    status, answer = await post(litellm, path, body(LONG))
    assert (status, json.loads(answer)["error"]["code"]) == (400, "MESSAGE_TOO_LONG")


TALKS = {LITELLM.name: (LITELLM, (KEY,)), LANGGRAPH.name: (LANGGRAPH, ())}


@pytest.mark.parametrize("name", TALKS)
async def test_the_61st_message_is_an_error_that_the_system_s_sdk_reads(name: str, start: Start, tmp_path: Path):
    system, more = TALKS[name]
    with front(tmp_path, await start(system), system.name) as running:

        def talk() -> str:
            with running.connect() as raw:
                # Use up most of the minute: each POST counts as a message does, wherever it goes.
                for _ in range(50):
                    raw.send(b"POST /no/such/path HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n")
                    assert raw.response().status != 429
            program = (ENVIRONMENTS / system.name / "bin" / "python", APPS / f"{system.name}_talk.py")
            argv = [*map(str, program), f"http://127.0.0.1:{running.public}", *more]
            said = subprocess.run(argv, capture_output=True, check=False, text=True, timeout=60)
            assert said.returncode == 0, said.stderr
            return said.stdout

        told = json.loads(await asyncio.to_thread(talk))
        assert 0 < told.pop("wait") <= 60
        assert told == {
            "answered": 10,
            "raised": True,
            "says": TOO_MANY,
            "code": "RATE_LIMIT_EXCEEDED",
        }
        refused = events(running, "RATE_LIMIT_EXCEEDED")
        assert [line["detail"]["limit"] for line in refused] == ["ip-minute"], "asked again, or by another limit"
