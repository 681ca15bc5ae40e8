"""The live policy, what it would say about a request, and what another policy would change."""

from __future__ import annotations

from typing import Any, Final

from sidecar.admin.api_request import ApiRequest, ApiResponse, Body, iso
from sidecar.admin.ports import Question
from sidecar.admin.refusal import invalid, refuse
from sidecar.vocabulary import Code

MAX_HEADERS: Final = 100
MAX_VALUES: Final = 5000


async def show(call: ApiRequest) -> ApiResponse:
    """`GET /api/policy`: which one is live; for tokens of all organizations the whole of it, as it is written and with
    its defaults, its latest reloads, and which request headers were dropped because clients may not send them. With
    `?only=state` just which one, as for an organization's token.
    """
    state = dict(call.parts.policy.state())
    if isinstance(state.get("loaded_at"), int | float):
        state["loaded_at"] = iso(state["loaded_at"])
    if call.grant.organization is None and call.text("only") != "state":
        dropped = call.parts.dropped_headers()
        seen = {"dropped_headers": dropped, "undeclared_proxies": list(call.parts.undeclared_proxies())}
        policy = call.parts.policy
        reloads = [{**each, "at": iso(each["at"])} for each in policy.reloads()]
        notes = list(policy.notes())
        written = {"policy": policy.document(), "yaml": policy.text(), "notes": notes, "reloads": reloads}
        return ApiResponse({**state, **written, **seen})
    # The document and its problems name the other organizations.
    return ApiResponse({name: state.get(name) for name in ("digest", "mode", "loaded_at", "successful")})


async def values(call: ApiRequest) -> ApiResponse:
    """`GET /api/policy/values`: every value in force, with the line, variable or default that it comes from."""
    call.needs_all()
    rows = call.parts.policy.values()
    shown = [{"path": path, "value": value, "origin": origin} for path, value, origin in rows[:MAX_VALUES]]
    return ApiResponse({"values": shown, "count": len(rows)})


async def check(call: ApiRequest) -> ApiResponse:
    """`POST /api/policy/check` `{"yaml"}`: the problems of another policy, as `sidecar check` finds them."""
    text = await _candidate(call)
    return ApiResponse(await call.parts.candidates.check(text))


async def diff(call: ApiRequest) -> ApiResponse:
    """`POST /api/policy/diff` `{"yaml"}`: the effective values that would change, as `sidecar diff` says them."""
    text = await _candidate(call)
    return ApiResponse(await call.parts.candidates.diff(text))


async def replay(call: ApiRequest) -> ApiResponse:
    """`POST /api/policy/replay` `{"yaml"}`: what it would refuse of recent requests, as `sidecar replay` finds it."""
    text = await _candidate(call)
    return ApiResponse(await call.parts.candidates.replay(text))


async def _candidate(call: ApiRequest) -> str:
    call.needs_all()
    body = await call.body()
    text = body.optional("yaml", str)
    body.done()
    if not text:
        raise invalid("`yaml` is the text of a policy")
    if call.parts.candidates.is_busy:
        raise refuse(Code.OVERLOADED, "Another policy is being judged", headers={"Retry-After": "1"})
    return text


async def explain(call: ApiRequest) -> ApiResponse:
    """`POST /api/explain` `{"method", "path", "headers", "ip", "body"}`: what each guard would say; sends nothing."""
    call.needs_all()
    if call.parts.explain is None:
        raise refuse(Code.NOT_FOUND)
    body = await call.body()
    question = Question(
        method=body.text("method", 32),
        target=body.text("path", 8192),
        headers=_headers(body),
        address=body.text("ip", 64) if body.has("ip") else "127.0.0.1",
        body=(body.optional("body", str) or "").encode("utf-8", "replace"),
    )
    body.done()
    try:
        return ApiResponse(await call.parts.explain(question))
    except ValueError as error:
        raise invalid(str(error)) from None


def _headers(body: Body) -> tuple[tuple[str, str], ...]:
    """Return header lines from an object (name → value or values) or a list of pairs."""
    value = body.raw("headers")
    lines: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        for name, held in value.items():
            lines += [(name, item) for item in (held if isinstance(held, list) else [held])]
    elif isinstance(value, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in value):
        lines = [(name, held) for name, held in value]
    elif value is not None:
        raise invalid("`headers` is an object, or a list of pairs")
    if len(lines) > MAX_HEADERS or not all(_is_line(name) and _is_line(held) for name, held in lines):
        raise invalid("`headers` holds names and values without control characters")
    return tuple(lines)


def _is_line(text: Any) -> bool:
    return isinstance(text, str) and len(text) <= 8192 and not any(character in text for character in "\r\n\0")
