"""The environment, read once: secrets by value or by file, strong or refused with one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.errors import ConfigError
from sidecar.policy.document.environment import NAMES
from sidecar.settings import OVERRIDES, read_settings

KEY = "k" * 32
OTHER = "o" * 40


def test_silence() -> None:
    settings = read_settings({})
    assert settings.policy == Path("config/policy.yaml")
    assert settings.database_url.reveal() == "sqlite:///sidecar.db"
    assert (settings.encryption_key, settings.jwt_secret, settings.redis_url) == (None, None, None)
    assert (settings.encryption_key_previous, dict(settings.overrides)) == ((), {})


def test_everything() -> None:
    settings = read_settings({
        "SIDECAR_POLICY": "/etc/sidecar/policy.yaml",
        "ENCRYPTION_KEY": KEY,
        "ENCRYPTION_KEY_PREVIOUS": f"{OTHER}, {KEY}x,",
        "JWT_SECRET": OTHER,
        "REDIS_URL": "rediss://:pw@redis:6379/0",
        "DATABASE_URL": "postgresql://u:pw@db/x",
        "ALLOWED_ORIGINS": "https://a.example",
        "MAX_REQUESTS_PER_HOUR": "",
        "OPENAI_API_KEY": "sk-not-read-here",
    })  # fmt: skip
    assert settings.policy == Path("/etc/sidecar/policy.yaml")
    assert settings.encryption_key is not None
    assert settings.encryption_key.reveal() == KEY
    assert [secret.reveal() for secret in settings.encryption_key_previous] == [OTHER, f"{KEY}x"]
    assert settings.redis_url is not None
    assert settings.redis_url.reveal() == "rediss://:pw@redis:6379/0"
    assert settings.overrides == {"ALLOWED_ORIGINS": "https://a.example"}
    for plain in (KEY, OTHER, "pw", "sk-not-read-here"):
        assert plain not in repr(settings)


@pytest.mark.parametrize("ending", ["", "\n", "\r\n", "\n\n"])
def test_from_a_file(tmp_path: Path, ending: str) -> None:
    path = tmp_path / "key"
    path.write_bytes(f"{KEY}{ending}".encode())
    settings = read_settings({"ENCRYPTION_KEY_FILE": str(path), "ENCRYPTION_KEY": ""})
    assert settings.encryption_key is not None
    assert settings.encryption_key.reveal() == KEY


@pytest.mark.parametrize(
    "name", ["ENCRYPTION_KEY", "ENCRYPTION_KEY_PREVIOUS", "JWT_SECRET", "REDIS_URL", "DATABASE_URL"]
)
def test_every_secret_has_a_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / "secret"
    path.write_text("redis://" + KEY)
    assert read_settings({f"{name}_FILE": str(path)}) != read_settings({})
    with pytest.raises(ConfigError, match=f"^{name} and {name}_FILE are both set; keep one of them$"):
        read_settings({name: KEY, f"{name}_FILE": str(path)})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "ENCRYPTION_KEY_FILE: cannot read {path}: no such file or directory"),
        (b"", "ENCRYPTION_KEY_FILE: {path} is empty; make one with: openssl rand -base64 32"),
        (b"\n", "ENCRYPTION_KEY_FILE: {path} is empty; make one with: openssl rand -base64 32"),
        (b"\xff" * 40, "ENCRYPTION_KEY_FILE: {path} is not UTF-8 text; make one with: openssl rand -base64 32"),
        (b"x" * 70_000, "ENCRYPTION_KEY_FILE: {path} is larger than 64 KiB; it should hold one secret"),
        (b"short\n", "ENCRYPTION_KEY is too weak: 5 bytes, and 32 are needed; make one with: openssl rand -base64 32"),
    ],
    ids=["missing", "empty", "a line break", "binary", "large", "weak"],
)
def test_files_that_hold_no_secret(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "key"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as error:
        read_settings({"ENCRYPTION_KEY_FILE": str(path)})
    assert str(error.value) == said.format(path=path)


WEAK = "is too weak: 31 bytes, and 32 are needed; make one with: openssl rand -base64 32"


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"ENCRYPTION_KEY": "k" * 31}, f"ENCRYPTION_KEY {WEAK}"),
        ({"ENCRYPTION_KEY": " " * 9 + "k" * 31}, f"ENCRYPTION_KEY {WEAK}"),
        ({"JWT_SECRET": "k" * 31}, f"JWT_SECRET {WEAK}"),
        ({"ENCRYPTION_KEY_PREVIOUS": f"{KEY},{'k' * 31}"}, f"ENCRYPTION_KEY_PREVIOUS {WEAK}"),
        (
            {"ENCRYPTION_KEY_PREVIOUS": ",".join([KEY] * 17)},
            "ENCRYPTION_KEY_PREVIOUS holds 17 keys; rewrap the vault and keep 16 at most",
        ),
        (
            {"REDIS_URL": "http://:hunter2@redis"},
            "REDIS_URL must begin with one of redis://, rediss://, redis+sentinel://, redis+cluster://",
        ),
        ({"JWT_SECRET_FILE": "a\0b"}, "JWT_SECRET_FILE: cannot read a\0b: not a path"),
    ],
    ids=["encryption key", "blanks", "jwt secret", "previous", "too many previous", "redis scheme", "no path"],
)
def test_refused_with_one_line_that_holds_no_secret(environ: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        read_settings(environ)
    assert str(error.value) == said
    assert "\n" not in said


def test_bytes_count_not_characters() -> None:
    assert read_settings({"JWT_SECRET": "é" * 16}).jwt_secret is not None


OFF = [
    pytest.param(
        {}, False, "the vault and the admin API are off: ENCRYPTION_KEY and JWT_SECRET are not set", id="neither"
    ),
    pytest.param({}, True, "the vault is off: ENCRYPTION_KEY is not set", id="neither, but a key set of the policy"),
    pytest.param({"ENCRYPTION_KEY": KEY}, False, "the admin API is off: JWT_SECRET is not set", id="no token secret"),
    pytest.param({"ENCRYPTION_KEY": KEY}, True, "", id="a key set of the policy"),
    pytest.param({"JWT_SECRET": OTHER}, False, "", id="the vault falls back"),
]


@pytest.mark.parametrize(("environ", "admin_keys", "says"), OFF)
def test_what_is_off_without_secrets(environ: dict[str, str], admin_keys: bool, says: str) -> None:
    line = read_settings(environ).say_what_is_off(admin_keys=admin_keys)
    assert line == (f"{says}; make one with: openssl rand -base64 32" if says else "")


def test_which_master_secret() -> None:
    both = read_settings({"ENCRYPTION_KEY": KEY, "JWT_SECRET": OTHER, "ENCRYPTION_KEY_PREVIOUS": OTHER}).master_secret()
    assert (both.name, both.secret.reveal(), len(both.previous), both.fallback) == ("ENCRYPTION_KEY", KEY, 1, False)
    alone = read_settings({"JWT_SECRET": OTHER}).master_secret()
    assert (alone.name, alone.secret.reveal(), alone.fallback) == ("JWT_SECRET", OTHER, True)
    with pytest.raises(ConfigError) as error:
        read_settings({}).master_secret("the route chat")
    assert str(error.value) == (
        "ENCRYPTION_KEY is not set, and the route chat needs it; make one with: openssl rand -base64 32"
    )


def test_which_token_secret() -> None:
    assert read_settings({"JWT_SECRET": OTHER}).token_secret().reveal() == OTHER
    with pytest.raises(
        ConfigError, match=r"^JWT_SECRET is not set, and the admin API needs it; make one with: openssl"
    ):
        read_settings({"ENCRYPTION_KEY": KEY}).token_secret()


def test_the_overrides_are_those_that_the_policy_knows() -> None:
    assert OVERRIDES == NAMES
