"""What stops a start is said in one clear line each on stderr, with the exit code of the contract, and no traceback."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar.__main__ import main
from tests.support.processes import Process, free_port
from tests.support.provider import certificates
from tests.support.sidecar import COMMAND, MASTER, environment, policy_text

KEYED = [{"name": "chat", "match": {"path": "/v1/*"}, "credential": {"provider": "openai", "as": "header"}}]
BACKEND = "http://127.0.0.1:3001"


Say = Callable[..., tuple[int, list[str]]]


@pytest.fixture
def start(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Say:
    """Try to start, in this process because Python takes its time; return the exit code and what was said."""

    def started(policy: Path, folder: Path, **env: str) -> tuple[int, list[str]]:
        for name, value in environment(folder, **env).items():
            monkeypatch.setenv(name, value)
        code = main(["run", "--policy", str(policy)])
        out, err = capfd.readouterr()
        assert out == ""
        assert "Traceback" not in err
        return code, err.splitlines()

    return started


def written(folder: Path, **sections: object) -> Path:
    policy = folder / "policy.yaml"
    policy.write_text(policy_text(BACKEND, folder, **sections))
    return policy


def bad_policy(folder: Path) -> tuple[Path, dict[str, str]]:
    policy = written(folder, mode="sometimes")
    policy.write_text(policy.read_text() + "spelling: 1\n")
    return policy, {}


def no_yaml(folder: Path) -> tuple[Path, dict[str, str]]:
    (folder / "policy.yaml").write_text("version: [1\nbackend: }")
    return folder / "policy.yaml", {}


def missing_policy(folder: Path) -> tuple[Path, dict[str, str]]:
    return folder / "nowhere.yaml", {}


def policy_is_a_folder(folder: Path) -> tuple[Path, dict[str, str]]:
    return folder, {}


def missing_key(folder: Path) -> tuple[Path, dict[str, str]]:
    return written(folder, routes=KEYED), {}


def missing_token_secret(folder: Path) -> tuple[Path, dict[str, str]]:
    return written(folder, organizations={"from": ["token"]}), {"JWT_SECRET": "", "ENCRYPTION_KEY": MASTER}


def weak_key(folder: Path) -> tuple[Path, dict[str, str]]:
    return written(folder, routes=KEYED), {"ENCRYPTION_KEY": "hunter2"}


def missing_key_file(folder: Path) -> tuple[Path, dict[str, str]]:
    return written(folder, routes=KEYED), {"ENCRYPTION_KEY_FILE": str(folder / "no-such-secret")}


def weak_token_secret(folder: Path) -> tuple[Path, dict[str, str]]:
    return written(folder), {"JWT_SECRET": "hunter2"}


def no_database(folder: Path) -> tuple[Path, dict[str, str]]:
    return written(folder, routes=KEYED), {
        "ENCRYPTION_KEY": MASTER,
        "DATABASE_URL": f"sqlite:///{folder}/no/such/folder.db",
    }


def odd_redis_url(folder: Path) -> tuple[Path, dict[str, str]]:
    return written(folder), {"REDIS_URL": "http://:hunter2@127.0.0.1:6379"}


def tls(folder: Path, certificate: Path, key: Path) -> Path:
    return written(folder, listen={"public": {"tls": {"certificate": str(certificate), "key": str(key)}}})


def missing_certificate(folder: Path) -> tuple[Path, dict[str, str]]:
    return tls(folder, folder / "tls.crt", folder / "tls.key"), {}


def no_certificate(folder: Path) -> tuple[Path, dict[str, str]]:
    for name in ("tls.crt", "tls.key"):
        (folder / name).write_text("this is no PEM")
    return tls(folder, folder / "tls.crt", folder / "tls.key"), {}


def another_key(folder: Path) -> tuple[Path, dict[str, str]]:
    (folder / "a").mkdir()
    (folder / "b").mkdir()
    return tls(folder, certificates(folder / "a")[1], certificates(folder / "b")[2]), {}


FAILURES = [
    pytest.param(bad_policy, 2, 2, ["mode: ", "spelling: ", "policy.yaml:"], id="policy-with-two-problems"),
    pytest.param(no_yaml, 2, 1, ["policy.yaml:"], id="policy-that-is-no-yaml"),
    pytest.param(missing_policy, 2, 1, ["nowhere.yaml"], id="missing-policy"),
    pytest.param(policy_is_a_folder, 2, 1, ["directory"], id="policy-is-a-folder"),
    pytest.param(missing_key, 2, 1, ["ENCRYPTION_KEY", "openssl rand"], id="missing-encryption-key"),
    pytest.param(missing_token_secret, 2, 1, ["JWT_SECRET", "openssl rand"], id="missing-token-secret"),
    pytest.param(weak_key, 2, 1, ["ENCRYPTION_KEY", "32", "openssl rand"], id="weak-encryption-key"),
    pytest.param(missing_key_file, 2, 1, ["ENCRYPTION_KEY_FILE", "no-such-secret"], id="missing-key-file"),
    pytest.param(weak_token_secret, 2, 1, ["JWT_SECRET", "32"], id="weak-jwt-secret"),
    pytest.param(no_database, 2, 1, ["database"], id="database-that-cannot-be-opened"),
    pytest.param(odd_redis_url, 2, 1, ["REDIS_URL", "redis://"], id="odd-redis-url"),
    pytest.param(missing_certificate, 2, 1, ["tls.crt"], id="missing-certificate"),
    pytest.param(no_certificate, 2, 1, ["tls.crt"], id="certificate-that-is-none"),
    pytest.param(another_key, 2, 1, ["provider.key"], id="key-of-another-certificate"),
]


@pytest.mark.parametrize(("make", "code", "lines", "words"), FAILURES)
def test_one_clear_line_each(start: Say, tmp_path: Path, make, code: int, lines: int, words: list[str]):
    policy, env = make(tmp_path)
    exit_code, said = start(policy, tmp_path, **env)
    assert exit_code == code, said
    assert len(said) == lines, said
    for word in words:
        assert any(word in line for line in said), said
    assert "hunter2" not in "".join(said)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_files_that_may_not_be_read(start: Say, tmp_path: Path):
    policy = written(tmp_path)
    policy.chmod(0)
    exit_code, said = start(policy, tmp_path)
    assert (exit_code, len(said)) == (2, 1)
    assert "ermission denied" in said[0]


@pytest.mark.parametrize("listener", ["public", "management"])
def test_a_taken_port(start: Say, tmp_path: Path, listener: str):
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        exit_code, said = start(written(tmp_path, **{listener: port}), tmp_path)
    assert exit_code == 1
    assert len(said) == 1
    assert f"127.0.0.1:{port}" in said[0]
    assert "in use" in said[0]


def test_an_address_that_is_not_ours(start: Say, tmp_path: Path):
    exit_code, said = start(written(tmp_path, listen={"public": {"address": f"192.0.2.1:{free_port()}"}}), tmp_path)
    assert exit_code == 1
    assert len(said) == 1
    assert "192.0.2.1" in said[0]


@pytest.mark.parametrize(
    ("make", "code", "words"),
    [
        pytest.param(bad_policy, 2, ["mode: ", "spelling: "], id="policy"),
        pytest.param(weak_key, 2, ["ENCRYPTION_KEY", "32"], id="key"),
        pytest.param(another_key, 2, ["provider.key"], id="certificate"),
    ],
)
def test_the_same_as_a_process(tmp_path: Path, make, code: int, words: list[str]):
    policy, env = make(tmp_path)
    environ = {**os.environ, **environment(tmp_path, **env)}
    done = subprocess.run(
        [*COMMAND, str(policy)], env=environ, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == code
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert all(word in done.stderr for word in words)


def test_what_is_off_is_said_in_one_line(tmp_path: Path) -> None:
    process = Process([*COMMAND, str(written(tmp_path))], env=environment(tmp_path))
    try:
        said = [line for line in process.until_output("listening").output().splitlines() if " off: " in line]
    finally:
        process.stop()
    off = "the vault and the admin API are off: ENCRYPTION_KEY and JWT_SECRET are not set"
    assert said == [f"sidecar: {off}; make one with: openssl rand -base64 32"]
