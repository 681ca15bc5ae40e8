"""What operators and their tools are promised: commands, policies, starts, logs, metrics, roles; against real processes."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sidecar.vocabulary import Event
from tests.support.raw import get, post
from tests.support.sidecar import ORIGIN, policy_text, started, until
from tests.support.world import COMMAND, World

COMMANDS = {
    "run": ["--policy"],
    "check": ["FILE", "--json"],
    "explain": ["--policy", "METHOD", "PATH", "-H", "--ip", "--body", "--json"],
    "schema": [],
    "demo": [],
    "credentials": ["add", "list", "rotate", "delete", "test", "import-env", "rewrap"],
    "handle": ["create", "list", "revoke"],
    "token": ["--role", "--org", "--ttl", "--json"],
    "audit": ["verify", "export"],
    "erase": ["--session", "--ip", "--org", "--json"],
}
WHOLE = """\
version: 1
mode: enforce
observe: [content_filter]
listen:
  public:
    { address: "0.0.0.0:8080", tls: { certificate: tls.crt, key: tls.key }, paths: { session: /api/session, rate_limit_status: /api/rate-limit/status } }
  management: { address: "127.0.0.1:9090" }
  egress:     { address: "127.0.0.1:8181" }
backend:
  url: http://127.0.0.1:3001
  preserve_host: true
  timeouts: { connect: 2s, first_byte: 60s, idle: 300s }
  max_connections: 512
clients:
  trusted_proxies: [10.0.0.0/8]
  ipv6_prefix: 64
  allow: []
  deny: [203.0.113.0/24]
  ban: { strikes: 20, within: 1m, for: 15m }
requests:
  hosts: []
  max_body: 1MiB
  max_header_bytes: 32KiB
  max_target: 8KiB
  https_only: false
  concurrent_per_client: 20
cors:
  allowed_origins: ["https://your-website.com", "https://*.preview.your-website.com"]
  allowed_methods: [GET, POST, DELETE]
  allowed_headers: [content-type, authorization, x-session-id]
  exposed_headers: []
  allow_credentials: true
  max_age: 10m
security_headers:
  preset: strict
  report_only: false
  Content-Security-Policy: "default-src 'self'"
organizations:
  from: [token, header, host]
  hosts: { acme.example.com: acme }
  default: default
rate_limits:
  - { name: ip-minute, per: ip,           limit: 60,   window: 1m }
  - { name: ip-hour,   per: ip,           limit: 1000, window: 1h }
  - { name: org-hour,  per: organization, limit: 1000, window: 1h }
sessions:
  mode: issue
  in: [header:X-Session-ID, cookie:__Host-session, body:$.sessionId]
  max_age: 24h
  bind_to: prefix
routes:
  - name: chat
    match: { path: /api/chat, methods: [POST] }
    protocol: plain
    message: { fields: ["$.message"], max_chars: 1000, markup: escape }
    session: required
    credential: { provider: openai, as: header }
    rate_limits: [ { name: chat-burst, per: session, limit: 10, window: 10s } ]
    observe: [rate_limits]
  - name: static
    match: { path: /assets/*, methods: [GET, HEAD] }
egress:
  providers:
    openai: { url: https://api.openai.com, allow: [/v1/chat/completions, /v1/responses, /v1/models] }
redaction: { known_secrets: true, patterns: [openai, stripe, aws, private_key] }
events: { log: stdout, file: null, audit_retention: 90d }
"""
METRICS = {
    "sidecar_security_events_total": {"event", "route", "outcome"},
    "sidecar_requests_total": {"route", "method", "status"},
    "sidecar_request_duration_seconds_count": {"route"},
    "sidecar_overhead_seconds_count": {"route"},
    "sidecar_backend_duration_seconds_count": {"route"},
    "sidecar_active_requests": set(),
    "sidecar_active_streams": {"kind"},
    "sidecar_rate_limit_decisions_total": {"limit", "decision"},
    "sidecar_store_up": {"store"},
    "sidecar_sessions_active": set(),
    "sidecar_bans_active": set(),
    "sidecar_policy_info": {"digest"},
    "sidecar_policy_last_reload_successful": set(),
    "sidecar_policy_last_reload_timestamp_seconds": set(),
    "sidecar_credential_expiry_timestamp_seconds": {"organization", "provider", "name"},
    "sidecar_build_info": {"version"},
}
FIELDS = [
    "ts",
    "level",
    "category",
    "event",
    "outcome",
    "request_id",
    "client_ip",
    "organization",
    "session",
    "route",
    "method",
    "path",
    "status",
    "detail",
    "trace_id",
]
EVENTS = [
    "MAINTENANCE",
    "API_KEY_VALIDATION",
    "SESSION_CREATED",
    "SESSION_CLEANUP",
    "RATE_LIMIT_EXCEEDED",
    "CORS_BLOCKED",
    "INVALID_SESSION_ID",
    "CHAT_MESSAGE_PROCESSED",
    "CHAT_ERROR",
    "SESSION_EXPIRED",
    "SESSION_NETWORK_CHANGED",
    "CSRF_BLOCKED",
    "IP_BLOCKED",
    "IP_BANNED",
    "AUTH_FAILED",
    "REQUEST_MALFORMED",
    "MESSAGE_INVALID",
    "MESSAGE_UNREADABLE",
    "MESSAGE_TOO_LONG",
    "MESSAGE_SANITIZED",
    "CONTENT_BLOCKED",
    "SECRET_REDACTED",
    "CREDENTIAL_CREATED",
    "CREDENTIAL_UPDATED",
    "CREDENTIAL_ROTATED",
    "CREDENTIAL_DELETED",
    "CREDENTIAL_EXPIRED",
    "CREDENTIAL_UNAVAILABLE",
    "HANDLE_REFUSED",
    "PROXY_UNDECLARED",
    "CSP_VIOLATION",
    "BUDGET_EXCEEDED",
    "LINK_REMOVED",
    "GUARD_FAILED",
    "STREAM_REVOKED",
    "USAGE_ANOMALY",
    "STORE_DEGRADED",
    "STORE_RECOVERED",
    "POLICY_RELOADED",
    "POLICY_REJECTED",
    "DATA_ERASED",
    "ADMIN_ACTION",
    "BACKEND_ERROR",
    "OVERLOADED",
]


def test_every_command_says_how_it_is_used(world: World) -> None:
    with ThreadPoolExecutor(2) as pool:
        helps = dict(zip(COMMANDS, pool.map(lambda name: world.cli(name, "--help"), COMMANDS), strict=True))
    assert {name: done.returncode for name, done in helps.items()} == dict.fromkeys(COMMANDS, 0)
    assert [(name, word) for name, words in COMMANDS.items() for word in words if word not in helps[name].stdout] == []


def test_the_whole_policy_compiles_and_says_what_came_from_where(world: World, tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(WHOLE)
    variables = {"ALLOWED_ORIGINS": "https://a.example,https://b.example", "MAX_REQUESTS_PER_MINUTE": "100"}
    variables |= {"MAX_REQUESTS_PER_HOUR": "2000", "SESSION_MAX_AGE_HOURS": "12"}
    found = {}
    for name, env in (("plain", {}), ("overridden", variables)):
        words = [*COMMAND, "check", "--json", str(tmp_path / "policy.yaml")]
        done = subprocess.run(words, env=world.env | env, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout
        told = json.loads(done.stdout)
        assert told["problems"] == []
        found[name] = [(each["path"], each["value"], each["origin"].rpartition("/")[2]) for each in told["values"]]
    assert [value for _, value, _ in found["plain"]][1:] == ["60", "1000", "24h"]
    assert found["overridden"] == [
        ("cors.allowed_origins", "[https://a.example, https://b.example]", "environment:ALLOWED_ORIGINS"),
        ("rate_limits[0].limit", "100", "environment:MAX_REQUESTS_PER_MINUTE"),
        ("rate_limits[1].limit", "2000", "environment:MAX_REQUESTS_PER_HOUR"),
        ("sessions.max_age", "12h", "environment:SESSION_MAX_AGE_HOURS"),
    ]


BASE = 'version: 1\nbackend: { url: "http://127.0.0.1:3001" }\n'
ROUTE = "routes: [ { name: x, match: { path: /a }, credential: { provider: openai, as: header } } ]\n"
WRONG = {
    "any origin": (BASE + 'cors: { allowed_origins: ["*"] }', "3:27: cors.allowed_origins[0]"),
    "null": (BASE + "cors: { allowed_origins: ['null'] }", "3:27: cors.allowed_origins[0]"),
    "public suffix": (BASE + 'cors: { allowed_origins: ["https://*.co.uk"] }', "3:27: cors.allowed_origins[0]"),
    "plain http": (BASE + 'cors: { allowed_origins: ["http://a.example"] }', "3:27: cors.allowed_origins[0]"),
    "no window": (BASE + "rate_limits: [ { name: a, per: ip, limit: 1 } ]", "rate_limits[0].window"),
    "two limits": (
        BASE
        + "rate_limits: [ { name: a, per: ip, limit: 1, window: 1m }, { name: a, per: ip, limit: 1, window: 1h } ]",
        "rate_limits[1].name",
    ),
    "two routes": (
        BASE + "routes: [ { name: x, match: { path: /a } }, { name: x, match: { path: /b } } ]",
        "routes[1].name",
    ),
    "dead route": (
        BASE + "routes: [ { name: x, match: { path: /a* } }, { name: y, match: { path: /ab } } ]",
        "routes[1].match",
    ),
    "unknown provider": (BASE + ROUTE.replace("openai", "nosuch"), "routes[0].credential.provider"),
    "key over http": (BASE.replace("127.0.0.1", "backend.example") + ROUTE, "routes[0].credential"),
    "unknown key": (BASE + "requests: { max_bdy: 1MiB }", "3:13: requests.max_bdy"),
    "duplicate key": (BASE + "mode: observe\nmode: enforce", "4:1: mode"),
}


def test_what_the_compiler_refuses_it_refuses_by_line_and_reason(world: World, tmp_path: Path) -> None:
    def check(case: str) -> tuple[str, int, str]:
        file = tmp_path / f"{case.replace(' ', '-')}.yaml"
        file.write_text(WRONG[case][0])
        done = world.cli("check", str(file))
        return str(file), done.returncode, done.stdout

    with ThreadPoolExecutor(2) as pool:
        for case, (file, code, said) in zip(WRONG, pool.map(check, WRONG), strict=True):
            assert code == 2, case
            lines = said.splitlines()
            form = re.compile(re.escape(file) + r":\d+:\d+: [a-zA-Z_.\[\]0-9]+: .+; .+")
            assert all(form.fullmatch(line) for line in lines), said
            assert any(WRONG[case][1] in line for line in lines), said


STARTS = {
    "weak key": ({"ENCRYPTION_KEY": "short"}, 2, "openssl rand"),
    "weak token secret": ({"JWT_SECRET": "short"}, 2, "openssl rand"),
    "weak previous key": ({"ENCRYPTION_KEY_PREVIOUS": "short"}, 2, "openssl rand"),
    "file that is not there": ({"ENCRYPTION_KEY": "", "ENCRYPTION_KEY_FILE": "/nowhere"}, 2, "ENCRYPTION_KEY_FILE"),
    "strange store": ({"REDIS_URL": "http://127.0.0.1"}, 2, "REDIS_URL"),
    "strange database": ({"DATABASE_URL": "mysql://127.0.0.1"}, 2, "DATABASE_URL"),
    "not a number": ({"MAX_REQUESTS_PER_MINUTE": "many"}, 2, "MAX_REQUESTS_PER_MINUTE"),
    "no policy": ({"SIDECAR_POLICY": "/nowhere.yaml"}, 2, "/nowhere.yaml"),
    "port taken": ({}, 1, "in use"),
}


def test_a_start_that_cannot_be_ends_with_one_clear_line(world: World) -> None:
    def start(case: str) -> subprocess.CompletedProcess[str]:
        env = world.env | STARTS[case][0]
        words = [*COMMAND, "run"]
        return subprocess.run(words, env=env, capture_output=True, text=True, timeout=60, check=False)

    with ThreadPoolExecutor(2) as pool:
        for case, done in zip(STARTS, pool.map(start, STARTS), strict=True):
            _, code, words = STARTS[case]
            assert (done.returncode, words in done.stderr) == (code, True), (case, done)
            assert "Traceback" not in done.stderr


def test_the_closed_list_of_events_is_the_promised_one() -> None:
    assert {event.name for event in Event} == set(EVENTS)


def test_a_line_of_the_log_has_every_field_in_order(world: World) -> None:
    world.ask(get("/looked/for?secret=1", "Origin: https://evil.example"), "127.8.0.1")
    line = world.run.logged(event="CORS_BLOCKED", path="/looked/for")
    assert list(line) == FIELDS
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["ts"])
    told = [line[name] for name in ("level", "category", "outcome", "client_ip", "organization", "method", "status")]
    assert told == ["warning", "SECURITY", "refused", "127.8.0.1", "default", "GET", 403]


def test_metrics_have_their_names_and_labels(world: World) -> None:
    added = world.cli("credentials", "add", "acme", "stripe", "--expires", "1d", stdin="sk_live_" + "a1B2" * 8)
    assert added.returncode == 0, added.stderr
    world.ask(post("/api/session", b""), "127.8.0.2")
    world.ask(get("/x", f"Origin: {ORIGIN}"), "127.8.0.2")
    until(lambda: world.run.metric("sidecar_sessions_active") > 0, "a session in the metrics")
    expiry = "sidecar_credential_expiry_timestamp_seconds"
    until(lambda: world.run.metric(expiry, organization="acme") > 0, "the expiry in the metrics")
    text = world.run.fetch("/metrics")[1]
    labels: dict[str, set[str]] = {}
    for name, inner in re.findall(r"^(sidecar_\w+)(?:\{(.*?)\})? \S+$", text, re.MULTILINE):
        labels.setdefault(name, set()).update(re.findall(r'(\w+)="', inner))
    assert {name: labels.get(name) for name in METRICS} == METRICS
    assert world.run.fetch("/metrics", "application/openmetrics-text; version=1.0.0")[1].endswith("# EOF\n")
    if promtool := shutil.which("promtool"):
        subprocess.run([promtool, "check", "metrics"], input=text, text=True, check=True, timeout=60)


def test_roles_and_organizations_bound_what_a_token_may_do(world: World) -> None:
    assert world.manage("GET", "/livez")[0] == world.manage("GET", "/readyz")[0] == 200
    words = {"viewer": ["--role", "viewer"], "operator": ["--role", "operator"], "admin": ["--role", "admin"]}
    words["acme"] = ["--role", "admin", "--org", "acme", "--ttl", "1h"]
    with ThreadPoolExecutor(2) as pool:
        made = dict(
            zip(words, pool.map(lambda each: world.cli("token", *each).stdout.strip(), words.values()), strict=True)
        )
    reset = {"type": "ip", "key": "203.0.113.9"}
    key = {"organization": "other", "provider": "openai", "value": "sk-" + "a1B2" * 12}
    table = {
        ("GET", "/api/rate-limit/status", None): (401, 200, 200, 200, 200),
        ("GET", "/api/rate-limit/admin/status/ip/203.0.113.9", None): (401, 200, 200, 200, 403),
        ("POST", "/api/rate-limit/reset", json.dumps(reset)): (401, 403, 200, 200, 403),
        ("GET", "/api/bans", None): (401, 200, 200, 200, 403),
        ("POST", "/api/bans", json.dumps({"ip": "203.0.113.9"})): (401, 403, 201, 201, 403),
        ("DELETE", "/api/bans", json.dumps({"ip": "203.0.113.9"})): (401, 403, 200, 404, 403),
        ("GET", "/api/events", None): (401, 200, 200, 200, 200),
        ("GET", "/api/audit", None): (401, 200, 200, 200, 200),
        ("GET", "/api/policy", None): (401, 200, 200, 200, 200),
        ("POST", "/api/explain", json.dumps({"method": "GET", "path": "/x"})): (401, 200, 200, 200, 403),
        ("GET", "/api/api-credentials", None): (401, 200, 200, 200, 200),
        ("POST", "/api/api-credentials", json.dumps(key)): (401, 403, 403, 201, 403),
        ("DELETE", "/api/subjects/organization/other", None): (401, 403, 403, 200, 403),
    }
    for (method, path, body), expected in table.items():
        parsed = json.loads(body) if body else None
        tokens = ["", made["viewer"], made["operator"], made["admin"], made["acme"]]
        found = [world.manage(method, path, token, parsed) for token in tokens]
        assert tuple(status for status, _ in found) == expected, (method, path, found)
        assert found[0][1]["code"] == "AUTH_FAILED"


def test_credentials_live_by_the_api_and_are_never_shown(world: World) -> None:
    token = world.cli("token", "--role", "admin").stdout.strip()
    value = "sk-" + "Q7w8" * 12
    body = {"organization": "api", "provider": "openai", "value": value}
    status, made = world.manage("POST", "/api/api-credentials", token, body)
    assert (status, made["last_four"], made["state"]) == (201, value[-4:], "active")
    one = f"/api/api-credentials/{made['id']}"
    calls = [
        world.manage("GET", "/api/api-credentials?organization=api", token),
        world.manage("PUT", one, token, {"name": "second"}),
        world.manage("POST", f"{one}/rotate", token, {"value": "sk-" + "R7w8" * 12}),
        world.manage("DELETE", one, token),
    ]
    assert [status for status, _ in calls] == [200, 200, 200, 200]
    assert calls[2][1]["last_four"] == "R7w8"[-4:]
    assert value not in json.dumps(calls)
    assert world.manage("GET", "/api/api-credentials?organization=api", token)[1]["credentials"] == []
    actions = [entry["action"] for entry in world.manage("GET", "/api/audit?organization=api", token)[1]["entries"]]
    assert {"credential.create", "credential.update", "credential.rotate", "credential.delete"} <= set(actions)
    verified = world.cli("audit", "verify", "--json")
    assert (verified.returncode, json.loads(verified.stdout)["whole"]) == (0, True)


def test_a_policy_is_reloaded_and_a_broken_one_changes_nothing_until_the_end(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    good = policy_text("http://127.0.0.1:9", tmp_path, listen={"drain_delay": "1s"}, unmatched="deny")
    policy.write_text(good)
    with started(policy, tmp_path) as run:
        assert run.process is not None
        policy.write_text(good + "nonsense: 1\nmore: 2\n")
        line = run.logged(event="POLICY_REJECTED")
        assert "nonsense" in json.dumps(line["detail"])
        assert "more" in json.dumps(line["detail"])
        assert run.metric("sidecar_policy_last_reload_successful") == 0
        policy.write_text(good.replace("deny", "proxy"))
        run.process.signal(signal.SIGHUP)
        run.logged(event="POLICY_RELOADED", outcome="allowed")
        with run.connect() as client:
            assert client.send(get("/x")).response().status == 502
        run.process.signal(signal.SIGTERM)
        until(lambda: run.fetch("/readyz")[0] == 503, "not ready")
        assert run.process.wait() == 0
