"""Texts with a grammar: names, tokens, hosts, paths, addresses, URLs; read strictly, refused with a reason."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from sidecar.json_path import PathError, compile_path
from sidecar.policy.schema.base_model import Read, refuse
from sidecar.spelling import nearest

_LABEL: Final = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"  # no look-around: the JSON Schema is read by Go too
_HOST: Final = rf"{_LABEL}(?:\.{_LABEL})*\.?"


UNIX: Final = "unix:"
_LONGEST_SOCKET: Final = 107  # unix(7): sun_path, without its final zero


@dataclass(frozen=True, slots=True)
class Address:
    """Where a listener listens: host and port, or the path of a Unix socket."""

    host: str
    port: int
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return f"{UNIX}{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """Return whether only this machine (or pod) can reach it."""
        return self.path != "" or is_loopback(self.host)


@dataclass(frozen=True, slots=True)
class Where:
    """Where a client may put its session: (`header`, `X-Session-ID`), (`cookie`, name), (`body`, `$.path`)."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


def text(pattern: str, what: str, instead: str, longest: int = 255) -> Read:
    """Read text of one shape."""
    shape = re.compile(pattern)

    def read(value: Any) -> str:
        if not isinstance(value, str) or len(value) > longest or not shape.fullmatch(value):
            refuse("is empty" if value in ("", None) else f"is not {what}", f"write {instead}")
        return value

    return Read(read, {"type": "string", "pattern": f"^(?:{pattern})$", "maxLength": longest})


def _read_as(read: Callable[[Any], Any], **schema: Any) -> Read:
    return Read(read, {"type": "string", **schema})


NAME: Final = text(r"[A-Za-z0-9][A-Za-z0-9._-]*", "a name", "letters, digits, `-`, `_`, `.`; at most 63 of them", 63)
TOKEN: Final = text(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", "a header's name", "a name as in RFC 9110, like X-Session-ID", 100)
METHOD: Final = text(r"[A-Z][A-Z-]*", "a method", "it in capitals, like GET or POST", 32)
LINE: Final = text(r"[\x20-\x7e]+", "a header's value", "one line of printable ASCII", 8192)
FILE: Final = text(r"[^\x00-\x1f]+", "a path of a file", "one, like /etc/sidecar/tls.crt", 4096)
HOST: Final = text(
    rf"(?:\*\.)?{_HOST}|\[[0-9A-Fa-f:.]+\]", "a host", "one without scheme, port or path, like chat.example.com"
)
HOSTS: Final = text(
    rf"\*|(?:\*\.)?{_HOST}|\[[0-9A-Fa-f:.]+\]",
    "a host",
    'one without scheme, port or path, like chat.example.com, or "*" for every host',
)
SERVED_HOST: Final = text(
    rf"(?:(?:\*\.)?{_HOST}|\[[0-9A-Fa-f:.]+\])(?::[1-9][0-9]{{0,4}})?",
    "a host",
    "one without scheme or path, like chat.example.com",
)
ORGANIZATION: Final = NAME
MODEL: Final = text(
    r"\*|[A-Za-z0-9][A-Za-z0-9._:/@-]*", "a model's name", "it as the provider names it, like gpt-4o-mini, or *", 128
)
PROVIDER: Final = text(
    r"[a-z][a-z0-9-]*", "a provider's name", "lower-case letters, digits and hyphens, at most 63 of them", 63
)


def one_of(words: Iterable[str], what: str) -> Read:
    """Read a name from a list that is defined elsewhere in the code."""
    known = sorted(words)
    written = {word.lower(): word for word in known}

    def read(value: Any) -> str:
        if not isinstance(value, str) or value not in known:
            near = nearest(value.lower(), written) if isinstance(value, str) else None
            instead = f'did you mean "{written[near]}"?' if near else f"write one of {', '.join(known)}"
            refuse(f"is not {what}", instead)
        return value

    return Read(read, {"type": "string", "enum": known})


def _json_path(value: Any) -> str:
    if not isinstance(value, str):
        refuse("is not a path into JSON", "write one like $.messages[*].content")
    try:
        compile_path(value)
    except PathError as error:
        refuse(f"is not a path into JSON ({error})", "write one like $.messages[*].content")
    return value


JSON_PATH: Final = _read_as(_json_path, pattern=r"^\$[.\[].+")


def _path(value: Any) -> str:
    if not isinstance(value, str) or not value.startswith("/"):
        refuse("is not a path", "begin it with /, like /api/chat")
    if "%" in value:
        refuse("holds a percent-escape", "write the character that it stands for")
    if len(value) > 1024 or not value.isprintable() or re.search(r"[?#\\;]|//", value):
        refuse("is not a path", "leave out `?`, `#`, `;`, `\\` and `//`")
    if {".", ".."} & set(value.split("/")):
        refuse("holds a dot segment", "write the path that it leads to")
    if any(segment != segment.strip() for segment in value.split("/")):
        refuse("has a blank at the edge of a segment, and would match nothing", "leave it out")
    return value


def _pattern(value: Any) -> str:
    path = _path(value)
    if re.search(r"[^/]\*\*|\*\*[^/]|\*\*\Z", path):
        refuse("holds `**` that is no segment of its own", "write /**/ between segments, or end the path with /*")
    return path


def _fixed_path(value: Any) -> str:
    path = _path(value)
    if "*" in path:
        refuse("holds a `*`", "write one exact path")
    return path


PATH: Final = _read_as(_fixed_path, pattern=r"^/[^?#%;*\\]*$")
PATTERN: Final = _read_as(_pattern, pattern=r"^/[^?#%;\\]*$")


def _network(value: Any) -> str:
    if not isinstance(value, str) or len(value) > 50:
        refuse("is not a network", "write an address or a network, like 10.0.0.0/8 or 2001:db8::/32")
    try:
        network = ipaddress.ip_network(value, strict=False)
    except ValueError:
        refuse("is not a network", "write an address or a network, like 10.0.0.0/8 or 2001:db8::/32")
    if network.network_address != ipaddress.ip_interface(value).ip:
        refuse("has bits set beyond its prefix", f"write {network}, or the address alone")
    return str(network)


NETWORK: Final = _read_as(_network)
PROXY: Final = _read_as(lambda value: value if value == "unix" else _network(value))
"""A network, or `unix`: the peers of Unix sockets."""


def _address(value: Any) -> Address:
    if isinstance(value, str) and value.startswith(UNIX):
        return Address("", 0, _socket(value).removeprefix(UNIX))
    shape = rf"(?P<host>{_HOST}|\[[0-9A-Fa-f:.]+\]|):(?P<port>\d{{1,5}})"
    found = re.fullmatch(shape, value) if isinstance(value, str) else None
    if found is None or int(found["port"]) > 65535:
        refuse("is not an address to listen on", 'write "host:port", like "0.0.0.0:8080" or "[::]:8080"')
    return Address(found["host"].strip("[]") or "0.0.0.0", int(found["port"]))  # noqa: S104 - the operator wrote ":8080"


ADDRESS: Final = _read_as(_address, pattern=r"^((\[[0-9A-Fa-f:.]+\]|[^:\[\]]*):\d{1,5}|unix:/.+)$")


def _where(value: Any) -> Where:
    kind, _, name = value.partition(":") if isinstance(value, str) else ("", "", "")
    if kind == "query":
        refuse("would put session ids into logs and Referer headers", "write header:…, cookie:… or body:$.…")
    shapes = {"header": TOKEN, "cookie": TOKEN, "body": JSON_PATH}
    if kind not in shapes:
        refuse("is not a place of a session", "write header:X-Session-ID, cookie:__Host-session or body:$.sessionId")
    return Where(kind, shapes[kind].read(name))


WHERE: Final = _read_as(_where, pattern="^(header|cookie|body):.+$")


def url(*, path: bool, unix: bool = False) -> Read:
    """Read an http or https URL without user, query and fragment; `path` allows a base path, `unix` a socket's."""
    example = "https://api.example.com"

    def read(value: Any) -> str:
        if unix and isinstance(value, str) and value.startswith(UNIX):
            return _socket(value)
        if not isinstance(value, str) or len(value) > 2048 or re.search(r"[\x00-\x20\\\x7f-\U0010ffff]", value):
            refuse("is not a URL", f"write one like {example}")
        try:
            parts = urlsplit(value)
            port = parts.port
        except ValueError:
            refuse("is not a URL", f"write one like {example}")
        if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
            refuse("is not an http or https URL", f"write one like {example}")
        if not re.fullmatch(rf"{_HOST}|[0-9A-Fa-f:.]+", parts.hostname):
            refuse("has a host that is none", f"write one like {example}")
        if "@" in parts.netloc:
            refuse("holds a user or password", "keep it out of the policy; credentials belong into the vault")
        if "?" in value or "#" in value:
            refuse("has a query or a fragment", "write scheme, host and port alone")
        if parts.path.strip("/") and not path:
            refuse("has a path", "write scheme, host and port alone: requests keep their own paths")
        return value.rstrip("/")

    return _read_as(read, pattern=r"^(https?://[^\s?#@]+|unix:/.+)$" if unix else r"^https?://[^\s?#@]+$")


def _socket(value: str) -> str:
    if re.fullmatch(r"unix:/[^\x00-\x1f]+", value) is None:
        refuse("is not a Unix socket", "write unix: and an absolute path, like unix:/run/app.sock")
    if len(value.removeprefix(UNIX).encode()) > _LONGEST_SOCKET:
        refuse("is longer than the path of a Unix socket may be", f"write at most {_LONGEST_SOCKET} bytes")
    return value


def _origin(value: Any) -> str:
    if value is None:
        return "null"  # kept as an origin of that name: the builder of the list reports what is wrong with it
    if not isinstance(value, str) or not value or len(value) > 300 or not value.isprintable():
        refuse("is not an origin", "write scheme and host, like https://chat.example.com")
    return value


ORIGIN: Final = _read_as(_origin)


def _regex(value: Any) -> str:
    import re2

    if not isinstance(value, str) or not value or len(value) > 2048:
        refuse("is not a pattern", "write a regular expression in RE2's syntax, of at most 2048 characters")
    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(value, options)
    except re2.error as error:
        reason = error.args[0] if error.args else ""
        reason = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        refuse(f"is not a pattern ({reason[:80]})", "write RE2's syntax: no look-around, no back-references")
    return value


REGEX: Final = _read_as(_regex, format="regex")


def is_loopback(host: str) -> bool:
    """Return whether a host name or address never leaves this machine."""
    if host.rstrip(".").lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def goes_in_clear(address: str) -> bool:
    """Return whether what is sent to this URL crosses a network unencrypted."""
    parts = urlsplit(address)
    return parts.scheme == "http" and not is_loopback(parts.hostname or "")
