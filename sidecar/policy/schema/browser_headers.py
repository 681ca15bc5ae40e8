"""Headers for browsers: CORS and the security headers."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from sidecar.policy.schema import string_types as strings
from sidecar.policy.schema.base_model import Many, Read, Section, refuse
from sidecar.policy.schema.quantities import FLAG, span

PRESET: Final = "preset"
BACKEND: Final = "backend"


class Cors(Section):
    """Which pages of other origins may talk to the backend."""

    allowed_origins: Many[Annotated[str, strings.ORIGIN]] = Field(
        default=(),
        description="origins of the pages, `https://*.example.com` for one label; the backend's own pages always may",
        examples=[["https://chat.example.com"]],
    )
    allowed_methods: Many[Annotated[str, strings.METHOD]] = Field(
        default=("GET", "POST", "DELETE"), description="methods that those pages may use"
    )
    allowed_headers: Many[Annotated[str, strings.TOKEN]] = Field(
        default=("content-type", "authorization", "x-session-id"),
        description="request headers that those pages may set",
    )
    exposed_headers: Many[Annotated[str, strings.TOKEN]] = Field(
        default=(), description="response headers that those pages may read; the sidecar adds its own"
    )
    allow_credentials: Annotated[bool, FLAG] = Field(default=True, description="whether cookies may come along")
    max_age: Annotated[float, span("0s", "24h")] = Field(
        default=600.0, description="how long a browser may remember a preflight"
    )
    dangerously_allow_insecure_origins: Annotated[bool, FLAG] = Field(
        default=False,
        description="true: http origins beyond localhost are allowed, which anyone on their network can fake",
    )


class Cookies(Section):
    """What the cookies that the backend sets get on their way to browsers, besides `Secure` and `HttpOnly`."""

    readable: Many[Annotated[str, strings.TOKEN]] = Field(
        default=(),
        description="names that page scripts read, so that they get no `HttpOnly`; those with csrf or xsrf in them "
        "and `NEXT_LOCALE` always are",
        examples=[["theme"]],
    )
    same_site: Literal["keep", "lax", "none"] = Field(
        default="keep",
        description="keep: what the backend says, else Lax; lax: Lax also in place of None; none: "
        "`SameSite=None; Secure`, for pages in frames of other sites",
    )
    partitioned: Annotated[bool, FLAG] = Field(
        default=False,
        description="true: `SameSite=None; Secure; Partitioned`, which browsers keep for each site that embeds the "
        "page; also the session's own cookie",
    )


def _header_value(value: object) -> str:
    if not isinstance(value, str):
        refuse("is not a header's value", "write one line of text, null for none, or `backend`")
    found: str = strings.LINE.read(value)
    return found


_CHOICE: Final = Read(_header_value, {"type": "string"})
_NAMES: Final = "a value; null: none; `backend`: the backend's own passes; `preset`: as the preset says"


class SecurityHeaders(Section):
    """Headers that confine pages, on every response."""

    preset: Literal["app", "strict", "embeddable", "none"] = Field(
        default="app",
        description="app: what chat pages with inline code, blobs, sockets need; strict: nothing but the page's own; "
        "embeddable: app, in frames of the allowed origins; none: only what is written here",
    )
    report_only: Annotated[bool, FLAG] = Field(
        default=False,
        description="true: the CSP is only tried (Content-Security-Policy-Report-Only); browsers report what it "
        "blocks either way",
    )
    directives: dict[Annotated[str, strings.NAME], Annotated[str, strings.LINE]] = Field(
        default_factory=dict,
        description="directives of the preset's Content-Security-Policy that are to be other than the preset says",
        examples=[{"img-src": "'self' data: https://cdn.example.com"}],
    )
    csp: Annotated[str, _CHOICE] | None = Field(default=PRESET, alias="Content-Security-Policy", description=_NAMES)
    hsts: Annotated[str, _CHOICE] | None = Field(default=PRESET, alias="Strict-Transport-Security", description=_NAMES)
    frame: Annotated[str, _CHOICE] | None = Field(default=PRESET, alias="X-Frame-Options", description=_NAMES)
    sniff: Annotated[str, _CHOICE] | None = Field(default=PRESET, alias="X-Content-Type-Options", description=_NAMES)
    xss: Annotated[str, _CHOICE] | None = Field(default=PRESET, alias="X-XSS-Protection", description=_NAMES)
    referrer: Annotated[str, _CHOICE] | None = Field(default=PRESET, alias="Referrer-Policy", description=_NAMES)
    permissions: Annotated[str, _CHOICE] | None = Field(default=PRESET, alias="Permissions-Policy", description=_NAMES)
    opener: Annotated[str, _CHOICE] | None = Field(
        default=PRESET, alias="Cross-Origin-Opener-Policy", description=_NAMES
    )
    embedder: Annotated[str, _CHOICE] | None = Field(
        default=PRESET, alias="Cross-Origin-Embedder-Policy", description=_NAMES
    )
    resource: Annotated[str, _CHOICE] | None = Field(
        default=PRESET, alias="Cross-Origin-Resource-Policy", description=_NAMES
    )

    def overrides(self) -> dict[str, str | None]:
        """Return the headers that do not follow the preset: name → value, None, or `backend`."""
        named = {field.alias: getattr(self, name) for name, field in type(self).model_fields.items() if field.alias}
        return {name: value for name, value in named.items() if value != PRESET}
