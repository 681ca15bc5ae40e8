"""Servers that requests go to: from a URL to an address, with its TLS."""

from __future__ import annotations

import ssl
from dataclasses import replace
from urllib.parse import urlsplit

from sidecar.errors import ConfigError, Problems
from sidecar.guards.origins.origin import is_loopback
from sidecar.guards.response_headers.backend_urls import BackendUrls
from sidecar.policy.policy import BackendTarget
from sidecar.policy.schema.backend import ClientTls, RouteTimeouts, Timeouts
from sidecar.policy.schema.string_types import UNIX


def build_target(
    url: str,
    tls: ClientTls | None,
    timeouts: Timeouts,
    problems: Problems,
    *,
    preserve_host: bool,
    max_connections: int,
) -> BackendTarget:
    """Build the address of a server from its URL."""
    if url.startswith(UNIX):
        return BackendTarget(
            host="localhost",
            port=0,
            tls=None,
            server_name="localhost",
            authority=b"localhost",
            preserve_host=preserve_host,
            connect=timeouts.connect,
            first_byte=timeouts.first_byte,
            idle=timeouts.idle,
            max_connections=max_connections,
            local=True,
            path=url.removeprefix(UNIX),
            keep_alive=timeouts.keep_alive,
        )
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    host = parts.hostname or ""
    port = parts.port or (443 if secure else 80)
    context = None
    if secure:
        try:
            context = client_context(tls.ca if tls is not None else None)
        except ConfigError as error:
            problems.at("tls.ca").add(str(error), "name a PEM file of the authorities to trust")
    name = f"[{host}]" if ":" in host else host
    authority = name if parts.port is None or parts.port == (443 if secure else 80) else f"{name}:{port}"
    return BackendTarget(
        host=host,
        port=port,
        tls=context,
        server_name=(tls.server_name if tls is not None else None) or host,
        authority=authority.encode(),
        preserve_host=preserve_host,
        connect=timeouts.connect,
        first_byte=timeouts.first_byte,
        idle=timeouts.idle,
        keep_alive=timeouts.keep_alive,
        max_connections=max_connections,
        local=is_loopback(host),
    )


def with_timeouts(target: BackendTarget, own: RouteTimeouts | None) -> BackendTarget:
    """Return the same server, waited for as a route says."""
    if own is None:
        return target
    return replace(
        target,
        connect=target.connect if own.connect is None else own.connect,
        first_byte=target.first_byte if own.first_byte is None else own.first_byte,
        idle=target.idle if own.idle is None else own.idle,
    )


def backend_urls(target: BackendTarget) -> BackendUrls:
    """Return what rewrites a server's own address in its answers."""
    return BackendUrls(b"https" if target.tls is not None else b"http", target.authority)


def client_context(ca: str | None) -> ssl.SSLContext:
    """Return a context that verifies servers, against `ca` or the system's authorities."""
    try:
        context = ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"cannot use the authorities in {ca}: {getattr(error, 'strerror', None) or error}") from None
    context.set_alpn_protocols(["http/1.1"])
    return context
