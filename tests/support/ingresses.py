"""nginx, HAProxy and Envoy in front of a sidecar, with their default settings."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.support.clients import ROOT
from tests.support.processes import Process, free_port
from tests.support.tools import need

ENVOY = ROOT / ".venv-clients" / "bin" / "envoy"

_NGINX = """
daemon off; master_process off; error_log {folder}/error.log; pid {folder}/nginx.pid;
events {{ }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://127.0.0.1:{upstream}; {more} }} }}
}}
"""
_HAPROXY = """
defaults
  mode {mode}
  timeout connect 5s
  timeout client 30s
  timeout server 30s
frontend front
  bind 127.0.0.1:{port}
  default_backend back
backend back
  server sidecar 127.0.0.1:{upstream} {more}
"""


def nginx(folder: Path, port: int, upstream: int, more: str = "") -> list[str]:
    """Return the command of an nginx that does no more than `proxy_pass`."""
    (folder / "nginx.conf").write_text(_NGINX.format(folder=folder, port=port, upstream=upstream, more=more))
    return [need("nginx"), "-p", str(folder), "-c", str(folder / "nginx.conf")]


def haproxy(folder: Path, port: int, upstream: int, more: str = "", mode: str = "http") -> list[str]:
    """Return the command of an HAProxy with one server."""
    (folder / "haproxy.cfg").write_text(_HAPROXY.format(port=port, upstream=upstream, more=more, mode=mode))
    return [need("haproxy"), "-f", str(folder / "haproxy.cfg")]


def envoy(folder: Path, port: int, upstream: int) -> list[str]:
    """Return the command of an Envoy with one route and one cluster."""

    def address(number: int) -> dict[str, Any]:
        return {"socket_address": {"address": "127.0.0.1", "port_value": number}}

    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in",
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "sidecar"}}],
                }
            ]
        },
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
            }
        ],
    }
    http = {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
    endpoint = {"endpoint": {"address": address(upstream)}}
    bootstrap = {
        "static_resources": {
            "listeners": [{"name": "in", "address": address(port), "filter_chains": [{"filters": [http]}]}],
            "clusters": [
                {
                    "name": "sidecar",
                    "load_assignment": {"cluster_name": "sidecar", "endpoints": [{"lb_endpoints": [endpoint]}]},
                }
            ],
        }
    }
    (folder / "envoy.json").write_text(json.dumps(bootstrap))
    return [str(ENVOY), "-c", str(folder / "envoy.json"), "--concurrency", "1", "--disable-hot-restart", "-l", "error"]


@contextlib.contextmanager
def in_front(make: Callable[..., list[str]], folder: Path, upstream: int, **more: Any) -> Iterator[int]:
    """Run an ingress while the block runs; give its port."""
    port = free_port()
    folder.mkdir(exist_ok=True)
    process = Process(make(folder, port, upstream, **more), cwd=folder)
    try:
        process.until_listening(port, seconds=30)
        yield port
    finally:
        process.stop()
