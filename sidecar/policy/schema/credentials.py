"""Third-party keys: which providers there are, where keys may go, who may administer them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from sidecar.policy.schema import string_types as strings
from sidecar.policy.schema.backend import ClientTls, Timeouts
from sidecar.policy.schema.base_model import Many, Section
from sidecar.policy.schema.limits_and_sessions import RateLimit
from sidecar.policy.schema.quantities import FLAG, span, whole


class Credential(Section):
    """The organization's key goes into the proxied request, in place of whatever the client sent there."""

    provider: Annotated[str, strings.PROVIDER] = Field(description="whose key", examples=["openai"])
    form: Literal["header", "handle"] = Field(
        default="header",
        alias="as",
        description="header: the key itself, as the provider wants it; handle: a short-lived phantom key that only the "
        "egress listener turns into the key",
    )
    name: Annotated[str, strings.NAME] | None = Field(
        default=None, description="which one, when an organization has several of a provider; null: the default one"
    )


class ProviderTest(Section):
    """A harmless GET that only a valid key is answered on."""

    path: Annotated[str, strings.LINE] = Field(
        description="its path at `url`, with a query if need be", examples=["/v1/me"]
    )
    accepted: Many[Annotated[int, whole(200, 499)]] = Field(default=(200,), description="statuses that mean: valid")
    headers: dict[Annotated[str, strings.TOKEN], Annotated[str, strings.LINE]] = Field(
        default_factory=dict, description="headers besides the key's"
    )


class ProviderEnvironment(Section):
    """What `sidecar credentials import-env` reads."""

    key: Annotated[str, strings.NAME] = Field(description="variable that holds the key", examples=["ACME_API_KEY"])
    user: Annotated[str, strings.NAME] | None = Field(
        default=None, description="variable that holds the user, for Basic"
    )
    host: Annotated[str, strings.NAME] | None = Field(
        default=None, description="variable that holds the customer's host"
    )


class Provider(Section):
    """A provider that the catalogue does not know, in the catalogue's own keys."""

    header: Annotated[str, strings.TOKEN] = Field(default="Authorization", description="the request header of the key")
    scheme: Literal["Bearer", "Basic", "none"] = Field(
        default="Bearer", description="what is before the key; Basic: keys are user:password, sent in base64"
    )
    shape: Annotated[str, strings.REGEX] = Field(
        default="[!-~]{8,}", description="what a whole key looks like (RE2)", examples=["ak_[a-z0-9]{32}"]
    )
    unlike: Annotated[str, strings.REGEX] | None = Field(
        default=None, description="what it must not look like: another provider's key (RE2)"
    )
    hosts: Many[Annotated[str, strings.HOST]] = Field(
        description="hosts that a key may be sent to; sealed into each credential", examples=[["api.example.com"]]
    )
    url: Annotated[str, strings.url(path=True)] | None = Field(
        default=None, description="where the test goes; null: keys are checked by shape alone"
    )
    environment: ProviderEnvironment | None = Field(default=None, description="what `import-env` reads; null: nothing")
    test: ProviderTest | None = Field(default=None, description="how a key is tested; null: by its shape alone")

    def entry(self) -> dict[str, Any]:
        """Return the entry as the vault's catalogue reads it."""
        return self.model_dump(exclude_none=True)


class EgressProvider(Section):
    """Where the egress listener sends calls for `/{provider}/…`."""

    url: Annotated[str, strings.url(path=True)] = Field(
        description="the provider's address, with the base path if it has one", examples=["https://api.openai.com"]
    )
    allow: Many[Annotated[str, strings.PATTERN]] = Field(
        description="paths that may be called; `/v1/*` is everything below", examples=[["/v1/chat/completions"]]
    )
    name: Annotated[str, strings.NAME] | None = Field(
        default=None, description="which credential, when an organization has several; null: the default one"
    )
    heed_limits: Annotated[bool, FLAG] = Field(
        default=True,
        description="after a 429 that says until when, calls under that credential are refused here until then",
    )
    tls: ClientTls | None = Field(default=None, description="whom to trust; null: the system's authorities")
    timeouts: Timeouts = Field(default_factory=Timeouts, description="how long to wait for the provider")


class Egress(Section):
    """Provider calls of the backend: it sends handles, which the sidecar replaces by keys."""

    providers: dict[Annotated[str, strings.PROVIDER], EgressProvider] = Field(
        default_factory=dict, description="provider → where its calls go"
    )
    rate_limits: Many[RateLimit] = Field(
        default=(), description="limits of provider calls (per organization, session or global)"
    )
    handle_ttl: Annotated[float, span("1s", "24h")] = Field(
        default=900.0, description="how long a handle made for one request (`as: handle`) is good"
    )
    dangerously_listen_beyond_loopback: Annotated[bool, FLAG] = Field(
        default=False, description="true: the egress listener may listen on an address that other machines reach"
    )


class Tokens(Section):
    """Which tokens are accepted, besides HS256 ones made with JWT_SECRET."""

    jwks: Annotated[str, strings.LINE] | None = Field(
        default=None, description="https URL or file of a JSON Web Key Set (RS256, ES256, EdDSA); null: none",
        examples=["https://login.example.com/.well-known/jwks.json"],
    )  # fmt: skip
    issuer: Annotated[str, strings.LINE] | None = Field(default=None, description="claim `iss` must be this; null: any")
    audience: Annotated[str, strings.LINE] = Field(default="sidecar", description="claim `aud` must hold this")
    refresh: Annotated[float, span("10s", "24h")] = Field(
        default=600.0, description="how long a fetched key set is used"
    )
