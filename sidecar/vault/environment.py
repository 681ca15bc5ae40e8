"""Keys that are in environment variables today, found for `import-env`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from sidecar.errors import ConfigError
from sidecar.secret import Secret
from sidecar.vault.providers import Provider

MAX_FILE = 64 * 1024


@dataclass(frozen=True, slots=True)
class Found:
    """A provider's key as the environment has it; `hosts` None: the provider's own."""

    variable: str
    value: Secret
    hosts: tuple[str, ...] | None
    note: str = ""


def read(provider: Provider, variables: Mapping[str, str]) -> Found | None:
    """Return the key of one provider, from `NAME` or the file that `NAME_FILE` names; None if neither is set."""
    names = provider.environment
    variable = names.get("key", "")
    value = _value(variable, variables)
    if not value:
        return None
    user = variables.get(names.get("user", ""), "").strip()
    host = variables.get(names.get("host", ""), "").strip()
    note = ""
    if user:
        value = f"{user}{names.get('user_suffix', '')}:{value}"
    elif "user" in names:
        note = f"without {names['user']} it is sent as a Bearer token"
    return Found(variable, Secret(value), (_host(host, names.get("host_suffix", "")),) if host else None, note)


def _value(variable: str, variables: Mapping[str, str]) -> str:
    if not variable:
        return ""
    path = variables.get(f"{variable}_FILE", "")
    if variable in variables or not path:
        return variables.get(variable, "").strip()
    try:
        with Path(path).open(encoding="utf-8") as file:
            return file.read(MAX_FILE).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{variable}_FILE cannot be read ({type(error).__name__})") from None


def _host(text: str, suffix: str) -> str:
    """Return the host of `https://acme.example.com/…`, `acme.example.com` or, with a suffix, `acme`."""
    host = urlsplit(text).netloc if "://" in text else text.partition("/")[0]
    return host if "." in host or not suffix else host + suffix
