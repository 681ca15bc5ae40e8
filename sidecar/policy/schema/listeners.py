"""Listeners: addresses, TLS, the paths that the sidecar answers itself."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sidecar.policy.schema import string_types as strings
from sidecar.policy.schema.base_model import Section
from sidecar.policy.schema.quantities import FLAG, span


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
    csp_reports: Annotated[str, strings.PATH] | None = Field(
        default="/.csp-reports",
        description="browsers report here what the Content-Security-Policy blocks; null: they are not asked to",
    )


class PublicListener(Section):
    """The listener that browsers reach."""

    address: Annotated[strings.Address, strings.ADDRESS] = Field(
        default=strings.Address("0.0.0.0", 8080),  # noqa: S104 - browsers come from outside
        description="host:port, or unix:/path/of/a/socket",
    )
    tls: ServerTls | None = Field(default=None, description="serve https with this certificate; null: plain http")
    proxy_protocol: Annotated[bool, FLAG] = Field(
        default=False,
        description="true: peers in clients.trusted_proxies may say by the PROXY protocol (version 1 or 2) for whom "
        "they connect, before TLS too",
    )
    paths: OwnPaths = Field(default_factory=OwnPaths, description="paths that the sidecar answers itself")


class ManagementListener(Section):
    """Metrics, probes, the admin API and the console."""

    address: Annotated[strings.Address, strings.ADDRESS] = Field(
        default=strings.Address("127.0.0.1", 9090), description="host:port, or unix:/path/of/a/socket"
    )


class EgressListener(Section):
    """Where the backend sends its provider calls, with handles in place of keys."""

    address: Annotated[strings.Address, strings.ADDRESS] = Field(
        default=strings.Address("127.0.0.1", 8181), description="host:port, or unix:/path/of/a/socket"
    )


class Ready(Section):
    """What `/readyz` asks for, besides this process."""

    backend: Annotated[str, strings.PATH] | None = Field(
        default=None,
        description="a path of the backend that must answer 200 to 399; null: a backend that is down does not make "
        "this process unready",
        examples=["/health"],
    )
    timeout: Annotated[float, span("50ms", "30s")] = Field(
        default=1.0, description="how long the backend may take; less than the kubelet's `timeoutSeconds`"
    )
    cache: Annotated[float, span("100ms", "1m")] = Field(
        default=2.0, description="how long a result is used, so that polling does not load the backend"
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
