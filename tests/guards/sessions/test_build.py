"""Sessions of a policy: the steps that routes get, what bodies present, and what answers teach."""

from __future__ import annotations

import json

import pytest

from sidecar.errors import StoreUnavailable
from sidecar.exchange import Client
from sidecar.guards.sessions.build import NO_ID, BodyIds, matcher
from sidecar.guards.sessions.session import Binding
from sidecar.guards.sessions.session_id import is_well_formed
from sidecar.json_path import compile_path
from sidecar.policy.compile import compile_policy
from sidecar.policy.dry_run import isolated_services
from sidecar.responses.id_extraction import MOST, IdExtractor, IdRule, JsonReader, LinesReader
from sidecar.responses.session_learning import BodyObserver, CookieObserver, LearningRule, SessionLearner, is_over
from sidecar.session import key_of, seal_of
from sidecar.stores.memory_sessions import MemorySessionStore
from tests.support.exchanges import Recorder, exchange
from tests.support.policies import BASE, read

NOW = 1_800_000_000.0
CLIENT = Client("203.0.113.9", "203.0.113.9", "203.0.113.0/24")
ISSUE = "sessions: { mode: issue }\n"
LIMIT = "rate_limits: [{ name: burst, per: session, limit: 1, window: 1m }]"
CHAT = "routes: [{ name: chat, match: { path: /chat }, %s }]\n"


EVERYWHERE = ("address", "bans", "concurrency", "navigation")


def compiled(text: str):
    return compile_policy(read(BASE + text), isolated_services()).public


def steps(text: str, path: str = "/chat", method: str = "POST") -> tuple[list[str], list[str]]:
    """Return the names of a route's guards, of the head from the organization on and of the body."""
    route = compiled(text).routes.find(method, path)
    head = [step.guard.name for step in route.steps if step.guard.name not in EVERYWHERE]
    assert head[:4] == ["organization", "maintenance", "cors", "fetch_metadata"]
    return head[4:], [step.guard.name for step in route.body_steps]


IDS = ["session_id", "session"]
ROUTES = {
    # (policy, guards of the head, guards of the body)
    "off": (CHAT % "message: {}", ["rate_limits"], ["message"]),
    "in bodies": (ISSUE + CHAT % "message: {}", [*IDS, "rate_limits"], ["message", "session"]),
    "a protocol guards its texts": (CHAT % "protocol: openai", ["rate_limits"], ["message"]),
    "bodies that stream": (ISSUE + CHAT % "session: required", [*IDS, "rate_limits"], []),
    "not looked at": (ISSUE + CHAT % "message: {}, session: none", ["rate_limits"], ["message"]),
    "no place in bodies": (
        "sessions: { mode: issue, in: [header:X-Session-ID] }\n" + CHAT % "message: {}",
        [*IDS, "rate_limits"],
        ["message"],
    ),
    "a limit that waits": (
        ISSUE + CHAT % f"message: {{}}, {LIMIT}",
        [*IDS, "rate_limits", "rate_limits"],
        ["message", "session", "rate_limits"],
    ),
    "a limit that need not": (ISSUE + CHAT % LIMIT, [*IDS, "rate_limits"], []),
    "ownership": (
        ISSUE + "ownership: { mode: enforce }\n" + CHAT % f"message: {{}}, {LIMIT}",
        [*IDS, "rate_limits", "rate_limits", "ownership"],
        ["message", "session", "rate_limits", "ownership"],
    ),
    "ownership alone": (
        ISSUE + "ownership: { mode: observe }\n" + CHAT % "protocol: langgraph, message: null",
        [*IDS, "rate_limits", "ownership"],
        ["ownership"],
    ),
    "ownership of nothing": (
        ISSUE + "ownership: { mode: enforce }\n" + CHAT % "session: none, message: {}",
        ["rate_limits"],
        ["message"],
    ),
    "content comes after who speaks": (
        ISSUE + "content_filter: { patterns: [{ name: x, pattern: xyz }] }\n" + CHAT % "message: {}",
        [*IDS, "rate_limits"],
        ["message", "session", "content_filter"],
    ),
}


@pytest.mark.parametrize(("text", "head", "body"), ROUTES.values(), ids=ROUTES)
def test_the_order_of_guards(text, head, body) -> None:
    assert steps(text) == (head, body)


OWN = {
    # (policy, path, guards of the head)
    "the session's path": (ISSUE, "/api/session", ["session_id", "rate_limits", "session"]),
    "given to the backend": (
        ISSUE + "listen: { public: { paths: { session: null } } }\n",
        "/api/session",
        [*IDS, "rate_limits"],
    ),
    "while sessions are learned": (
        "sessions: { mode: learn, learn: { cookie: sid } }\n",
        "/api/session",
        [*IDS, "rate_limits"],
    ),
    "unmatched": (ISSUE, "/else", [*IDS, "rate_limits"]),
    "unmatched, denied": (ISSUE + "unmatched: deny\n", "/else", [*IDS, "rate_limits", "unmatched"]),
}


@pytest.mark.parametrize(("text", "path", "head"), OWN.values(), ids=OWN)
def test_paths_without_a_route(text, path, head) -> None:
    assert steps(text, path)[0] == head


def test_the_state_of_limits_is_that_of_the_session() -> None:
    names, _ = steps(ISSUE, "/api/rate-limit/status", "GET")
    assert names == [*IDS, "rate_limit_status"]


@pytest.mark.parametrize(
    ("text", "path", "last"),
    [
        (ISSUE, "/else", ["rate_limits", "navigation"]),
        (ISSUE + CHAT % "session: required", "/chat", ["rate_limits", "navigation"]),
        (ISSUE + CHAT % "session: none", "/chat", ["fetch_metadata", "rate_limits"]),
        (
            ISSUE + "routes: [{ name: chat, match: { path: /chat, methods: [POST] } }]\n",
            "/chat",
            ["session", "rate_limits"],
        ),
        ("sessions: { mode: issue, in: [header:X-Session-ID] }\n", "/else", ["session", "rate_limits"]),
        (ISSUE, "/api/rate-limit/status", ["session", "rate_limit_status"]),
    ],
    ids=["unmatched", "required", "none", "no page", "no cookie", "the status"],
)
def test_where_a_page_gets_a_session(text, path, last) -> None:
    route = compiled(text).routes.find("POST", path)
    names = [step.guard.name for step in route.steps if step.guard.name != "concurrency"]
    assert names[-2:] == last


OBSERVED = {
    "enforced": (ISSUE, True, True),
    "observed everywhere": (ISSUE + "mode: observe\n", False, False),
    "the guard is": (ISSUE + "observe: [session]\n", False, True),
    "ownership is": (ISSUE + "observe: [ownership]\n", True, False),
}


@pytest.mark.parametrize(("text", "session", "ownership"), OBSERVED.values(), ids=OBSERVED)
def test_observing(text, session, ownership) -> None:
    route = compiled(text + "ownership: { mode: enforce }\n" + CHAT % "message: {}").routes.find("POST", "/chat")
    for step in (*route.steps, *route.body_steps):
        if step.guard.name in IDS:
            assert step.enforce is session
        if step.guard.name == "ownership":
            assert step.enforce is ownership


def test_a_learned_cookie_is_a_place() -> None:
    route = compiled("sessions: { mode: learn, learn: { cookie: sid } }\n").routes.find("GET", "/")
    ids = next(step.guard for step in route.steps if step.guard.name == "session_id")
    assert ids.places.cookies == (b"__Host-session", b"sid")


def test_the_cookie_is_as_the_policy_says() -> None:
    text = "sessions: { mode: issue, cookie: { same_site: none, partitioned: true } }\n"
    endpoint = compiled(text).routes.find("POST", "/api/session").steps[-1].guard
    assert endpoint._cookie.line(b"__Host-session", "x", 60) == (
        b"__Host-session=x; Path=/; Max-Age=60; Secure; HttpOnly; SameSite=None; Partitioned"
    )


# --- bodies that present a session -----------------------------------------------------------------

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
PRESENTED = {
    # (body, content type, what it presents)
    "one": (b'{"message": "hi", "sessionId": "abc"}', JSON, ["abc"]),
    "none": (b'{"message": "hi"}', JSON, []),
    "no body": (b"", JSON, []),
    "null": (b'{"sessionId": null}', JSON, []),
    "escaped name": (rb'{"\u0073essionId": "abc"}', JSON, ["abc"]),
    "another case": (b'{"SessionID": "abc"}', JSON, [NO_ID]),
    "a long s": ('{"\u017fessionId": "abc"}'.encode(), JSON, [NO_ID]),
    "both cases": (b'{"sessionId": "abc", "SessionId": "def"}', JSON, [NO_ID, "abc"]),
    "a number": (b'{"sessionId": 7}', JSON, [NO_ID]),
    "a list": (b'{"sessionId": ["abc"]}', JSON, [NO_ID]),
    "not at the top": (b'{"a": {"sessionId": "abc"}}', JSON, []),
    "a list of them": (b'[{"sessionId": "abc"}]', JSON, []),
    "no JSON": (b'{"sessionId"', JSON, []),
    "a form": (b"message=hi&sessionId=abc", FORM, ["abc"]),
    "a form with two": (b"sessionId=abc&sessionId=def", FORM, [NO_ID]),
    "a form with an odd one": (b"sessionId[]=abc", FORM, [NO_ID]),
    "multipart": (
        b'--x\r\nContent-Disposition: form-data; name="sessionId"\r\n\r\nabc\r\n--x--',
        "multipart/form-data; boundary=x",
        ["abc"],
    ),
}


@pytest.mark.parametrize(("body", "kind", "expected"), PRESENTED.values(), ids=PRESENTED)
def test_what_bodies_present(body, kind, expected) -> None:
    find = BodyIds((compile_path("$.sessionId"),))
    assert find(exchange("POST", Content_Type=kind), body) == expected


def test_a_place_without_a_name() -> None:
    find = BodyIds((compile_path("$.ids[0]"),))
    assert find(exchange("POST", Content_Type=JSON), b'{"ids": ["abc", "def"]}') == ["abc"]


def test_the_shape_of_learned_ids_is_the_policys() -> None:
    shape = matcher("[A-Za-z0-9._~:%-]{16,256}")
    assert shape("s%3Aabcdefghijklm.no")
    assert not is_well_formed("s%3Aabcdefghijklm.no")
    assert not shape("s%3Aabcdefghijklm.no\n")
    assert not shape("x" * 15)
    assert not matcher(".*")("x" * 1025)


# --- what answers teach ----------------------------------------------------------------------------


def reading(make, chunks) -> tuple[bytes, list[str], list[int]]:
    """Feed chunks; return what came out, what was told, and after which chunk each was."""
    told: list[str] = []
    when: list[int] = []

    async def found(asked, text) -> None:
        told.append(text)

    asked = exchange()
    lesson = IdRule((compile_path("$.id"), compile_path("$.thread.id")), found)
    reader = make(IdExtractor(asked, (lesson,)))
    out = b""
    for number, chunk in enumerate([*chunks, None]):
        out += reader.finish() if chunk is None else reader.feed(chunk)
        while asked.pending:
            waiting = asked.pending.pop(0)()
            with pytest.raises(StopIteration):
                waiting.send(None)
            when.append(number)
    return out, told, when


def events(pupil):
    return LinesReader(pupil, events=True)


def lines(pupil):
    return LinesReader(pupil, events=False)


TAUGHT = {
    # (reader, body, what it tells)
    "JSON": (JsonReader, b'{"id": "a", "thread": {"id": "b"}}', ["a", "b"]),
    "JSON with a number": (JsonReader, b'{"id": 7}', ["7"]),
    "JSON with no id": (JsonReader, b'{"id": true, "thread": {"id": ["x"]}}', []),
    "JSON with an empty one": (JsonReader, b'{"id": ""}', []),
    "no JSON": (JsonReader, b'{"id": "a"', []),
    "events": (
        events,
        b'event: x\ndata: {"id": "a"}\n\n: ping\n\ndata: {"id": "b"}\n\ndata: {"id": "a"}\n\n',
        ["a", "b"],
    ),
    "events with CR LF": (events, b'data: {"id": "a"}\r\n\r\ndata: {"id": "b"}\r\n\r\n', ["a", "b"]),
    "events with CR": (events, b'data: {"id": "a"}\r\rdata: {"id": "b"}\r\r', ["a", "b"]),
    "an event of two lines": (events, b'data: {"id":\ndata: "a"}\n\n', ["a"]),
    "an event that does not end": (events, b'data: {"id": "a"}', ["a"]),
    "the end of a stream": (events, b'data: {"id": "a"}\n\ndata: [DONE]\n\n', ["a"]),
    "lines": (lines, b'{"id": "a"}\n{"id": "b"}\n', ["a", "b"]),
}


@pytest.mark.parametrize(("make", "body", "expected"), TAUGHT.values(), ids=TAUGHT)
def test_answers_teach_whatever_their_chunks(make, body, expected) -> None:
    for at in range(len(body) + 1):
        out, told, _ = reading(make, [body[:at], body[at:]])
        assert (out, told) == (body, expected), at
    assert reading(make, [body[at : at + 1] for at in range(len(body))])[:2] == (body, expected)


def test_nothing_can_be_acted_on_before_it_is_stored() -> None:
    asked = exchange()

    async def found(_, text) -> None: ...

    lesson = IdRule((compile_path("$.id"),), found)
    reader = JsonReader(IdExtractor(asked, (lesson,)))
    assert reader.feed(b'{"id": "a"}') == b'{"id": "a"'
    assert reader.finish() == b"}"
    assert len(asked.pending) == 1
    # An event counts from its blank line on.
    assert reading(events, [b'data: {"id": "a"}\n', b"\n", b"data: x\n\n"])[2] == [1]


def test_what_is_too_long_teaches_nothing() -> None:
    long = json.dumps({"pad": "x" * MOST, "id": "a"}).encode()
    halves = [long[: MOST // 2], long[MOST // 2 :]]
    assert reading(JsonReader, halves)[:2] == (long, [])
    stream = b"data: " + long + b'\n\ndata: {"id": "b"}\n\n'
    out, told, _ = reading(events, [stream[at : at + 65536] for at in range(0, len(stream), 65536)])
    assert (out, told) == (stream, ["b"])


OVER = {
    "plain": (b"sid=x; Path=/", False),
    "max-age 0": (b"sid=x; Max-Age=0", True),
    "max-age -1": (b"sid=x; max-age=-1", True),
    "max-age 60": (b"sid=x; Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:00 GMT", False),
    "expired": (b"sid=x; Expires=Thu, 01 Jan 1970 00:00:00 GMT", True),
    "to come": (b"sid=x; expires=Fri, 31 Dec 2100 00:00:00 GMT", False),
    "no date": (b"sid=x; Expires=soon", False),
    "no date at all": (b"sid=x; Expires", False),
    "no number": (b"sid=x; Max-Age=x", False),
}


@pytest.mark.parametrize(("line", "expected"), OVER.values(), ids=OVER)
def test_cookies_that_are_taken_away(line, expected) -> None:
    assert is_over(line, NOW) is expected


class Head:
    """The head of an answer."""

    def __init__(self, status=200, kind="application/json", cookies=(), **fields) -> None:
        self.status = status
        self.index = {name.replace("_", "-").encode(): value.encode() for name, value in fields.items()}
        self.index[b"content-type"] = kind.encode()
        self._cookies = [cookie.encode() for cookie in cookies]
        if cookies:
            self.index[b"set-cookie"] = self._cookies[0]

    def values(self, name: bytes) -> list[bytes]:
        return self._cookies if name == b"set-cookie" else []


LONG = "s%3A" + "x" * 30
RULE = LearningRule(86400.0, 3600.0, Binding.PREFIX)


def learner(store, recorder=None) -> SessionLearner:
    return SessionLearner(store, recorder or Recorder(), RULE, matcher("[A-Za-z0-9._~:%-]{16,256}"))


async def heard(watcher, asked, head) -> None:
    watcher.for_answer(asked, head)
    while asked.pending:
        await asked.pending.pop(0)()


COOKIES = {
    "set": (["a=b", f"sid={LONG}; Path=/"], 200, 1),
    "quoted": ([f'sid="{LONG}"'], 200, 1),
    "on a redirect": ([f"sid={LONG}"], 302, 1),
    "beside a sign-in": ([f"sid={LONG}"], 401, 1),
    "of another name": ([f"sid2={LONG}"], 200, 0),
    "of a bad shape": (["sid=short"], 200, 0),
    "without a value": (["sid"], 200, 0),
}


@pytest.mark.parametrize(("cookies", "status", "expected"), COOKIES.values(), ids=COOKIES)
async def test_cookies(cookies, status, expected) -> None:
    store = MemorySessionStore()
    await heard(CookieObserver(learner(store), b"sid"), exchange(client=CLIENT), Head(status, cookies=cookies))
    assert await store.count(NOW) == expected


async def test_a_new_cookie_takes_conversations_along() -> None:
    store, asked = MemorySessionStore(), exchange(client=CLIENT)
    watcher = CookieObserver(learner(store), b"sid")
    await heard(watcher, asked, Head(cookies=[f"sid={LONG}"]))
    assert asked.session is not None
    await store.own("conversation", key_of(LONG), 3600.0, NOW)
    await heard(watcher, asked, Head(cookies=[f"sid={LONG}2"]))
    assert await store.owner("conversation", NOW) == key_of(LONG + "2")
    assert await store.get(key_of(LONG + "2"), seal_of(LONG + "2"), NOW) == asked.session


async def test_a_store_that_is_away_breaks_no_answer() -> None:
    class Lost(MemorySessionStore):
        async def get(self, key, seal, now):
            raise StoreUnavailable("gone")

        async def delete(self, key):
            raise StoreUnavailable("gone")

    recorder, asked = Recorder(), exchange(client=CLIENT)
    watcher = CookieObserver(learner(Lost(), recorder), b"sid")
    await heard(watcher, asked, Head(cookies=[f"sid={LONG}"]))
    await heard(watcher, asked, Head(cookies=["sid=; Max-Age=0"]))
    assert recorder.events == []


BODIES = {
    # (does the route see bodies, what the request carries, is the answer looked at)
    "no body": (False, {}, True),
    "a body that was not inspected": (False, {"Content_Length": "5"}, False),
    "a chunked body that was not inspected": (False, {"Transfer_Encoding": "chunked"}, False),
    "a body that was seen": (True, {"Content_Length": "5"}, True),
}


@pytest.mark.parametrize(("sees", "fields", "looked_at"), BODIES.values(), ids=BODIES)
def test_answers_to_unseen_bodies_teach_nothing(sees, fields, looked_at) -> None:
    async def found(_, text) -> None: ...

    watcher = BodyObserver([IdRule((compile_path("$.id"),), found)], sees_bodies=sees)
    assert (watcher.for_answer(exchange("POST", **fields), Head()) is not None) is looked_at


KINDS = {
    "application/json; charset=utf-8": JsonReader,
    "application/vnd.api+json": JsonReader,
    "text/event-stream": LinesReader,
    "application/x-ndjson": LinesReader,
    "text/html": type(None),
    "": type(None),
}


@pytest.mark.parametrize(("kind", "expected"), KINDS.items(), ids=KINDS)
def test_kinds_of_answers(kind, expected) -> None:
    async def found(_, text) -> None: ...

    watcher = BodyObserver([IdRule((compile_path("$.id"),), found)], sees_bodies=True)
    assert isinstance(watcher.for_answer(exchange(), Head(kind=kind)), expected)
