"""The edges: where it listens, the backend behind it, which clients come in, how large a request may be."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from sidecar.policy.schema import string_types as strings
from sidecar.policy.schema.base_model import Many, Section
from sidecar.policy.schema.quantities import FLAG, size, span, whole

KIB: Final = 1024
MIB: Final = 1024 * 1024
MINUTE: Final = 60.0
HOUR: Final = 3600.0
DAY: Final = 86400.0


class ServerTls(Section):
    """Serve https. The files are read again when they are renewed."""

    certificate: Annotated[str, strings.FILE] = Field(
        description="PEM file with the certificate and its chain", examples=["/etc/sidecar/tls.crt"]
    )
    key: Annotated[str, strings.FILE] = Field(
        description="PEM file with its private key", examples=["/etc/sidecar/tls.key"]
    )
    min_version: Literal["1.2", "1.3"] = Field(default="1.2", description="oldest TLS version that clients may use")


class OwnPaths(Section):
    """Paths of the public listener that the sidecar answers itself."""

    session: Annotated[str, strings.PATH] | None = Field(
        default="/api/session", description="POST makes a session, DELETE ends it; null gives the path to the backend"
    )
    rate_limit_status: Annotated[str, strings.PATH] | None = Field(
        default="/api/rate-limit/status",
        description="GET tells callers their own limits; null gives the path to the backend",
    )


class PublicListener(Section):
    """The listener that browsers reach."""

    address: Annotated[strings.Address, strings.ADDRESS] = Field(
        default=strings.Address("0.0.0.0", 8080),  # noqa: S104 - browsers come from outside
        description="host:port",
    )
    tls: ServerTls | None = Field(default=None, description="serve https with this certificate; null: plain http")
    paths: OwnPaths = Field(default_factory=OwnPaths, description="paths that the sidecar answers itself")


class ManagementListener(Section):
    """Metrics, probes, the admin API and the console."""

    address: Annotated[strings.Address, strings.ADDRESS] = Field(
        default=strings.Address("127.0.0.1", 9090), description="host:port"
    )


class EgressListener(Section):
    """Where the backend sends its provider calls, with handles in place of keys."""

    address: Annotated[strings.Address, strings.ADDRESS] = Field(
        default=strings.Address("127.0.0.1", 8181), description="host:port"
    )


class Listen(Section):
    """Addresses. A change here needs a restart; all else is reloaded."""

    public: PublicListener = Field(default_factory=PublicListener, description="what browsers reach")
    management: ManagementListener = Field(
        default_factory=ManagementListener, description="metrics, probes, admin API; keep it off the public network"
    )
    egress: EgressListener | None = Field(default=None, description="provider calls of the backend; null: off")
    drain: Annotated[float, span("0s", "1h")] = Field(
        default=30.0, description="how long running requests and streams may go on after SIGTERM"
    )
    drain_delay: Annotated[float, span("0s", "5m")] = Field(
        default=5.0,
        description="how long new connections are still taken after SIGTERM, until load balancers have noticed",
    )


class ClientTls(Section):
    """How the sidecar, as a client, checks a server over https. It always does."""

    ca: Annotated[str, strings.FILE] | None = Field(
        default=None, description="PEM file of the authorities to trust; null: the system's"
    )
    server_name: Annotated[str, strings.HOST] | None = Field(
        default=None, description="the name that the certificate must carry, when it is not the URL's host"
    )


class Timeouts(Section):
    """How long to wait for a server."""

    connect: Annotated[float, span("10ms", "1m")] = Field(default=2.0, description="to be connected")
    first_byte: Annotated[float, span("100ms", "1h")] = Field(
        default=60.0, description="for the first byte of the answer"
    )
    idle: Annotated[float, span("1s", "24h")] = Field(
        default=300.0, description="for the next byte of a running answer"
    )


class Backend(Section):
    """The chat backend that is guarded."""

    url: Annotated[str, strings.url(path=False)] = Field(
        description="scheme, host and port; requests keep their own paths", examples=["http://127.0.0.1:3001"]
    )
    preserve_host: Annotated[bool, FLAG] = Field(
        default=True, description="send the client's Host on; false: the URL's host"
    )
    tls: ClientTls | None = Field(
        default=None, description="for an https URL: whom to trust; null: the system's authorities"
    )
    timeouts: Timeouts = Field(default_factory=Timeouts, description="how long to wait for the backend")
    max_connections: Annotated[int, whole(1, 65_535)] = Field(
        default=512, description="connections to the backend at most; requests beyond wait, then get 503"
    )


class Ban(Section):
    """An address that is refused again and again sits out."""

    strikes: Annotated[int, whole(1, 100_000)] = Field(default=20, description="refusals that make a ban")
    within: Annotated[float, span("1s", "24h")] = Field(
        default=MINUTE, description="the time in which they are counted"
    )
    length: Annotated[float, span("1s", "30d")] = Field(
        default=15 * MINUTE, alias="for", description="how long it sits out"
    )


class Clients(Section):
    """Who a client is, and who may come in."""

    trusted_proxies: Many[Annotated[str, strings.NETWORK]] = Field(
        default=(), description="only these may say X-Forwarded-For, -Proto and Forwarded", examples=[["10.0.0.0/8"]]
    )
    ipv6_prefix: Annotated[int, whole(32, 128)] = Field(
        default=64, description="one client is one IPv6 network of this length"
    )
    allow: Many[Annotated[str, strings.NETWORK]] = Field(default=(), description="when set, nobody else gets in")
    deny: Many[Annotated[str, strings.NETWORK]] = Field(default=(), description="these never get in")
    ban: Ban | None = Field(
        default_factory=Ban, description="refusals that make an address sit out; null: nobody is banned"
    )


class Requests(Section):
    """What one request, and one client, may make the sidecar hold or wait for."""

    hosts: Many[Annotated[str, strings.HOST]] = Field(
        default=(),
        description="when set, any other Host gets 421; `*.example.com` is one label",
        examples=[["chat.example.com"]],
    )
    max_body: Annotated[int, size("0B", "1TiB")] = Field(default=MIB, description="largest request body")
    max_header_bytes: Annotated[int, size("1KiB", "1MiB")] = Field(
        default=32 * KIB, description="largest head of a request"
    )
    max_headers: Annotated[int, whole(8, 1000)] = Field(default=100, description="header lines of a request at most")
    max_target: Annotated[int, size("64B", "64KiB")] = Field(default=8 * KIB, description="longest path with its query")
    https_only: Annotated[bool, FLAG] = Field(
        default=False, description="true: GET and HEAD over http are redirected to https, everything else is refused"
    )
    concurrent_per_client: Annotated[int, whole(1, 100_000)] | None = Field(
        default=20, description="requests and streams of one client at the same time; null: no limit"
    )
    max_connections: Annotated[int, whole(1, 1_000_000)] = Field(
        default=10_000, description="connections of all clients at the same time"
    )
    header_timeout: Annotated[float, span("100ms", "5m")] = Field(
        default=10.0, description="for the complete head to arrive"
    )
    body_timeout: Annotated[float, span("100ms", "1h")] = Field(
        default=30.0, description="longest pause in a body; also the grace before `min_body_rate` is asked for"
    )
    min_body_rate: Annotated[int, size("0B", "1GiB")] = Field(
        default=500, description="bytes a second that a body must keep up on average; 0B: any"
    )
    idle_timeout: Annotated[float, span("1s", "1h")] = Field(
        default=75.0, description="how long a connection stays open between two requests"
    )


class WebSocket(Section):
    """Bounds of a WebSocket connection, in both directions."""

    max_message: Annotated[int, size("1KiB", "1GiB")] = Field(default=MIB, description="largest message")
    idle: Annotated[float, span("1s", "24h")] = Field(
        default=300.0, description="closed after this long without a frame"
    )
    messages_per_minute: Annotated[int, whole(1, 1_000_000)] | None = Field(
        default=600, description="messages that a client may send in any minute; null: no limit"
    )
