"""The openai client as it comes, without a key of its own, in front of the public listener: the backend gets the key."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import openai
import pytest

from tests.support.egress import ACME_KEY, GLOBEX_KEY, HOSTS, Outbound
from tests.support.language_model import WORDS, Call, LanguageModel, Told, language_model
from tests.support.processes import free_port
from tests.support.sidecar import MASTER, threaded

TEXT = "".join(WORDS)
MESSAGE = {"fields": ["$.messages[*].content"], "max_chars": 100}
CREDENTIAL = {"provider": "openai", "as": "header"}
PATH = "/v1/chat/completions"


def route(name: str, path: str, **more: object) -> dict[str, object]:
    return {"name": name, "match": {"path": path}, "protocol": "openai", "credential": CREDENTIAL, **more}


ROUTES = [
    route("chat", PATH, message=MESSAGE),
    route("tight", "/tight" + PATH, rate_limits=[{"name": "tight", "per": "organization", "limit": 1, "window": "1m"}]),
    route("small", "/small" + PATH, max_body="64B"),
    route("members", "/members" + PATH, session="required"),
]


@dataclass
class Front:
    """A sidecar before a backend that speaks as the provider does, on this machine."""

    model: LanguageModel
    out: Outbound

    def client(self, host: str = "acme.example.com", path: str = "", retries: int = 0) -> openai.OpenAI:
        return openai.OpenAI(
            base_url=f"http://127.0.0.1:{self.out.running.public}{path}/v1",
            api_key="none-of-its-own",
            default_headers={"Host": host},
            max_retries=retries,
        )

    def ask(self, text: str = "Hi", **where: str) -> str:
        with self.client(**where) as client:
            answer = client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": text}])
            return answer.choices[0].message.content or ""


@pytest.fixture(scope="module")
def _front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    folder: Path = tmp_path_factory.mktemp("front")
    with (
        language_model(folder, ACME_KEY, GLOBEX_KEY, tls=False) as model,
        threaded(
            folder,
            f"http://localhost:{model.port}",
            {"ENCRYPTION_KEY": MASTER},
            organizations={"hosts": {**HOSTS, "initech.example.com": "initech"}},
            routes=ROUTES,
            sessions={"mode": "issue"},
            content_filter={"patterns": [{"name": "secret-plan", "pattern": "secret plan"}]},
        ) as running,
    ):
        out = Outbound(running, free_port(), model)
        out.add_key("acme", ACME_KEY, "api.openai.com")
        out.add_key("globex", GLOBEX_KEY, "api.openai.com")
        yield Front(model, out)


@pytest.fixture
def front(_front: Front) -> Iterator[Front]:
    _front.model.calls.clear()
    yield _front
    _front.model.instead = lambda _: None


@pytest.mark.parametrize(
    ("host", "key"), [("acme.example.com", ACME_KEY), ("globex.example.com", GLOBEX_KEY)], ids=["acme", "globex"]
)
def test_a_plain_answer(front: Front, host: str, key: str):
    told, counted = front.model.tokens(key), front.out.counted(HOSTS[host])
    assert front.ask(host=host) == TEXT
    [call] = front.model.calls
    assert call.headers["authorization"] == f"Bearer {key}"
    reported = [now - then for now, then in zip(front.model.tokens(key), told, strict=True)]
    assert reported == [now - then for now, then in zip(front.out.counted(HOSTS[host]), counted, strict=True)]
    assert min(reported) > 0


def test_a_streamed_answer(front: Front):
    counted, told = front.out.counted("acme"), front.model.tokens(ACME_KEY)
    with front.client() as client:
        stream = client.chat.completions.create(
            model="gpt-4o-mini",
            messages=[{"role": "user", "content": "Hi"}],
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = list(stream)
    assert [chunk.choices[0].delta.content for chunk in chunks if chunk.choices] == WORDS
    assert chunks[-1].usage is not None
    now = front.out.counted("acme")
    assert (now[0] - counted[0], now[1] - counted[1]) == (
        chunks[-1].usage.prompt_tokens,
        chunks[-1].usage.completion_tokens,
    )
    assert front.model.tokens(ACME_KEY)[0] - told[0] == chunks[-1].usage.prompt_tokens


def quoting(call: Call) -> Told:
    said = {"error": {"message": f"Incorrect API key provided: {call.key}", "type": "invalid_request_error"}}
    return 401, {"Content-Type": "application/json"}, json.dumps(said).encode()


def test_a_backend_that_quotes_the_key_is_not_heard(front: Front):
    front.model.instead = quoting
    with pytest.raises(openai.AuthenticationError) as refused:
        front.ask()
    assert ACME_KEY not in refused.value.response.text
    assert "[redacted]" in refused.value.message


REFUSALS = {
    "too long": ({"text": "x" * 101}, openai.BadRequestError, "MESSAGE_TOO_LONG"),
    "content that is not allowed": ({"text": "the secret plan"}, openai.PermissionDeniedError, "CONTENT_BLOCKED"),
    "no session": ({"path": "/members"}, openai.BadRequestError, "INVALID_SESSION_ID"),
    "too large": ({"path": "/small"}, openai.APIStatusError, "BODY_TOO_LARGE"),
    "no key": ({"host": "initech.example.com"}, openai.InternalServerError, "CREDENTIAL_UNAVAILABLE"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refusals_are_the_clients_own_exceptions(front: Front, name: str):
    asked, kind, code = REFUSALS[name]
    with pytest.raises(kind) as refused:
        front.ask(**asked)
    assert refused.value.code == code
    assert front.model.calls == []
    assert refused.value.body["message"]


def test_a_limit_is_a_rate_limit_error(front: Front):
    assert front.ask(path="/tight") == TEXT
    with pytest.raises(openai.RateLimitError) as refused:
        front.ask(path="/tight")
    assert refused.value.code == "RATE_LIMIT_EXCEEDED"
    assert int(refused.value.response.headers["retry-after"]) > 0
    assert len(front.model.calls) == 1


def test_a_backend_that_fails_is_a_server_error_without_its_words(front: Front):
    front.model.instead = lambda call: (500, {"Content-Type": "text/plain"}, f"Traceback: {call.key}".encode())
    with pytest.raises(openai.InternalServerError) as failed:
        front.ask()
    assert "Traceback" not in failed.value.response.text
