"""One long day with marked secrets; in the evening none of them stands where it should not.

Everything is a process of its own, as operators run it: the sidecar, the command line, Redis. What is searched is what
people, collectors and thieves get to see: log lines, both outputs, metrics, answers of the admin API, the audit log,
the database's files, Redis, arguments of processes, and every byte that a client got.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml

from tests.support.backends import Serving, answer
from tests.support.marked import Marked, found, marked, written
from tests.support.processes import free_port
from tests.support.provider import Provider, Seen, provider
from tests.support.raw import Closed, Message, connect, get, post
from tests.support.redis import redis_server
from tests.support.sidecar import ORIGIN, Running, environment, policy_text, started, until

CLI = [sys.executable, "-m", "sidecar"]
ORIGIN_LINE = f"Origin: {ORIGIN}"


@dataclass
class Day:
    """What there is to find, and where it could be."""

    folder: Path
    run: Running
    egress: int
    model: Provider
    env: dict[str, str]
    secrets: dict[str, Marked]
    places: dict[str, bytes] = field(default_factory=dict)
    clients: dict[str, bytes] = field(default_factory=dict)

    def __getitem__(self, name: str) -> str:
        return self.secrets[name].value

    def saw(self, place: str, *what: bytes | str) -> None:
        self.places[place] = self.places.get(place, b"") + b"\n".join(
            each.encode() if isinstance(each, str) else each for each in what
        )

    def cli(self, *words: str, stdin: str = "", keep: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command; what it prints is a place to search unless it is what was asked for."""
        policy = ["--policy", str(self.run.policy)] if words[0] in ("credentials", "handle", "audit") else []
        done = subprocess.run(
            [*CLI, *words, *policy], input=stdin, text=True, capture_output=True, env=self.env, timeout=60, check=False
        )
        self.saw(f"stderr of {words}", done.stderr)
        if keep:
            self.saw(f"stdout of {words}", done.stdout)
        return done

    def ask(self, what: str, raw: bytes, *, source: str = "127.0.0.1", port: int = 0) -> bytes:
        """Send bytes to the public listener, keep all that comes back."""
        with connect(port or self.run.public, source) as client:
            client.send(raw)
            message = client.head()
            with suppress(Closed):
                message.body = b"" if message.status == 204 else client.body(message, until_close=True)
            message.body += client.buffer
        whole = message.start + b"\n" + b"\n".join(b"%b: %b" % each for each in message.fields) + b"\n\n" + message.body
        self.clients[what] = whole
        return whole

    def admin(self, token: str, method: str, path: str, body: Any = None, **headers: str) -> str:
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        fields = {"Content-Type": "application/json", "Authorization": f"Bearer {token}", **headers}
        url = f"http://127.0.0.1:{self.run.management}{path}"
        request = urllib.request.Request(url, data=data, method=method, headers=fields)
        try:
            with urllib.request.urlopen(request, timeout=20) as reply:
                text, status, head = reply.read().decode(), reply.status, str(reply.headers)
        except urllib.error.HTTPError as error:
            with error:
                text, status, head = error.read().decode(), error.code, str(error.headers)
        self.saw(f"admin {method} {path.partition('?')[0]}", f"{status}\n", head, text)
        return text


def backend() -> Serving:
    """A backend that is careless in every way: what it got as a key it gives back, in the spelling that the path names."""

    def reply(request: Message) -> bytes:
        path = request.target.decode("latin-1").partition("?")[0].replace("/custom/", "/echo/")
        key = (request.get(b"x-api-key") or request.get(b"authorization") or b"").decode("latin-1")
        key = key.removeprefix("Bearer ")
        spelled = written(key).get(path.rpartition("/")[2], key.encode())
        if path.startswith("/echo/body"):
            return answer(b'{"you sent": "' + spelled + b'", "again": "' + spelled + b'"}', content_type="text/html")
        if path.startswith("/echo/field"):
            return answer(b"ok", "X-Key: " + spelled.decode(), "Location: /?key=" + spelled.decode())
        if path.startswith("/echo/400"):
            return answer(b"bad key " + spelled, status="400 Bad")
        if path.startswith("/echo/500"):
            return answer(b"Traceback " + spelled, status=f"500 {key}")
        if path.startswith("/echo/chunks"):
            pieces = [spelled[at : at + 3] for at in range(0, len(spelled), 3)]
            body = b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in pieces) + b"0\r\n\r\n"
            return answer(body, "Transfer-Encoding: chunked", length=False)
        if path.startswith("/echo/sse"):
            body = b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in _events(key)) + b"0\r\n\r\n"
            return answer(body, "Transfer-Encoding: chunked", length=False, content_type="text/event-stream")
        if path.startswith("/echo/cut"):
            body = b"%x\r\n%b\r\nnot a chunk\r\n" % (len(spelled), spelled)
            return answer(body, "Transfer-Encoding: chunked", length=False)
        if path.startswith("/echo/garbage"):
            return b"KEY " + spelled + b"\r\n\r\n"
        if path == "/api/chat":
            return answer(b'{"reply": "hi"}', content_type="application/json")
        return answer()

    return Serving(reply)


def _events(said: str) -> list[bytes]:
    """A model that says a key a few letters at a time."""
    deltas = [said[at : at + 4] for at in range(0, len(said), 4)]
    events = [json.dumps({"choices": [{"index": 0, "delta": {"content": each}}]}).encode() for each in deltas]
    return [b"data: " + each + b"\n\n" for each in [*events, b"[DONE]"]]


SECRETS = {
    "master": "master-{}-0123456789-0123456789",
    "previous master": "previous-{}-0123456789-0123456789",
    "token secret": "jwt-{}-0123456789-0123456789",
    "redis password": "redis{}",
    "openai key": "sk-proj-{}abcdefghijklmnopqrstuvwxyz",
    "old openai key": "sk-proj-{}zyxwvutsrqponmlkjihgfedcba",
    "custom key": 'cu/st+"{}"\\key=&%',
    "stripe key": "sk_live_{}ABCDEFGHIJKLMNOP",
    "wrong openai key": "sk-proj-{}00000000000000000000",
    "misshaped key": "{} is no key",
    "key of the browser": "sk-browser-{}-0123456789",
    "cookie": "{}",
    "query": "{}",
    "message": "{}",
    "bad token": "eyJhbGciOiJIUzI1NiJ9.{}.{}",
    "forged handle": "phk_{}abcdefghijklmnopqrstuvwxyz",
    "forged session": "{}{}abcdefg.01234567",
    "basic": "{}",
    "secret in a policy": "{}",
}


@pytest.fixture(scope="module")
def day() -> Iterator[Day]:
    """Start the world."""
    folder = Path(tempfile.mkdtemp(prefix="leaks-"))
    made = {name: marked(name, form) for name, form in SECRETS.items()}
    env_secrets = {
        "ENCRYPTION_KEY": made["master"].value,
        "ENCRYPTION_KEY_PREVIOUS": made["previous master"].value,
        "JWT_SECRET": made["token secret"].value,
    }
    good = f"Bearer {made['openai key'].value}"

    def model(seen: Seen) -> tuple[int, dict[str, str], bytes]:
        given = seen.headers.get("authorization", "")
        fields = {"Content-Type": "application/json", "X-Seen": given}
        if given == good or given.endswith(made["old openai key"].value):
            # It sends the key back even to its rightful user.
            body = {"object": "list", "data": [], "debug": given if seen.path.endswith("?echo") else ""}
            return 200, fields if seen.path.endswith("?echo") else {"Content-Type": "application/json"}, _json(body)
        return 401, {"Content-Type": "application/json"}, _json({"error": {"message": "Incorrect API key provided"}})

    egress = free_port()
    with (
        redis_server("--requirepass", made["redis password"].value) as store,
        provider(folder, model) as running_model,
        backend() as app,
    ):
        env_secrets |= {
            "REDIS_URL": f"redis://:{made['redis password'].value}@127.0.0.1:{store.port}",
            "SSL_CERT_FILE": str(running_model.ca),
        }
        policy = folder / "policy.yaml"
        policy.write_text(_policy(app.url, running_model, folder, egress))
        with started(policy, folder, env_secrets) as run:
            env = {**os.environ, **environment(folder, **env_secrets)}
            yield Day(folder, run, egress, running_model, env, made)
    shutil.rmtree(folder, ignore_errors=True)


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def _policy(url: str, model: Provider, folder: Path, egress: int, **more: Any) -> str:
    def keyed(name: str, of: str, how: str = "header") -> dict[str, Any]:
        return {"name": name, "match": {"path": f"/{name}/*"}, "credential": {"provider": of, "as": how}}

    chat = {
        "name": "chat",
        "match": {"path": "/api/chat", "methods": ["POST"]},
        "protocol": "plain",
        "message": {"fields": ["$.message"], "max_chars": 200, "markup": "escape"},
        "session": "required",
        "rate_limits": [{"name": "burst", "per": "session", "limit": 3, "window": "1h"}],
    }
    return policy_text(
        url,
        folder,
        free_port(),
        free_port(),
        listen={"egress": {"address": f"127.0.0.1:{egress}"}},
        egress={
            "providers": {"openai": {"url": model.url, "allow": ["/v1/models"], "tls": {"ca": str(model.ca)}}},
        },
        providers={"custom": {"header": "X-Api-Key", "scheme": "none", "hosts": ["127.0.0.1"]}},
        requests={"hosts": ["chat.example"], "max_header_bytes": "8KiB"},
        clients={"deny": ["127.0.0.66/32"], "ban": {"strikes": 20, "within": "1m", "for": "15m"}},
        sessions={"mode": "issue", "bind_to": "strict"},
        events={"log": "stdout", "file": str(folder / "events.log")},
        routes=[
            {**keyed("echo", "openai"), "match": {"path": "/echo/*"}},
            {"name": "custom", "match": {"path": "/custom/*"}, "credential": {"provider": "custom", "as": "header"}},
            {"name": "none", "match": {"path": "/none"}, "credential": {"provider": "stripe", "as": "header"}},
            {"name": "deny", "match": {"path": "/inspected", "methods": ["POST"]}, "protocol": "plain"}
            | {"message": {"fields": ["$.message"], "max_chars": 30, "markup": "reject"}},
            chat,
        ],
        **more,
    )


def test_a_day_with_secrets_leaves_no_trace_of_them(day: Day) -> None:
    admin = _command_line(day)
    _administration(day, admin)
    session = _sessions(day)
    _careless_backend(day)
    _refusals(day)
    _through_egress(day)
    _reloads(day)
    _evening(day, admin, session)
    everywhere = list(day.secrets.values())
    assert _witnesses(day) == []
    assert found(everywhere, day.places) == []
    # The text of a message and a client's own cookie may come back from the backend; a key may not.
    keys = [each for each in everywhere if each.name not in ("message", "cookie", "query", "session id", "basic")]
    assert found(keys, day.clients) == []


def _witnesses(day: Day) -> list[str]:
    """Name what should have been seen and was not: a search that looked at nothing finds nothing."""
    wanted = {
        "log": [b"SECRET_REDACTED", b"CORS_BLOCKED", b"POLICY_REJECTED", b"HANDLE_REFUSED", b"API_KEY_VALIDATION"],
        "output": [b"SECRET_REDACTED", b"POLICY_REJECTED"],
        "metrics": [b"sidecar_security_events_total", b"CREDENTIAL_UNAVAILABLE"],
        "stdout of ('audit', 'export')": [b"credential.rotate", b"credential.create"],
        "vault.db": [b"SQLite format 3"],
        "redis": [b"sidecar"],
        "cmdline": [b"sidecar"],
    }
    missing = [
        f"{what!r} in {place}" for place, words in wanted.items() for what in words if what not in day.places[place]
    ]
    missing += [f"[redacted] in {what}" for what in _echoes(day) if b"[redacted]" not in day.clients[what]]
    missing += [f"IP_BANNED: {day.clients['banned 24']!r}"] if b"IP_BLOCKED" not in day.clients["banned 24"] else []
    asked = {seen.headers.get("authorization", "") for seen in day.model.seen}
    missing += [] if f"Bearer {day['openai key']}" in asked else ["the key at its provider"]
    return missing


def _echoes(day: Day) -> list[str]:
    """Name the answers in which the backend gave back a key and the rest of which reached the client."""
    return [
        what
        for what, got in day.clients.items()
        if what.startswith(("echo", "custom")) and not what.endswith("cut") and got[9:10] in (b"2", b"4")
    ]


def _command_line(day: Day) -> str:
    """Add, rotate, test, list; return an admin token."""
    host = f"localhost:{day.model.port}"
    openai = ("credentials", "add", "default", "openai", "--host", host, "--host", "127.0.0.1", "--json")
    custom = ("credentials", "add", "default", "custom", "--json")
    with ThreadPoolExecutor(3) as pool:
        added = pool.submit(day.cli, *openai, stdin=day["old openai key"])
        other = pool.submit(day.cli, *custom, stdin=day["custom key"])
        token = pool.submit(day.cli, "token", "--role", "admin", keep=False)
        assert other.result().returncode == 0
        row = json.loads(added.result().stdout)["id"]
        admin = token.result().stdout.strip()
    url = ("--url", day.model.url)
    rotate = ("credentials", "rotate", "default", row, "--test", *url)
    with ThreadPoolExecutor(3) as pool:
        jobs = [
            pool.submit(day.cli, *rotate, stdin=day["openai key"]),
            pool.submit(
                day.cli, "credentials", "test", "default", "openai", "--host", host, *url, stdin=day["wrong openai key"]
            ),
            pool.submit(day.cli, "credentials", "add", "default", "openai", "--name", "x", stdin=day["misshaped key"]),
            pool.submit(day.cli, "handle", "create", "default", "openai", "--json", keep=False),
        ]
        codes = [job.result().returncode for job in jobs]
    assert codes == [0, 1, 1, 0], [job.result() for job in jobs]
    handle = json.loads(jobs[3].result().stdout)["handle"]
    day.secrets["handle"] = Marked("handle", handle, handle[8:26])
    day.secrets["admin token"] = Marked("admin token", admin, admin[-24:-4])
    return admin


def _administration(day: Day, admin: str) -> None:
    """Right and wrong calls, each with something in it that must not come back."""
    host = f"localhost:{day.model.port}"
    made = day.admin(admin, "POST", "/api/api-credentials", _credential("stripe", day["stripe key"], "other"))
    row = json.loads(made)["id"]
    for body in (
        _credential("openai", day["misshaped key"], "default"),
        _credential("nosuch", day["stripe key"], "default"),
        _credential("openai", day["wrong openai key"], "default") | {"secret": day["wrong openai key"]},
        _credential("openai", day["wrong openai key"], "default") | {"expires_at": day["misshaped key"]},
        _credential("openai", day["wrong openai key"], "default") | {"hosts": [day["misshaped key"]]},
        b'{"value": "' + day["wrong openai key"].encode(),
        [day["wrong openai key"]],
    ):
        day.admin(admin, "POST", "/api/api-credentials", body)
        day.admin(admin, "PUT", f"/api/api-credentials/{row}", body)
        day.admin(admin, "POST", f"/api/api-credentials/{row}/rotate", body)
    test = {"organization": "default", "provider": "openai", "value": day["wrong openai key"], "hosts": [host]}
    day.admin(admin, "POST", "/api/api-credentials/test", test)
    day.admin(admin, "POST", f"/api/api-credentials/{row}/rotate", {"value": day["stripe key"] + "2"})
    for path in ("/api/audit", "/api/api-credentials", f"/nosuch?token={day['query']}", f"/metrics?key={day['query']}"):
        day.admin(day["bad token"], "GET", path, Cookie=f"a={day['cookie']}")
    asked = {
        "method": "POST",
        "path": f"/api/chat?q={day['query']}",
        "headers": [["Cookie", f"a={day['cookie']}"], ["Authorization", f"Bearer {day['key of the browser']}"]],
        "body": json.dumps({"message": day["message"]}),
    }
    for headers in (asked["headers"], dict(asked["headers"])):
        day.admin(admin, "POST", "/api/explain", asked | {"headers": headers})


def _credential(provider_name: str, value: str, organization: str) -> dict[str, Any]:
    return {"organization": organization, "provider": provider_name, "value": value}


def _sessions(day: Day) -> str:
    """Begin a session, chat with it, show it from elsewhere, end another; return its id."""
    ids = []
    for _ in range(2):
        got = day.ask("", post("/api/session", b"", ORIGIN_LINE))
        day.clients.pop("")
        ids.append(json.loads(got.rpartition(b"\n\n")[2])["sessionId"])
    for number, each in enumerate(ids):
        day.secrets[f"session {number}"] = Marked("session id", each, each[:18])
    text = json.dumps({"message": f"my secret is <b>{day['message']}</b>"}).encode()
    for number in range(5):
        day.ask(f"chat {number}", post(f"/api/chat?q={day['query']}", text, ORIGIN_LINE, f"X-Session-ID: {ids[0]}"))
    day.ask("stolen", post("/api/chat", text, f"X-Session-ID: {ids[0]}"), source="127.0.0.77")
    day.ask("forged", post("/api/chat", text, f"X-Session-ID: {day['forged session']}"))
    body = json.dumps({"message": "x", "sessionId": day["forged session"]}).encode()
    day.ask("forged in the body", post("/api/chat", body))
    day.ask("logout", get("/api/session", f"Cookie: __Host-session={ids[1]}; a={day['cookie']}", method="DELETE"))
    return ids[0]


def _careless_backend(day: Day) -> None:
    own = (f"Authorization: Bearer {day['key of the browser']}", f"Cookie: a={day['cookie']}")
    for spelling in written("x"):
        for way in ("body", "field", "400", "chunks", "garbage", "500"):
            day.ask(f"echo {way} {spelling}", get(f"/echo/{way}/{spelling}?q={day['query']}", *own))
            if way in ("body", "chunks", "field", "400"):
                day.ask(f"custom {way} {spelling}", get(f"/custom/{way}/{spelling}", *own))
    for way in ("sse", "cut"):
        for kind in ("echo", "custom"):
            day.ask(f"{kind} {way}", get(f"/{kind}/{way}/raw", *own, "Accept: text/event-stream"))


def _refusals(day: Day) -> None:
    """Each kind of refusal, with secrets wherever a request can hold one."""
    own = (
        f"Authorization: Bearer {day['key of the browser']}",
        f"Cookie: a={day['cookie']}",
        f"Proxy-Authorization: Basic {day['basic']}",
    )
    text = json.dumps({"message": day["message"]}).encode()
    path = f"/x?q={day['query']}"
    for number, raw in enumerate(
        (
            get(path, *own, "Origin: https://evil.example"),
            post(path, text, *own, "Sec-Fetch-Site: cross-site"),
            get(path, *own, "Origin: https://evil.example", "Access-Control-Request-Method: POST", method="OPTIONS"),
            get(path, *own, host="nope.example"),
            get(path, *own, method="TRACE"),
            get(path, *own, f"X-Session-ID: {day['forged session']}"),
            get(path, f"Cookie: a={day['cookie']}; __Host-session={day['forged session']}"),
            get("/none", *own),
            get(path, *own, "X: " + day["basic"] * 1000),
            get(f"/{day['query'] * 800}", *own),
            get(path, *own, "Content-Length: 9999999", method="POST"),
            get(path, *own, f"Bad Name {day['cookie']}: x"),
            get(path, *own, f"Content-Length: {day['cookie']}"),
            get(path, *own, "Content-Length: 3", "Transfer-Encoding: chunked", method="POST"),
            get(path, *own, "Transfer-Encoding: chunked", method="POST") + day["message"].encode() + b"\r\n",
            get(path, *own, host=f"user:{day['basic']}@chat.example"),
            f"GET http://user:{day['basic']}@chat.example/ HTTP/1.1\r\nHost: chat.example\r\n\r\n".encode(),
            f"{day['basic']} / HTTP/1.1\r\nHost: chat.example\r\n\r\n".encode(),
            f"{day['basic']}\r\n\r\n".encode(),
            post(f"/inspected?q={day['query']}", json.dumps({"message": day["message"] * 5}).encode(), *own),
            post("/inspected", json.dumps({"message": f"<b>{day['message']}"}).encode(), *own),
            post("/inspected", b'{"message": "%b", "message": 1}' % day["message"].encode(), *own),
            post("/inspected", day["message"].encode(), *own),
            get("/inspected", *own, f"Content-Type: {day['basic']}", "Content-Length: 2", method="POST") + b"{}",
            get(path, *own, f"Accept-Encoding: {day['basic']}", f"X-Request-ID: {day['basic']}"),
            get(path, *own, "Upgrade: websocket", "Connection: upgrade", f"Sec-WebSocket-Protocol: {day['basic']}"),
        )
    ):
        day.ask(f"refused {number}", raw, source=f"127.0.1.{number + 1}")
    for number in range(25):
        day.ask(f"banned {number}", get("/%00", *own), source="127.0.2.1")
    day.ask("denied", get(path, *own), source="127.0.0.66")


def _through_egress(day: Day) -> None:
    own = (f"Cookie: a={day['cookie']}", "X-Forwarded-For: 10.0.0.1")
    handles = {name: f"Authorization: Bearer {day[name]}" for name in ("handle", "forged handle", "openai key")}
    for name, path in (
        ("handle", "/openai/v1/models?echo"),
        ("handle", "/openai/v1/models"),
        ("handle", f"/openai/v1/files?key={day['query']}"),
        ("handle", "/nosuch/v1/models"),
        ("forged handle", "/openai/v1/models"),
        ("openai key", "/openai/v1/models"),
    ):
        what = f"egress {name} {path.partition('?')[0]}{len(day.clients)}"
        day.ask(what, get(path, handles[name], *own, host="127.0.0.1"), port=day.egress)
    assert f"Bearer {day['openai key']}" in {seen.headers["authorization"] for seen in day.model.seen}


def _reloads(day: Day) -> None:
    """Policies that an operator got wrong, with secrets in the wrong places."""
    good = day.run.policy.read_text()
    bad = yaml.safe_load(good)
    secret = day["secret in a policy"]
    bad["backend"]["url"] = f"http://user:{secret}@127.0.0.1:9"
    bad["openai_api_key"] = secret
    bad["egress"]["providers"]["openai"]["key"] = secret
    bad["routes"][0]["credential"]["value"] = secret
    day.run.policy.write_text(yaml.safe_dump(bad))
    until(lambda: day.run.metric("sidecar_policy_last_reload_successful") == 0, "the rejection")
    checked = subprocess.run(
        [*CLI, "check", str(day.run.policy)], capture_output=True, env=day.env, timeout=60, check=False
    )
    assert checked.returncode == 2
    day.saw("check", checked.stdout, checked.stderr)
    day.run.policy.write_text(good.replace("max_chars: 200", "max_chars: 300"))
    until(lambda: day.run.metric("sidecar_policy_last_reload_successful") == 1, "the new policy")


def _evening(day: Day, admin: str, session: str) -> None:
    """Gather what is to be searched."""
    for path in (
        "/api/events?limit=1000",
        "/api/audit?limit=1000",
        "/api/api-credentials",
        "/api/handles",
        "/api/policy",
    ):
        day.admin(admin, "GET", path)
    day.admin(admin, "GET", "/api/bans")
    day.admin(admin, "GET", "/api/rate-limit/status")
    day.admin(admin, "DELETE", f"/api/subjects/session/{session}")
    with ThreadPoolExecutor(3) as pool:
        for words in (("audit", "export"), ("credentials", "list", "--json"), ("handle", "list", "--json")):
            pool.submit(day.cli, *words)
    day.saw("metrics", day.run.fetch("/metrics")[1], day.run.fetch("/metrics", "application/openmetrics-text")[1])
    assert day.run.process is not None
    day.saw("cmdline", Path(f"/proc/{day.run.process.pid}/cmdline").read_bytes())
    with redis.Redis.from_url(day.env["REDIS_URL"], socket_timeout=10) as store:
        for key in store.scan_iter(count=1000):
            day.saw("redis", key, store.dump(key) or b"")
    for file in day.folder.glob("vault.db*"):
        day.saw(file.name, file.read_bytes())
    day.run.process.stop(20)
    for file in day.folder.glob("vault.db*"):
        day.saw(f"{file.name} afterwards", file.read_bytes())
    day.saw("log", (day.folder / "events.log").read_bytes())
    day.saw("output", day.run.process.output())


@pytest.mark.parametrize("spelling", written("x"))
def test_the_search_finds_a_secret_in_every_spelling(spelling: str) -> None:
    secret = marked("key", 'sk-"{}"/+abc')
    place = b"a line\n" + written(secret.value)[spelling] + b"\nanother"
    assert found([secret], {"log": place})
    assert found([secret], {"log": place.replace(written(secret.value)[spelling][6:30], b"")}) == []
