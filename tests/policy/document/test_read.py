"""A policy as a whole: whatever is written, there is a policy or there are problems, each with its place."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.errors import ConfigError, PolicyError, Problem
from sidecar.policy.compile import compile_policy
from sidecar.policy.document.read import draft_policy, read_policy
from sidecar.policy.dry_run import isolated_services
from tests.support.policies import BASE

WHOLE: dict[str, Any] = {
    "version": 1,
    "mode": "enforce",
    "observe": ["content_filter"],
    "unmatched": "proxy",
    "listen": {
        "public": {
            "address": "0.0.0.0:8080",
            "tls": {"certificate": "tls.crt", "key": "tls.key"},
            "paths": {"session": None},
        },
        "management": {"address": "127.0.0.1:9090"},
        "egress": {"address": "127.0.0.1:8181"},
    },
    "backend": {"url": "http://127.0.0.1:3001", "timeouts": {"connect": "2s"}, "max_connections": 512},
    "clients": {"trusted_proxies": ["10.0.0.0/8"], "deny": ["203.0.113.0/24"], "ban": {"strikes": 20, "for": "15m"}},
    "requests": {"hosts": ["a.example"], "max_body": "1MiB", "https_only": False},
    "websocket": {"idle": "5m"},
    "cors": {"allowed_origins": ["https://a.example", "https://*.b.example"], "max_age": "10m"},
    "security_headers": {"preset": "app", "Content-Security-Policy": "default-src 'self'", "X-Frame-Options": None},
    "organizations": {"from": ["host"], "hosts": {"acme.example.com": "acme"}},
    "rate_limits": [{"name": "ip-minute", "per": "ip", "limit": 60, "window": "1m"}],
    "sessions": {"mode": "issue", "in": ["header:X-Session-ID", "body:$.sessionId"], "learn": {"json": "$.id"}},
    "ownership": {"mode": "enforce"},
    "content_filter": {"patterns": [{"name": "a", "pattern": "a+"}], "moderation": {"timeout": "2s"}},
    "providers": {"acme": {"hosts": ["a.example"], "test": {"path": "/me", "accepted": [200], "headers": {"A": "b"}}}},
    "routes": [
        {
            "name": "chat",
            "match": {"path": "/api/chat", "methods": ["POST"]},
            "protocol": "openai",
            "message": {"fields": ["$.message"], "max_chars": 1000},
            "session": "required",
            "credential": {"provider": "acme", "as": "header"},
            "rate_limits": [{"name": "burst", "per": "session", "limit": 10, "window": "10s"}],
            "observe": ["rate_limits"],
            "redaction": {"patterns": ["openai"]},
            "security_headers": {"preset": "none"},
        },
        {"name": "static", "match": {"path": "/assets/*"}},
    ],
    "egress": {"providers": {"openai": {"url": "https://api.openai.com", "allow": ["/v1/*"]}}},
    "redaction": {"known_secrets": True},
    "events": {"log": None},
    "admin": {"jwks": "https://a.example/keys"},
}


def places(node: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    below = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [at, *(place for key, item in below for place in places(item, (*at, key)))]


PLACES = places(WHOLE)[1:]
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(
        ["", "*", "/", "$", "$..", "1m", "1MiB", "a.example", "https://*", "::/0", "x:y", "off", "/a/*", "(", "\\"]
    ),
    st.lists(st.text(max_size=5), max_size=3),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=3),
)
CHANGES = st.lists(
    st.tuples(st.sampled_from(PLACES), st.sampled_from(["set", "drop", "rename", "twice"]), ODD), max_size=6
)


def changed(changes: list[tuple[tuple[Any, ...], str, Any]]) -> dict[str, Any]:
    tree: Any = json.loads(json.dumps(WHOLE))
    for place, what, value in changes:
        parent = tree
        try:
            for step in place[:-1]:
                parent = parent[step]
            old = parent[place[-1]]
        except (KeyError, IndexError, TypeError):
            continue
        if not isinstance(parent, dict | list):
            continue
        if what == "set":
            parent[place[-1]] = value
        elif what == "drop":
            del parent[place[-1]]
        elif what == "rename" and isinstance(parent, dict):
            parent[str(value)[:20] or "x"] = parent.pop(place[-1])
        elif isinstance(parent, list):
            parent.append(old)
    return tree


def test_the_whole_is_fine() -> None:
    document = read_policy(json.dumps(WHOLE, indent=1), {})
    compile_policy(document, isolated_services())


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=150)
@given(CHANGES, st.booleans())
def test_whatever_is_changed_there_is_a_policy_or_there_are_problems(changes: list[Any], overridden: bool) -> None:
    text = json.dumps(changed(changes), indent=1)
    environ = {"ALLOWED_ORIGINS": "https://x.example", "MAX_REQUESTS_PER_MINUTE": "5"} if overridden else {}
    lines = text.count("\n") + 1
    for problem, line in problems(text, environ):
        assert "\n" not in line
        assert line.startswith("environment:") or (re.match(r"P:\d+:\d+: .+", line) and 1 <= problem.line <= lines)


def problems(text: str, environ: dict[str, str]) -> list[tuple[Problem, str]]:
    try:
        compile_policy(draft_policy(text, environ, name="P"), isolated_services())
    except PolicyError as error:
        return list(zip(error.problems, error.lines(), strict=True))
    return []


def test_a_large_policy_is_read_quickly_with_all_of_its_problems() -> None:
    routes = "".join(f"  - {{ name: r{n}, match: {{ path: /r{n} }}, sesion: x }}\n" for n in range(400))
    deny = ", ".join(f"10.{n // 256}.{n % 256}.1/24" for n in range(3000))
    started = time.process_time()
    with pytest.raises(PolicyError) as error:
        read_policy(BASE + f"clients: {{ deny: [{deny}] }}\nroutes:\n{routes}", {})
    assert len(error.value.problems) == 3400
    assert time.process_time() - started < 6.0


def test_the_source_is_named_as_it_was_given(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("mode: x\n")
    with pytest.raises(PolicyError) as error:
        read_policy(path, {})
    assert all(line.startswith(f"{path}:1:") for line in error.value.lines())


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file or directory"):
        read_policy(tmp_path / "missing", {})


def test_a_device_without_end_is_read_to_the_bound() -> None:
    with pytest.raises(PolicyError, match="is larger than 1024 KiB"):
        read_policy(Path("/dev/zero"), {})


def test_a_problem_of_a_shared_part_is_told_once() -> None:
    document = draft_policy(BASE, {}, name="P")
    problem = Problem("backend.url", "is odd")
    with pytest.raises(PolicyError) as error:
        document.refuse([problem, problem])
    assert error.value.lines() == ["P:2:17: backend.url: is odd"]
