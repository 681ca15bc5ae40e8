"""`sidecar explain` and `POST /api/explain`: what each guard would say, with its line, and nothing happens."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from sidecar.__main__ import main
from sidecar.admin.ports import Question
from sidecar.explain.explainer import Explainer
from sidecar.limit import Ask, Limit, Per
from sidecar.policy.compile import compile_policy
from sidecar.policy.dry_run import isolated_services
from sidecar.session import Session, key_of, seal_of
from tests.support.clock import FakeClock
from tests.support.policies import read

TEXT = """\
version: 1
backend: { url: http://127.0.0.1:3001 }
clients:
  deny: [203.0.113.0/24]
  trusted_proxies: [10.0.0.1]
cors:
  allowed_origins: ["https://chat.example.com"]
rate_limits:
  - { name: ip-minute, per: ip, limit: 2, window: 1m }
sessions: { mode: issue, in: ["header:X-Session-ID"] }
content_filter:
  patterns:
    - { name: secret-plan, pattern: "secret plan" }
observe: [content_filter]
requests: { max_body: 64KiB, concurrent_per_client: 2 }
routes:
  - name: chat
    match: { path: /api/chat, methods: [POST] }
    message:
      fields: ["$.message"]
      max_chars: 20
    credential: { provider: openai, as: header }
  - name: members
    match: { path: "/members/*" }
    session: required
    observe: [rate_limits]
"""
SESSION = "s" * 43
ORIGIN = ("Origin", "https://chat.example.com")
FOREIGN = ("Origin", "https://elsewhere.example")


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "p.yaml"
    path.write_text(TEXT)
    return path


def question(method: str, target: str, *headers: tuple[str, str], ip: str = "198.51.100.7", body: str = "") -> Question:
    return Question(method, target, headers, ip, body.encode())


def message(text: str) -> str:
    return json.dumps({"message": text})


class Live:
    """A stage as a running sidecar has it, with an explainer over it."""

    def __init__(self, text: str = TEXT, *, key: bool = True) -> None:
        self.clock = FakeClock()
        self.services = replace(isolated_services(), clock=self.clock)
        self.document = read(text)
        self.compiled = compile_policy(self.document, self.services)
        self.explain = Explainer(lambda: self.document, self.services, lambda *_: key)

    async def ask(self, *words: Any, **more: Any) -> Mapping[str, Any]:
        return await self.explain(question(*words, **more))


def last(said: Mapping[str, Any]) -> dict[str, Any]:
    step: dict[str, Any] = said["steps"][-1]
    return step


CASES = [
    pytest.param(("GET", "/x", FOREIGN), {}, ("cors", 403, "CORS_BLOCKED", "P:7"), id="a foreign origin"),
    pytest.param(("GET", "/x"), {"ip": "203.0.113.9"}, ("address", 403, "IP_BLOCKED", "P:4"), id="an address"),
    pytest.param(
        ("GET", "/x", ("X-Forwarded-For", "203.0.113.9")), {"ip": "10.0.0.1"},
        ("address", 403, "IP_BLOCKED", "P:4"), id="an address behind a proxy",
    ),
    pytest.param(
        ("POST", "/x", ("Sec-Fetch-Site", "cross-site")), {},
        ("fetch_metadata", 403, "CSRF_BLOCKED", "P:7"), id="another site's form",
    ),
    pytest.param(("GET", "/members/1"), {}, ("session", 400, "INVALID_SESSION_ID", "P:25"), id="no session"),
    pytest.param(
        ("GET", "/members/1", ("X-Session-ID", "short")), {},
        ("session_id", 400, "INVALID_SESSION_ID", "P:10"), id="no id",
    ),
    pytest.param(
        ("POST", "/api/chat"), {"body": message("m" * 21)},
        ("message", 400, "MESSAGE_TOO_LONG", "P:21"), id="too long",
    ),
    pytest.param(("POST", "/api/chat"), {"body": "no json"}, ("message", 400, "MESSAGE_INVALID", "P:19"), id="no JSON"),
    pytest.param(
        ("POST", "/x"), {"body": "x" * 70_000}, ("body", 413, "BODY_TOO_LARGE", "P:15"), id="too large"
    ),
    pytest.param(("G ET", "/x"), {}, ("request", 400, "REQUEST_MALFORMED", ""), id="no method"),
    pytest.param(("GET", "/" + "x" * 9000), {}, ("request", 414, "TARGET_TOO_LONG", "default"), id="a long target"),
    pytest.param(("POST", "/members/..%2f..%2fapi/chat"), {}, ("request", 400, "REQUEST_MALFORMED", ""), id="two readings"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "more", "expected"), CASES)
async def test_who_refuses_and_which_line_made_it_so(words: Any, more: Any, expected: tuple[Any, ...]) -> None:
    said = await Live().ask(*words, **more)
    step = last(said)
    assert said["decision"] == step["decision"] == "refuse"
    assert (step["guard"], step["status"], step["code"], step["place"]) == expected
    assert said["backend"] is None


async def test_what_passes_says_what_the_backend_would_receive() -> None:
    sent = ("Authorization", "Bearer sk-clients-own")
    body = message("<b>hi</b> \u202etxet")
    said = await Live().ask("POST", "/api/chat?token=t0p", ORIGIN, sent, ("X-Real-IP", "1.1.1.1"), body=body)
    assert said["decision"] == "pass"
    assert said["route"] == {"name": "chat", "key": "routes[0]", "place": "P:17"}
    assert [step["guard"] for step in said["steps"]][:3] == ["request", "address", "request_id"]
    change = next(step for step in said["steps"] if step["guard"] == "message")
    assert (change["decision"], change["key"]) == ("change", "routes[0].message")
    assert set(change["detail"].values()) <= {1, 2}
    backend = said["backend"]
    assert backend["key_in"] == "Authorization"
    assert {"Host", "Origin", "Content-Length", "X-Forwarded-For", "X-Request-ID"} <= set(backend["headers"])
    assert (backend["address"], backend["path"], backend["changed"]) == ("127.0.0.1:3001", "/api/chat", True)
    written = json.dumps(said)
    for kept_back in ("sk-clients-own", "t0p", "hi</b>", "txet"):
        assert kept_back not in written


async def test_a_guard_that_observes_is_told_apart() -> None:
    said = await Live().ask("POST", "/api/chat", body=message("our secret plan"))
    step = next(step for step in said["steps"] if step["guard"] == "content_filter")
    assert (step["decision"], step["status"], step["code"], step["place"]) == (
        "observe",
        403,
        "CONTENT_BLOCKED",
        "P:14",
    )
    assert said["decision"] == "pass"


async def test_a_preflight_is_answered_and_the_rest_not_asked() -> None:
    wanted = ("Access-Control-Request-Method", "POST")
    said = await Live().ask("OPTIONS", "/api/chat", ORIGIN, wanted)
    assert (said["decision"], last(said)["guard"], last(said)["status"]) == ("answer", "cors", 204)
    assert said["not_asked"][0] == "fetch_metadata"
    assert "message" in said["not_asked"]


async def test_a_body_that_was_left_out_is_not_taken_for_an_empty_one() -> None:
    live = Live()
    said = await live.ask("POST", "/api/chat", ORIGIN)
    assert (said["decision"], said["not_asked"]) == ("pass", ["message", "content_filter"])
    assert any("no body was given" in note for note in said["notes"])
    said = await live.ask("POST", "/api/chat", ORIGIN, ("Content-Length", "0"))
    assert (said["decision"], last(said)["guard"]) == ("refuse", "message")


async def test_a_missing_key_is_a_refusal() -> None:
    said = await Live(key=False).ask("POST", "/api/chat", body=message("hi"))
    assert (last(said)["guard"], last(said)["code"], last(said)["place"]) == (
        "credential",
        "CREDENTIAL_UNAVAILABLE",
        "P:22",
    )


async def test_full_limits_are_seen_and_asking_takes_nothing() -> None:
    live = Live()
    limit = Ask(Limit("ip-minute", Per.IP, 2, 60), "198.51.100.7")
    for left in (2, 1):
        for _ in range(3):
            said = await live.ask("GET", "/x")
            assert said["limits"] == [{"name": "ip-minute", "per": "ip", "limit": 2, "remaining": left}]
        live.services.rates.take([limit], live.clock.monotonic())
    assert (await live.ask("GET", "/x"))["decision"] == "pass"  # a page load is not counted
    said = await live.ask("POST", "/x")
    assert (last(said)["guard"], last(said)["place"]) == ("rate_limits", "P:9")
    observed = await live.ask("GET", "/members/1", ("X-Session-ID", await begun(live)))
    step = next(step for step in observed["steps"] if step["guard"] == "rate_limits")
    assert (step["decision"], step["place"], observed["decision"]) == ("observe", "P:26", "pass")


async def begun(live: Live) -> str:
    now = live.clock.now()
    session = Session(key_of(SESSION), "default", now, now - 3600, "198.51.100.0/24", "198.51.100.7", now + 60)
    await live.services.sessions.create(session, seal_of(SESSION), 7200)
    return SESSION


async def test_nothing_is_counted_struck_opened_or_stored() -> None:
    live = Live()
    session_id = await begun(live)
    live.services.open_requests["198.51.100.7"] = 1
    for _ in range(50):
        await live.ask("GET", "/x", FOREIGN)
        await live.ask("POST", "/api/chat", ORIGIN, body=message("<i>"))
        await live.ask("POST", "/api/chat", body="{")
        await live.ask("POST", "/api/session", ("X-Session-ID", session_id))
        await live.ask("DELETE", "/api/session", ("X-Session-ID", session_id))
        await live.ask("GET", "/api/rate-limit/status")
    assert live.services.open_requests == {"198.51.100.7": 1}
    assert live.services.bans.banned("198.51.100.7", live.clock.now()) == 0.0
    assert await live.services.sessions.count(live.clock.now()) == 1
    kept = await live.services.sessions.get(key_of(SESSION), seal_of(SESSION), live.clock.now())
    assert kept is not None
    assert kept.seen == live.clock.now() - 3600, "asking prolonged it"
    live.services.open_requests["198.51.100.7"] = 2
    said = await live.ask("GET", "/x")
    assert (last(said)["guard"], last(said)["key"]) == ("concurrency", "requests.concurrent_per_client")


async def test_endpoints_are_named_and_not_run() -> None:
    live = Live()
    for method, target, guard in (
        ("POST", "/api/session", "session_path"),
        ("GET", "/api/rate-limit/status", "rate_limit_status"),
    ):
        said = await live.ask(method, target)
        assert (said["decision"], last(said)["guard"]) == ("answer", guard)


async def test_a_reloaded_policy_answers_at_once() -> None:
    live = Live()
    assert (await live.ask("GET", "/x", FOREIGN))["decision"] == "refuse"
    live.document = read(TEXT.replace("chat.example.com", "elsewhere.example"))
    assert (await live.ask("GET", "/x", FOREIGN))["decision"] == "pass"


@pytest.mark.parametrize("changes", [{"ip": "nobody"}, {"header": ("X", "a\r\nY: b")}], ids=["address", "line break"])
async def test_what_is_no_request_is_no_question(changes: dict[str, Any]) -> None:
    asked = question("GET", "/", *([changes["header"]] if "header" in changes else []), ip=changes.get("ip", "::1"))
    with pytest.raises(ValueError, match=r"is not an address|line break"):
        await Live().explain(asked)


# --- the command ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def sidecar(capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    def call(*arguments: str) -> Done:
        code = main(list(arguments))
        return Done(code, *capsys.readouterr())

    return call


def test_the_command_shows_the_order_the_lines_and_the_body_that_was_given(
    sidecar: Callable[..., Done], policy: Path, tmp_path: Path
) -> None:
    body = tmp_path / "body.json"
    body.write_text(message("<b>hi"))
    done = sidecar(
        "explain", "--policy", str(policy), "POST", "/api/chat", "-H", "Host: a.example", "--body", str(body)
    )
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[0] == f"POST /api/chat from 127.0.0.1, route chat ({policy}:17)"
    asked = [line.split()[0] for line in lines[2 : lines.index("", 2)]]
    assert asked.index("cors") < asked.index("rate_limits") < asked.index("message") < asked.index("credential")
    assert '  {"message": "&lt;b>hi"}' in lines
    assert "application/json is assumed" in done.stderr


def test_a_refusal_explained_is_no_failure_of_the_command(sidecar: Callable[..., Done], policy: Path) -> None:
    done = sidecar("explain", "--policy", str(policy), "GET", "/x", "-H", "Origin: https://elsewhere.example", "--json")
    said = json.loads(done.stdout)
    assert (done.returncode, said["decision"], last(said)["place"]) == (0, "refuse", f"{policy}:7")


def test_a_presented_session_is_believed_and_said_to_be(sidecar: Callable[..., Done], policy: Path) -> None:
    done = sidecar("explain", "--policy", str(policy), "GET", "/members/1", "-H", f"X-Session-ID: {SESSION}")
    assert done.returncode == 0, done.stdout
    assert "taken for a live one" in done.stderr


USAGE = [
    pytest.param(("-H", "no colon"), "is no header", id="no header"),
    pytest.param(("--ip", "x"), "is not an address", id="no address"),
    pytest.param(("--body", "/nowhere/at/all"), "cannot read", id="no body"),
]


@pytest.mark.parametrize(("extra", "says"), USAGE)
def test_wrong_usage(sidecar: Callable[..., Done], policy: Path, extra: tuple[str, ...], says: str) -> None:
    done = sidecar("explain", "--policy", str(policy), "GET", "/", *extra)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr


def test_a_policy_that_does_not_compile_explains_nothing(sidecar: Callable[..., Done], policy: Path) -> None:
    policy.write_text("version: 1\nnope: 1\n")
    done = sidecar("explain", "--policy", str(policy), "GET", "/")
    assert done.returncode == 2
    assert f"{policy}:2:1: nope" in done.stderr
