"""Where a key may be sent: names with an optional port, or one wildcard label."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from sidecar.vault.errors import Invalid

MAX_HOSTS: Final = 16
HTTPS_PORT: Final = 443
_LABEL: Final = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME: Final = re.compile(rf"(\*\.(?={_LABEL}\.))?{_LABEL}(\.{_LABEL})*|\[[0-9a-f:.]{{2,45}}\]")
_PORT: Final = re.compile(r"[1-9][0-9]{0,4}")


def parse_hosts(texts: Iterable[str]) -> tuple[str, ...]:
    """Return the hosts in lower case and without `:443`, or raise Invalid.

    `api.example.com`, `api.example.com:8443`, `*.example.com` (one label), `[::1]:8443`.
    """
    hosts = tuple(dict.fromkeys(_parse(text, f"host {number}") for number, text in enumerate(texts, 1)))
    if not 1 <= len(hosts) <= MAX_HOSTS:
        raise Invalid(f"a credential names between 1 and {MAX_HOSTS} hosts that it may be sent to")
    return hosts


def allows(hosts: tuple[str, ...], host: str, port: int = HTTPS_PORT) -> bool:
    """Return whether a key sealed for `hosts` may go to `host:port`. No port in an entry means 443."""
    name = host.lower().removesuffix(".")
    if ":" in name and not name.startswith("["):
        name = f"[{name}]"
    asked = name if port == HTTPS_PORT else f"{name}:{port}"
    label, _, parent = asked.partition(".")
    if "*" in asked or not label:
        return False
    return asked in hosts or f"*.{parent}" in hosts


def _parse(text: str, which: str) -> str:
    # What was written is not repeated: it may be a key that was pasted into the wrong field.
    name, colon, port = text.strip().lower().rpartition(":")
    if not colon or text.endswith("]"):
        name, port = text.strip().lower(), ""
    if len(name) > 253 or not _NAME.fullmatch(name) or (colon and port and not _PORT.fullmatch(port)):
        raise Invalid(f"{which} is not the name of a host that a key can be sent to; write api.example.com")
    if colon and not port and not name.endswith("]"):
        raise Invalid(f"{which} has a colon, but no port after it")
    if port and int(port) > 65535:
        raise Invalid(f"the port of {which} is larger than 65535")
    return name if port in ("", str(HTTPS_PORT)) else f"{name}:{port}"
