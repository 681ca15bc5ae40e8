"""`sidecar credentials`, `handle` and `audit`, as a person or a script runs them."""

from __future__ import annotations

import io
import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sidecar.__main__ import main
from tests.support.provider import accepts, provider
from tests.support.vaults import OPENAI_KEY, OTHER_KEY, STRIPE_KEY

MASTER = "a master secret for the command line; 48 bytes.."


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "STRIPE_SECRET_KEY", "JWT_SECRET", "ENCRYPTION_KEY_PREVIOUS", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ENCRYPTION_KEY", MASTER)
    monkeypatch.setenv("SIDECAR_POLICY", str(tmp_path / "none.yaml"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def sidecar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, Any, str]]:
    """Run a command with a text on stdin; return exit code, parsed JSON or text, stderr."""

    def call(*argv: str, stdin: str = "") -> tuple[int, Any, str]:
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        code = main(list(argv))
        out, err = capsys.readouterr()
        return code, json.loads(out) if "--json" in argv and out else out, err

    return call


def added(sidecar: Callable[..., tuple[int, Any, str]], *more: str) -> dict[str, Any]:
    code, row, _ = sidecar("credentials", "add", "acme", "openai", "--json", *more, stdin=OPENAI_KEY + "\n")
    assert code == 0
    return row


def test_a_key_from_stdin_is_stored_listed_rotated_and_deleted(sidecar) -> None:
    made = added(sidecar, "--expires", "90d", "--host", "gateway.example")
    assert (made["provider"], made["state"], made["last_four"]) == ("openai", "active", OPENAI_KEY[-4:])
    assert made["hosts"] == ["gateway.example"]
    assert made["expires_at"].endswith("Z")
    assert sidecar("credentials", "list", "acme", "--json")[1] == [made]
    assert sidecar("credentials", "list", "globex", "--json")[1] == []
    code, rotated, _ = sidecar("credentials", "rotate", "acme", made["id"], "--json", stdin=OTHER_KEY)
    assert (code, rotated["last_four"], rotated["version"]) == (0, OTHER_KEY[-4:], 2)
    code, text, _ = sidecar("credentials", "delete", "acme", made["id"])
    assert code == 0
    assert made["id"] in text
    assert sidecar("credentials", "list", "--json")[1] == []
    assert Path("sidecar.db").exists()


def test_name_hosts_and_expiry_are_changed_and_the_key_stays(sidecar) -> None:
    made = added(sidecar)
    update = ("credentials", "update", "acme", made["id"], "--json")
    code, row, _ = sidecar(
        *update, "--name", "second", "--host", "a.example", "--host", "b.example", "--expires", "90d"
    )
    assert (code, row["name"], row["hosts"], row["version"]) == (0, "second", ["a.example", "b.example"], 2)
    assert (row["expires_at"] is not None, row["fingerprint"]) == (True, made["fingerprint"])
    code, row, _ = sidecar(*update, "--expires", "never")
    assert (code, row["expires_at"], row["hosts"]) == (0, None, ["a.example", "b.example"])
    assert sidecar(*update)[0] == 2
    assert sidecar(*update, "--expires", "soon")[0] == 2


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


DELETIONS = {
    "yes": ("y\n", (), 0),
    "no": ("n\n", (), 1),
    "nothing typed": ("\n", (), 1),
    "the end of input": ("", (), 1),
    "not asked": ("", ("--now",), 0),
}


@pytest.mark.parametrize(("typed", "options", "code"), DELETIONS.values(), ids=DELETIONS)
def test_a_person_is_asked_before_a_key_is_deleted(
    sidecar, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], typed, options, code
) -> None:
    made = added(sidecar)
    monkeypatch.setattr("sys.stdin", Terminal(typed))
    assert main(["credentials", "delete", "acme", made["id"], *options]) == code
    said = capsys.readouterr().err
    assert ("answers that run with it end" in said) is ("--now" not in options)
    assert len(sidecar("credentials", "list", "--json")[1]) == code


def test_what_fails_says_so_in_one_line(sidecar) -> None:
    made = added(sidecar)
    refused = {
        "a wrong shape": (("add", "globex", "openai"), "hunter2", 1, "does not look like"),
        "nothing on stdin": (("add", "globex", "openai"), "", 2, "no secret came"),
        "an unknown provider": (("add", "globex", "nobody"), OPENAI_KEY, 1, "no provider"),
        "a taken name": (("add", "acme", "openai"), OPENAI_KEY, 1, "exists already"),
        "a strange time": (("add", "acme", "openai", "--expires", "soon"), OPENAI_KEY, 2, "not a time"),
        "another organization": (("delete", "globex", made["id"]), "", 1, "no such credential"),
    }
    for name, (argv, stdin, code, says) in refused.items():
        got, out, err = sidecar("credentials", *argv, stdin=stdin)
        assert (got, out) == (code, ""), name
        assert err.startswith("sidecar: "), name
        assert says in err, name
        assert err.count("\n") == 1, name


def test_columns_are_for_scripts_and_hold_no_key(sidecar) -> None:
    made = added(sidecar)
    _, text, _ = sidecar("credentials", "list")
    assert text.split("\t")[:6] == [made["id"], "acme", "openai", "default", "active", OPENAI_KEY[-4:]]
    assert OPENAI_KEY not in text


def test_the_environment_is_imported_once(sidecar, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", OPENAI_KEY)
    monkeypatch.setenv("STRIPE_SECRET_KEY", STRIPE_KEY)
    code, done, _ = sidecar("credentials", "import-env", "acme", "--json")
    assert (code, [one["variable"] for one in done]) == (0, ["OPENAI_API_KEY", "STRIPE_SECRET_KEY"])
    code, done, _ = sidecar("credentials", "import-env", "acme", "--json")
    assert (code, [one["credential"] for one in done]) == (0, ["", ""])
    monkeypatch.setenv("OPENAI_API_KEY", "nonsense")
    assert sidecar("credentials", "import-env", "globex", "--json")[0] == 1


def test_rewrap_moves_to_a_new_master(sidecar, monkeypatch: pytest.MonkeyPatch) -> None:
    added(sidecar)
    monkeypatch.setenv("ENCRYPTION_KEY", "n" * 40)
    code, done, _ = sidecar("credentials", "rewrap", "--json")
    assert (code, done) == (1, {"sealed": 0, "current": 0, "undecryptable": 1})
    assert sidecar("credentials", "list", "--json")[1][0]["state"] == "undecryptable"
    monkeypatch.setenv("ENCRYPTION_KEY_PREVIOUS", MASTER)
    assert sidecar("credentials", "rewrap", "--json")[1] == {"sealed": 1, "current": 0, "undecryptable": 0}
    monkeypatch.delenv("ENCRYPTION_KEY_PREVIOUS")
    assert sidecar("credentials", "list", "--json")[1][0]["state"] == "active"


def test_the_fallback_to_the_token_secret_is_said(sidecar, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ENCRYPTION_KEY")
    code, _, err = sidecar("credentials", "list")
    assert code == 2
    assert "ENCRYPTION_KEY is not set" in err
    monkeypatch.setenv("JWT_SECRET", "j" * 40)
    code, _, err = sidecar("credentials", "list", "--json")
    assert code == 0
    assert "falls back to JWT_SECRET" in err


def test_a_key_is_tested_at_its_provider(sidecar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with provider(tmp_path, accepts("authorization", f"Bearer {STRIPE_KEY}")) as running:
        monkeypatch.setenv("SSL_CERT_FILE", str(running.ca))
        place = ("--host", f"localhost:{running.port}")
        code, verdict, _ = sidecar(
            "credentials", "test", "acme", "stripe", *place, "--url", running.url, "--json", stdin=STRIPE_KEY
        )
        assert (code, verdict["valid"]) == (0, True)
        code, made, _ = sidecar("credentials", "add", "acme", "stripe", *place, "--json", stdin=STRIPE_KEY)
        assert sidecar("credentials", "test", "acme", made["id"])[0] == 0
        bad = "sk_test_somethingelse0123456789"
        code, _, err = sidecar("credentials", "rotate", "acme", made["id"], "--test", stdin=bad)
        assert (code, "the old key stays" in err) == (1, True)
        assert sidecar("credentials", "list", "--json")[1][0]["version"] == 1


def test_providers_of_the_policy_are_known(sidecar, tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        "version: 1\nbackend: {url: http://127.0.0.1:3001}\n"
        "providers: {mine: {header: X-Mine, scheme: none, hosts: [api.mine.example]}}\n"
    )
    code, row, _ = sidecar(
        "credentials", "add", "acme", "mine", "--policy", str(policy), "--json", stdin="0123456789abcdef"
    )
    assert (code, row["hosts"]) == (0, ["api.mine.example"])


def test_handles_are_shown_once_and_revoked(sidecar) -> None:
    code, made, _ = sidecar("handle", "create", "acme", "openai", "--name", "ci", "--json")
    assert code == 0
    assert made["handle"].startswith("phk_")
    code, text, err = sidecar("handle", "create", "acme", "openai")
    assert text.strip().startswith("phk_")
    assert "once" in err
    code, listed, _ = sidecar("handle", "list", "acme", "--json")
    assert made["handle"] not in json.dumps(listed)
    assert len(listed) == 2
    assert sidecar("handle", "revoke", "acme", made["id"])[0] == 0
    assert sidecar("handle", "revoke", "acme", "--session", "abc")[0] == 0
    assert sidecar("handle", "revoke", "acme")[0] == 2
    assert sidecar("handle", "revoke", "globex", made["id"])[0] == 1


def test_the_log_is_verified_and_exported(sidecar) -> None:
    added(sidecar)
    sidecar("credentials", "delete", "acme", "crd_none")
    code, verdict, _ = sidecar("audit", "verify", "--json")
    assert (code, verdict["whole"], verdict["entries"]) == (0, True, 2)
    code, text, _ = sidecar("audit", "export")
    lines = [json.loads(line) for line in text.splitlines()]
    assert [(line["action"], line["outcome"]) for line in lines] == [
        ("credential.create", "done"),
        ("credential.delete", "refused"),
    ]
    assert lines[0]["actor"].startswith("cli:")
    assert len(sidecar("audit", "export", "acme", "--after", "1")[1].splitlines()) == 1
    assert sidecar("audit", "verify", "--anchor", verdict["anchor"])[0] == 0
    assert sidecar("audit", "verify", "--anchor", "2:" + "0" * 64)[0] == 1
    assert sidecar("audit", "verify", "--anchor", "nonsense")[0] == 2
    assert sidecar("audit", "verify", "--anchors", "/nowhere")[0] == 2
    assert sidecar("audit", "verify", "--retired-key", "nonsense")[0] == 2
    assert [each["statement"] for each in verdict["statements"] if not each["proven"]] == ["present"]
    Path("events.log").write_text(
        f"""a line\n{{"event": "ADMIN_ACTION", "detail": {{"anchor": "{verdict["anchor"]}"}}}}\n"""
    )
    code, anchored, _ = sidecar("audit", "verify", "--json", "--anchors", "events.log")
    assert (code, [each["proven"] for each in anchored["statements"]]) == (0, [True] * 5)
    Path("empty.log").write_text("nothing\n")
    assert sidecar("audit", "verify", "--anchors", "empty.log")[0] == 2
    connection = sqlite3.connect("sidecar.db")
    with connection:
        connection.execute("UPDATE audit SET actor = 'mallory' WHERE seq = 1")
    connection.close()
    code, text, _ = sidecar("audit", "verify")
    assert (code, text) == (1, "entry 1: changed\n")


def test_as_a_program_of_its_own_it_shows_no_key_in_its_arguments() -> None:
    argv = [sys.executable, "-m", "sidecar", "credentials", "add", "acme", "openai"]
    done = subprocess.run(argv, input=OPENAI_KEY, capture_output=True, text=True, check=True, timeout=60, env=_env())
    assert OPENAI_KEY not in done.stdout + done.stderr
    assert OPENAI_KEY.encode() not in Path("sidecar.db").read_bytes()


def _env() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


@pytest.mark.parametrize("command", ["verify", "export"])
def test_a_log_that_is_not_there_is_a_fault_and_none_is_made(
    sidecar: Callable[..., tuple[int, Any, str]], tmp_path: Path, command: str
) -> None:
    code, out, err = sidecar("audit", command)
    assert (code, out) == (1, "")
    assert "there is no database where DATABASE_URL says" in err
    assert list(tmp_path.glob("*.db")) == []
