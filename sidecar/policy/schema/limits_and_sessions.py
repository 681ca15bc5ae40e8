"""Who is counted and remembered: organizations, rate limits, sessions, conversations."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from sidecar.policy.schema import string_types as strings
from sidecar.policy.schema.base_model import Many, Section
from sidecar.policy.schema.quantities import DAY, FLAG, span, whole


class Organizations(Section):
    """Whose limits and keys a request uses. A client cannot choose."""

    sources: Many[Literal["token", "header", "host"]] = Field(
        default=("token", "header", "host"),
        alias="from",
        description="asked in order: `org` of a verified token, X-Org-ID of a trusted proxy, the map of hosts",
    )
    hosts: dict[Annotated[str, strings.HOST], Annotated[str, strings.ORGANIZATION]] = Field(
        default_factory=dict, description="host → organization", examples=[{"acme.example.com": "acme"}]
    )
    default: Annotated[str, strings.ORGANIZATION] = Field(default="default", description="when none of them says")


class RateLimit(Section):
    """At most `limit` requests in any `window`."""

    name: Annotated[str, strings.NAME] = Field(
        description="unique in the policy; named in headers and metrics", examples=["ip-minute"]
    )
    per: Literal["ip", "organization", "session", "user", "route", "global"] = Field(
        description="what is counted", examples=["ip"]
    )
    limit: Annotated[int, whole(1, 1_000_000_000)] = Field(description="requests that pass", examples=[60])
    window: Annotated[float, span("1s", "31d")] = Field(
        description="in any stretch of time as long as this", examples=["1m"]
    )
    counts: Literal["chat", "all"] = Field(
        default="chat",
        description="chat: what costs, that is requests of routes with a message, a credential or a required session, "
        "every method but GET, HEAD and OPTIONS, and WebSocket messages that carry a text; all: page loads too",
    )
    organizations: Literal["named", "all"] = Field(
        default="all",
        description="for `per: organization`; named: requests of `organizations.default` are not held to it",
    )


DEFAULT_LIMITS: Final = (
    RateLimit.model_validate({"name": "ip-minute", "per": "ip", "limit": 60, "window": "1m"}),
    RateLimit.model_validate({"name": "ip-hour", "per": "ip", "limit": 1000, "window": "1h"}),
    RateLimit.model_validate({"name": "ip-all", "per": "ip", "limit": 3000, "window": "1m", "counts": "all"}),
    RateLimit.model_validate(
        {"name": "org-hour", "per": "organization", "limit": 1000, "window": "1h", "organizations": "named"}
    ),
)


class Learn(Section):
    """Where the backend's answers name the session that they begin. One of the two."""

    json_path: Annotated[str, strings.JSON_PATH] | None = Field(
        default=None, alias="json", description="a path in its JSON answers", examples=["$.sessionId"]
    )
    cookie: Annotated[str, strings.TOKEN] | None = Field(
        default=None, description="a cookie that it sets", examples=["connect.sid"]
    )
    pattern: Annotated[str, strings.REGEX] = Field(
        default="[A-Za-z0-9._~:%-]{16,256}", description="the whole id must look like this (RE2)"
    )


class SessionCookie(Section):
    """The cookie that carries an issued session. It is always Secure, HttpOnly and of this host alone."""

    same_site: Literal["lax", "strict", "none"] = Field(
        default="lax", description="none: also inside frames of other sites (with `partitioned`)"
    )
    partitioned: Annotated[bool, FLAG] = Field(default=False, description="true: one cookie per embedding site (CHIPS)")


class Sessions(Section):
    """A conversation belongs to the browser that began it."""

    mode: Literal["off", "issue", "learn"] = Field(
        default="off",
        description="off; issue: page loads get a cookie, and POST /api/session makes them; learn: from the backend's "
        "own answers",
    )
    places: Many[Annotated[strings.Where, strings.WHERE]] = Field(
        default=(
            strings.Where("header", "X-Session-ID"),
            strings.Where("cookie", "__Host-session"),
            strings.Where("body", "$.sessionId"),
        ),
        alias="in",
        description="where clients put the id: header:NAME, cookie:NAME, body:$.path",
    )
    max_age: Annotated[float, span("1s", "365d")] = Field(
        default=DAY, description="a session ends this long after it began"
    )
    idle: Annotated[float, span("1s", "365d")] | None = Field(
        default=None, description="and this long after it was last used; null: `max_age` alone"
    )
    bind_to: Literal["off", "log", "prefix", "strict"] = Field(
        default="prefix",
        description="from another network than it began in (prefix: /24 or /64; strict: the address) it is refused; "
        "log: only recorded",
    )
    per_client: Annotated[int, whole(1, 1_000_000)] = Field(
        default=100, description="sessions that one client may hold; a new one beyond ends its oldest"
    )
    on_store_loss: Literal["refuse", "pass"] = Field(
        default="refuse",
        description="when the shared store is gone: refuse, or pass requests whose session cannot be checked",
    )
    learn: Learn | None = Field(
        default=None, description="for mode learn: where the backend's answers name the session"
    )
    cookie: SessionCookie = Field(default_factory=SessionCookie, description="for mode issue: the cookie's attributes")


class Ownership(Section):
    """Threads and conversations that the backend's answers name belong to the session that first saw them."""

    mode: Literal["off", "observe", "enforce"] = Field(
        default="off", description="off; observe: recorded; enforce: another session that names one is refused"
    )
    adopt: Annotated[bool, FLAG] = Field(
        default=False, description="true: a conversation from before belongs to the first session that names it"
    )
