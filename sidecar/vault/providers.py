"""The catalogue of providers: how a key is written, what it looks like, where it goes, how it is tested."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol, cast
from urllib.parse import urlsplit

import re2
import yaml

from sidecar.errors import ConfigError
from sidecar.vault.allowed_hosts import parse_hosts
from sidecar.vault.errors import Invalid, VaultError

CATALOGUE: Final = Path(__file__).with_name("providers.yaml")
MAX_VALUE: Final = 4096
SCHEMES: Final = ("Bearer", "Basic", "none")
_NAME: Final = re2.compile(r"[a-z][a-z0-9-]{0,62}")
_HEADER: Final = re2.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")  # RFC 9110 §5.6.2
_KEYS: Final = {"header", "scheme", "shape", "unlike", "hosts", "url", "environment", "test"}
_TEST_KEYS: Final = {"path", "accepted", "headers", "client"}
_ENVIRONMENT_KEYS: Final = {"key", "user", "user_suffix", "host", "host_suffix"}
# Headers that frame a message or name its peer: a key under one of them would change the request.
_NEVER: Final = {"host", "content-length", "transfer-encoding", "connection", "cookie", "te", "upgrade", "trailer"}


class Pattern(Protocol):
    """A compiled expression that matches in linear time."""

    def fullmatch(self, text: str) -> object | None:
        """Return a match when all of `text` matches, None otherwise."""
        ...


@dataclass(frozen=True, slots=True)
class Trial:
    """A harmless GET that only a valid key is answered on; `accepted` are the statuses that say so."""

    path: str
    accepted: tuple[int, ...] = (200,)
    headers: Mapping[str, str] = field(default_factory=dict)
    client: str = ""


@dataclass(frozen=True, slots=True)
class Provider:
    """One provider. `hosts` are its defaults; what counts for a key are the hosts sealed with it."""

    name: str
    header: str
    scheme: str
    shape: Pattern
    unlike: Pattern | None
    hosts: tuple[str, ...]
    url: str
    environment: Mapping[str, str]
    test: Trial | None

    def write_header(self, value: str) -> tuple[str, str]:
        """Return the header's name and what is in it for a plain key."""
        if self.scheme == "Basic" and ":" in value:
            return self.header, "Basic " + base64.b64encode(value.encode()).decode()
        if self.scheme == "none":
            return self.header, value
        return self.header, "Bearer " + value

    def check(self, value: str) -> None:
        """Raise Invalid when the value cannot be a key of this provider; the message contains none of it."""
        if not value or len(value) > MAX_VALUE or not all("\x21" <= character <= "\x7e" for character in value):
            raise Invalid(f"a key is one line of 1 to {MAX_VALUE} visible ASCII characters")
        if not self.shape.fullmatch(value) or (self.unlike and self.unlike.fullmatch(value)):
            raise Invalid(f"this does not look like a key of {self.name}")


class Catalogue:
    """All providers by name: the built-in ones, and the policy's own."""

    def __init__(self, providers: Mapping[str, Provider]) -> None:
        self._providers = dict(providers)

    @classmethod
    def load(cls, custom: Mapping[str, Mapping[str, Any]] | None = None) -> Catalogue:
        """Build from providers.yaml and a policy's own entries, which may replace a built-in one."""
        built_in = yaml.safe_load(CATALOGUE.read_text(encoding="utf-8"))
        return cls({name: build(name, entry) for name, entry in {**built_in, **(custom or {})}.items()})

    def __contains__(self, name: str) -> bool:
        return name in self._providers

    def __iter__(self) -> Any:
        return iter(self._providers.values())

    def get(self, name: str) -> Provider:
        """Return the provider, or raise Invalid with the names that exist."""
        found = self._providers.get(name)
        if found is None:
            raise Invalid(f"no provider of this name; there are {', '.join(sorted(self._providers))}")
        return found


def build(name: str, entry: Mapping[str, Any]) -> Provider:
    """Build one provider from plain values, or raise ConfigError that says which key is wrong."""
    where = f"provider {str(name)[:64]!a}"
    if not _NAME.fullmatch(str(name)):
        raise ConfigError(f"{where}: a name is lower-case letters, digits and hyphens")
    _only(where, entry, _KEYS)
    header, scheme = str(entry.get("header", "Authorization")), str(entry.get("scheme", "Bearer"))
    if not _HEADER.fullmatch(header) or header.lower() in _NEVER:
        raise ConfigError(f"{where}: header: cannot carry a key")
    if scheme not in SCHEMES:
        raise ConfigError(f"{where}: scheme: write one of {', '.join(SCHEMES)}")
    try:
        hosts = parse_hosts(entry.get("hosts") or ())
    except VaultError as error:
        raise ConfigError(f"{where}: hosts: {error}") from None
    environment = {key: str(value) for key, value in (entry.get("environment") or {}).items()}
    _only(f"{where}: environment", environment, _ENVIRONMENT_KEYS)
    return Provider(
        name,
        header,
        scheme,
        _pattern(f"{where}: shape", entry.get("shape", "[!-~]{8,}")),
        _pattern(f"{where}: unlike", entry["unlike"]) if "unlike" in entry else None,
        hosts,
        _url(where, str(entry.get("url", ""))),
        environment,
        _test(where, entry["test"]) if entry.get("test") else None,
    )


def _test(where: str, entry: Mapping[str, Any]) -> Trial:
    _only(f"{where}: test", entry, _TEST_KEYS)
    path = str(entry.get("path", ""))
    if not path.startswith("/") or not all("\x21" <= character <= "\x7e" for character in path):
        raise ConfigError(f"{where}: test.path: write a path that begins with /")
    accepted = tuple(int(status) for status in entry.get("accepted", (200,)))
    headers = {str(key): str(value) for key, value in entry.get("headers", {}).items()}
    return Trial(path, accepted, headers, str(entry.get("client", "")))


def _url(where: str, url: str) -> str:
    parts = urlsplit(url)
    loopback = parts.hostname in ("localhost", "127.0.0.1", "::1")
    if url and (not parts.hostname or parts.username or parts.scheme not in ("https", "http")):
        raise ConfigError(f"{where}: url: write https://host")
    if parts.scheme == "http" and not loopback:
        raise ConfigError(f"{where}: url: a key is not sent over plain http; write https://")
    return url.rstrip("/")


def _pattern(where: str, expression: Any) -> Pattern:
    try:
        return cast(Pattern, re2.compile(str(expression), _quiet()))
    except re2.error:
        raise ConfigError(f"{where}: is not an expression that RE2 can match") from None


def _quiet() -> Any:
    options = re2.Options()
    options.log_errors = False  # the library would print the expression on stderr
    return options


def _only(where: str, entry: Mapping[str, Any], keys: set[str]) -> None:
    if not isinstance(entry, Mapping):
        raise ConfigError(f"{where}: must be a mapping")
    for key in entry:
        if key not in keys:
            raise ConfigError(f"{where}: unknown key {str(key)[:64]!a}; there are {', '.join(sorted(keys))}")
