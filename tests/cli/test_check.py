"""`sidecar check` and `sidecar schema`, as a process sees them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
GOOD = "version: 1\nbackend: { url: http://127.0.0.1:3001 }\nsessions: { max_age: 12h }\n"
BAD = "version: 1\nbackend: { url: http://127.0.0.1:3001 }\nmode: x\nrequests: { max_body: 1MB }\n"


def sidecar(*arguments: str, stdin: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
    path = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "VIRTUAL_ENV")}
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "sidecar", *arguments],
        input=stdin, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT, env=path | environ,
    )  # fmt: skip


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(GOOD)
    return path


def test_a_good_policy(policy: Path) -> None:
    done = sidecar("check", str(policy), MAX_REQUESTS_PER_MINUTE="7")
    assert (done.returncode, done.stderr) == (0, "")
    first, *rows = done.stdout.splitlines()
    assert first.startswith(f"{policy}: fine, digest ")
    assert [row.split() for row in rows] == [
        ["cors.allowed_origins", "[]", "default"],
        ["rate_limits[0].limit", "7", "environment:MAX_REQUESTS_PER_MINUTE"],
        ["rate_limits[1].limit", "1000", "default"],
        ["sessions.max_age", "12h", f"{policy}:3"],
    ]


def test_every_value(policy: Path) -> None:
    done = sidecar("check", "--all", str(policy))
    assert done.returncode == 0
    rows = [row.split() for row in done.stdout.splitlines()[1:]]
    assert ["backend.url", "http://127.0.0.1:3001", f"{policy}:2"] in rows
    assert ["requests.max_body", "1MiB", "default"] in rows


def test_a_bad_policy(policy: Path) -> None:
    policy.write_text(BAD)
    done = sidecar("check", str(policy), SESSION_MAX_AGE_HOURS="x")
    assert done.returncode == 2
    assert done.stdout.splitlines() == [
        "environment:SESSION_MAX_AGE_HOURS: is not a number of hours; write one like 24",
        f"{policy}:3:7: mode: is not known here; write enforce or observe",
        (
            f"{policy}:4:23: requests.max_body: is not a size; "
            "write a whole number and one of B, KiB, MiB, GiB, like 1MiB"
        ),
    ]
    assert done.stderr == "3 problems; this policy would not be used\n"


def test_what_the_builders_find_is_told_with_the_rest(policy: Path) -> None:
    text = BAD.replace("version: 1\n", 'version: 1\ncors: { allowed_origins: ["https://*.com"] }\n')
    policy.write_text(text)
    done = sidecar("check", str(policy))
    assert done.returncode == 2
    assert [line.removeprefix(f"{policy}:").split(" ")[0] for line in done.stdout.splitlines()] == [
        "2:27:",
        "4:7:",
        "5:23:",
    ]
    done = sidecar("check", str(policy), ALLOWED_ORIGINS="https://*.com")
    assert done.stdout.splitlines()[0].startswith("environment:ALLOWED_ORIGINS: ")


def test_json_of_a_good_policy(policy: Path) -> None:
    policy.write_text(GOOD + "mode: observe\n")
    done = sidecar("check", "--json", str(policy), ALLOWED_ORIGINS="https://a.example")
    told = json.loads(done.stdout)
    assert (done.returncode, done.stderr, told["ok"], told["problems"]) == (0, "", True, [])
    assert told["values"][0] == {
        "path": "cors.allowed_origins", "value": "[https://a.example]", "origin": "environment:ALLOWED_ORIGINS",
    }  # fmt: skip
    assert [note["path"] for note in told["notes"]] == ["mode"]


def test_json_of_a_bad_policy(policy: Path) -> None:
    policy.write_text(BAD)
    done = sidecar("check", "--json", str(policy))
    told = json.loads(done.stdout)
    assert (done.returncode, told["ok"]) == (2, False)
    assert told["problems"][0] == {
        "path": "mode",
        "line": 3,
        "column": 7,
        "what": "is not known here",
        "instead": "write enforce or observe",
        "text": f"{policy}:3:7: mode: is not known here; write enforce or observe",
    }


def test_notes_are_talk(policy: Path) -> None:
    policy.write_text(GOOD + "mode: observe\n")
    done = sidecar("check", str(policy))
    assert done.returncode == 0
    assert done.stderr == f"{policy}:4:7: note: mode: refuses nothing; write enforce when you have seen enough\n"


def test_from_stdin() -> None:
    assert sidecar("check", "-", stdin=GOOD).stdout.startswith("stdin: fine")
    done = sidecar("check", "-", stdin="a: [")
    assert (done.returncode, done.stdout.split(":")[0]) == (2, "stdin")


def test_without_a_file_the_one_that_would_run_is_checked(policy: Path) -> None:
    assert sidecar("check", SIDECAR_POLICY=str(policy)).stdout.startswith(f"{policy}: fine")
    assert sidecar("check").stdout.startswith("config/policy.yaml: fine")


@pytest.mark.parametrize(
    ("name", "reason"),
    [("missing.yaml", "no such file or directory"), (".", "is a directory")],
    ids=["missing", "directory"],
)
def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path, name: str, reason: str) -> None:
    path = tmp_path / name
    done = sidecar("check", str(path))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"sidecar: cannot read the policy {path}: {reason}; name its file, or set SIDECAR_POLICY\n"


def test_schema() -> None:
    done = sidecar("schema")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == json.loads((ROOT / "config/policy.schema.json").read_text())


def test_help() -> None:
    for command in ("check", "schema"):
        done = sidecar(command, "--help")
        assert done.returncode == 0
        assert done.stdout.startswith(f"usage: sidecar {command}")
