"""The environment, read once, at start: where things are, and the secrets that are not in the policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sidecar.errors import ConfigError
from sidecar.secret import Secret

MIN_SECRET: Final = 32  # bytes: 256 bits, when they are random
MAX_PREVIOUS: Final = 16
MAX_FILE: Final = 64 * 1024
MAKE_ONE: Final = "make one with: openssl rand -base64 32"
SAME: Final = f"set the one that the sidecar runs with; for a new one {MAKE_ONE}"

POLICY: Final = "config/policy.yaml"
DATABASE: Final = "sqlite:///sidecar.db"
REDIS_SCHEMES: Final = ("redis", "rediss", "redis+sentinel", "redis+cluster")
# `sidecar.policy.document.environment` says what they replace.
OVERRIDES: Final = ("ALLOWED_ORIGINS", "MAX_REQUESTS_PER_MINUTE", "MAX_REQUESTS_PER_HOUR", "SESSION_MAX_AGE_HOURS")


@dataclass(frozen=True, slots=True)
class MasterSecret:
    """What the vault's keys are derived from.

    `name` is the variable that it comes from: the vault uses another label for each, so that an admin
    token's secret and a vault's key are never the same key. `previous` still open, and no longer seal.
    """

    name: str
    secret: Secret
    previous: tuple[Secret, ...] = ()

    @property
    def fallback(self) -> bool:
        """Return whether JWT_SECRET stands in for a missing ENCRYPTION_KEY: worth a warning at start."""
        return self.name == "JWT_SECRET"


@dataclass(frozen=True, slots=True)
class Settings:
    """The environment as values. URLs may hold passwords, so they are secrets too.

    overrides  values that replace those of the policy, as they were written
    """

    policy: Path = Path(POLICY)
    encryption_key: Secret | None = None
    encryption_key_previous: tuple[Secret, ...] = ()
    jwt_secret: Secret | None = None
    redis_url: Secret | None = None
    webhook_url: Secret | None = None
    webhook_secret: Secret | None = None
    database_url: Secret = field(default_factory=lambda: Secret(DATABASE))
    overrides: Mapping[str, str] = field(default_factory=dict)

    def master_secret(self, needed_by: str = "the vault", instead: str = MAKE_ONE) -> MasterSecret:
        """Return the master secret of the vault, or raise ConfigError that names what needs one, and what to do."""
        if self.encryption_key is not None:
            return MasterSecret("ENCRYPTION_KEY", self.encryption_key, self.encryption_key_previous)
        if self.jwt_secret is not None:
            return MasterSecret("JWT_SECRET", self.jwt_secret, self.encryption_key_previous)
        raise ConfigError(f"ENCRYPTION_KEY is not set, and {needed_by} needs it; {instead}")

    def token_secret(self, needed_by: str = "the admin API", instead: str = MAKE_ONE) -> Secret:
        """Return the HS256 secret of admin tokens, or raise ConfigError that names what needs one, and what to do."""
        if self.jwt_secret is None:
            raise ConfigError(f"JWT_SECRET is not set, and {needed_by} needs it; {instead}")
        return self.jwt_secret

    def say_what_is_off(self, *, admin_keys: bool) -> str:
        """Return one line for the start, or an empty text. `admin_keys`: admin tokens have a key set in the policy."""
        missing = [] if self.encryption_key or self.jwt_secret else ["ENCRYPTION_KEY"]
        off = ["the vault"] if missing else []
        if self.jwt_secret is None and not admin_keys:
            missing.append("JWT_SECRET")
            off.append("the admin API")
        if not off:
            return ""
        verb = "is" if len(off) == 1 else "are"
        return f"{' and '.join(off)} {verb} off: {' and '.join(missing)} {verb} not set; {MAKE_ONE}"


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Read the environment, or raise ConfigError with one line. An empty variable counts as unset."""
    previous = _value(environ, "ENCRYPTION_KEY_PREVIOUS")
    redis = _value(environ, "REDIS_URL")
    webhook = _value(environ, "WEBHOOK_URL")
    if redis is not None and redis.partition("://")[0] not in REDIS_SCHEMES:
        # The value itself is not repeated: it may hold a password.
        raise ConfigError(f"REDIS_URL must begin with one of {', '.join(f'{scheme}://' for scheme in REDIS_SCHEMES)}")
    return Settings(
        policy=Path(environ.get("SIDECAR_POLICY") or POLICY),
        encryption_key=_secret(environ, "ENCRYPTION_KEY"),
        encryption_key_previous=_previous(previous) if previous is not None else (),
        jwt_secret=_secret(environ, "JWT_SECRET"),
        redis_url=Secret(redis) if redis is not None else None,
        webhook_url=Secret(webhook) if webhook is not None else None,
        webhook_secret=_secret(environ, "WEBHOOK_SECRET"),
        database_url=Secret(_value(environ, "DATABASE_URL") or DATABASE),
        overrides={name: environ[name] for name in OVERRIDES if environ.get(name)},
    )


def _secret(environ: Mapping[str, str], name: str) -> Secret | None:
    value = _value(environ, name)
    return None if value is None else _strong(name, value)


def _previous(text: str) -> tuple[Secret, ...]:
    parts = [part for piece in text.split(",") if (part := piece.strip())]
    if len(parts) > MAX_PREVIOUS:
        raise ConfigError(
            f"ENCRYPTION_KEY_PREVIOUS holds {len(parts)} keys; rewrap the vault and keep {MAX_PREVIOUS} at most"
        )
    return tuple(_strong("ENCRYPTION_KEY_PREVIOUS", part) for part in parts)


def _strong(name: str, value: str) -> Secret:
    length = len(value.strip().encode("utf-8", "surrogateescape"))  # of blanks alone, nothing is secret
    if length < MIN_SECRET:
        raise ConfigError(f"{name} is too weak: {length} bytes, and {MIN_SECRET} are needed; {MAKE_ONE}")
    return Secret(value)


def _value(environ: Mapping[str, str], name: str) -> str | None:
    """Return the value of NAME, or the content of the file that NAME_FILE names."""
    value, path = environ.get(name), environ.get(f"{name}_FILE")
    if value and path:
        raise ConfigError(f"{name} and {name}_FILE are both set; keep one of them")
    return _from_file(f"{name}_FILE", Path(path)) if path else value or None


def _from_file(name: str, path: Path) -> str:
    """Return a mounted secret without the line break that editors and `kubectl` leave at its end."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a path"
        raise ConfigError(f"{name}: cannot read {path}: {reason.lower()}") from None
    if len(content) > MAX_FILE:
        raise ConfigError(f"{name}: {path} is larger than {MAX_FILE // 1024} KiB; it should hold one secret")
    try:
        text = content.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise ConfigError(f"{name}: {path} is not UTF-8 text; {MAKE_ONE}") from None
    if not text:
        raise ConfigError(f"{name}: {path} is empty; {MAKE_ONE}")
    return text
