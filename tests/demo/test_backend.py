"""The demo's backend, over real sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import aiohttp
import pytest
from openai import AsyncOpenAI, AuthenticationError

from sidecar.demo.backend import ASSETS, PAGES, serving
from sidecar.demo.stand_in_model import answer, pieces
from sidecar.secret import Secret

KEY = "sk-demo-key-of-the-tests"


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async with serving(key=Secret(KEY), pace=0) as backend:
        yield backend.url


@pytest.fixture
async def http(url: str) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(url) as session:
        yield session


@pytest.mark.parametrize(
    ("path", "media_type"),
    [("/", "text/html"), ("/naive", "text/html"), *((f"/assets/{name}", kind) for name, kind in ASSETS.items())],
)
async def test_pages_and_assets_are_served_with_their_type(http, path, media_type):
    async with http.get(path) as response:
        assert (response.status, response.content_type) == (200, media_type)
        assert await response.text()


@pytest.mark.parametrize("path", ["/assets/none.js", "/assets/..%2fpolicy.yaml", "/assets/%2e%2e/%2e%2e/backend.py"])
async def test_nothing_else_is_served(http, path):
    async with http.get(path) as response:
        assert response.status == 404


def test_the_page_loads_nothing_foreign_and_holds_nothing_inline():
    assert {path.name for path in (PAGES / "assets").iterdir()} == set(ASSETS)
    page = (PAGES / "index.html").read_text()
    for forbidden in ("http://", "https://", " style=", "<style", " onclick=", "javascript:"):
        assert forbidden not in page
    assert "<script type=" in page
    assert "<script>" not in page


@pytest.mark.parametrize(
    ("headers", "authorized"),
    [
        pytest.param({}, False, id="no key"),
        pytest.param({"Authorization": "Bearer wrong"}, False, id="wrong key"),
        pytest.param({"Authorization": f"Basic {KEY}"}, False, id="wrong scheme"),
        pytest.param({"Authorization": f"Bearer {KEY}"}, True, id="the key"),
    ],
)
async def test_chat_answers_in_one_piece(http, headers, authorized):
    async with http.post("/api/chat", json={"sessionId": "test", "message": "hello"}, headers=headers) as response:
        assert response.status == 200
        assert await response.json() == {
            "sessionId": "test",
            "message": "hello",
            "reply": answer("hello"),
            "authorized": authorized,
        }


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"{", id="broken JSON"),
        pytest.param(b"[]", id="no object"),
        pytest.param(b'{"message": 7}', id="no string"),
        pytest.param(b"[" * 100_000, id="too deep"),
    ],
)
async def test_chat_refuses_what_is_no_message(http, body):
    async with http.post("/api/chat", data=body) as response:
        assert response.status == 400
        assert (await response.json())["code"] == "NOT_A_MESSAGE"


async def test_chat_streams_word_by_word(http):
    accept = {"Accept": "text/event-stream"}
    async with http.post("/api/chat", json={"message": "is it late?"}, headers=accept) as response:
        assert (response.status, response.content_type) == (200, "text/event-stream")
        events = [block.split("\n") for block in (await response.text()).split("\n\n")[:-1]]
    names = [lines[0].removeprefix("event: ") for lines in events]
    values = [json.loads(lines[1].removeprefix("data: ")) for lines in events]
    words = pieces(answer("is it late?"))
    assert names == ["start", *["word"] * len(words), "done"]
    assert values[0]["message"] == "is it late?"
    assert [value["text"] for value in values[1:-1]] == words
    assert values[-1] == {"reply": "".join(words)}


async def test_socket_speaks_the_chat_and_echoes_the_rest(http):
    async with http.ws_connect("/ws", protocols=("chat",)) as ws:
        assert ws.protocol == "chat"
        await ws.send_str("plain words")
        assert await ws.receive_str() == "plain words"
        await ws.send_bytes(b"\x00\xff")
        assert await ws.receive_bytes() == b"\x00\xff"
        await ws.send_json({"sessionId": "s", "message": "hello"})
        frames = [await ws.receive_json()]
        while frames[-1]["type"] != "done":
            frames.append(await ws.receive_json())
    assert frames[0] == {"type": "start", "sessionId": "s", "message": "hello"}
    assert "".join(frame["text"] for frame in frames[1:-1]) == frames[-1]["reply"] == answer("hello")


async def test_the_openai_client_is_content(url):
    async with AsyncOpenAI(api_key=KEY, base_url=f"{url}/v1", max_retries=0) as client:
        asked = {"model": "parrot-1", "messages": [{"role": "user", "content": "good evening to you"}]}
        whole = await client.chat.completions.create(**asked)
        text = answer("good evening to you")
        assert whole.choices[0].message.content == text
        assert whole.usage.total_tokens == 4 + len(text.split())
        stream = await client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True})
        chunks = [chunk async for chunk in stream]
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == text
        assert [chunk.usage for chunk in chunks if chunk.usage] == [whole.usage]
        assert [model.id async for model in client.models.list()] == ["parrot-1"]


async def test_parts_of_type_text_are_heard(http):
    parts = [{"type": "text", "text": "hello"}, {"type": "image_url", "image_url": {"url": "data:,"}}]
    body = {"messages": [{"role": "user", "content": parts}]}
    async with http.post("/v1/chat/completions", json=body, headers={"Authorization": f"Bearer {KEY}"}) as response:
        assert (await response.json())["choices"][0]["message"]["content"] == answer("hello")


async def test_a_stream_ends_with_done(http):
    body = {"stream": True, "messages": [{"role": "user", "content": "x"}]}
    async with http.post("/v1/chat/completions", json=body, headers={"Authorization": f"Bearer {KEY}"}) as response:
        assert (await response.text()).endswith("\n\ndata: [DONE]\n\n")


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/parrot-1"])
async def test_the_paid_model_demands_a_key(http, path):
    async with http.get(path) as response:
        assert response.status == 401
        assert (await response.json())["error"]["type"] == "invalid_request_error"


async def test_a_wrong_key_is_an_authentication_error(url):
    async with AsyncOpenAI(api_key="sk-wrong", base_url=f"{url}/v1", max_retries=0) as client:
        with pytest.raises(AuthenticationError, match="Incorrect API key"):
            await client.models.list()


async def test_without_a_key_of_its_own_any_token_will_do():
    async with serving(pace=0) as backend, aiohttp.ClientSession(backend.url) as http:
        async with http.get("/v1/models", headers={"Authorization": "Bearer whatever"}) as response:
            assert response.status == 200
        async with http.get("/v1/models") as response:
            assert response.status == 401


@pytest.mark.parametrize(
    ("body", "says"),
    [
        pytest.param(b"{", "could not parse", id="broken JSON"),
        pytest.param(b"{}", "'messages'", id="no messages"),
        pytest.param(b'{"messages": []}', "'messages'", id="empty messages"),
    ],
)
async def test_bad_completions_are_refused_in_openais_shape(http, body, says):
    async with http.post("/v1/chat/completions", data=body, headers={"Authorization": f"Bearer {KEY}"}) as response:
        assert response.status == 400
        assert says in (await response.json())["error"]["message"]


async def test_error_shows_a_stack_as_careless_backends_do(http):
    async with http.get("/error") as response:
        assert response.status == 500
        assert "Traceback (most recent call last)" in await response.text()


@pytest.mark.parametrize(
    ("query", "status"), [("0", 200), ("0.01", 200), ("-1", 400), ("601", 400), ("nan", 400), ("soon", 400)]
)
async def test_slow_sleeps_as_long_as_it_is_told_within_reason(http, query, status):
    async with http.get("/slow", params={"seconds": query}) as response:
        assert response.status == status


async def test_about_names_the_address_without_the_sidecar(http, url):
    async with http.get("/api/about") as response:
        assert (await response.json())["direct"] == url


async def test_a_client_that_leaves_ends_the_stream_without_noise(caplog):
    async with serving(key=Secret(KEY), pace=0.005) as backend:
        reader, writer = await asyncio.open_connection(backend.host, backend.port)
        body = json.dumps({"message": "tell me everything"}).encode()
        writer.write(
            b"POST /api/chat HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        await reader.readuntil(b"event: word")
        writer.transport.abort()
        async with aiohttp.ClientSession(backend.url) as http, http.get("/api/about") as response:
            assert response.status == 200
    assert caplog.records == []


async def test_a_taken_port_is_an_oserror(url):
    port = int(url.rsplit(":", 1)[1])
    with pytest.raises(OSError, match="address already in use"):
        async with serving(port=port):
            pass
