"""`sidecar token` and `sidecar erase`, as a person runs them."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from sidecar.__main__ import main
from sidecar.admin.jwt import Verifier
from sidecar.clock import SystemClock
from sidecar.limit import Ask
from sidecar.secret import Secret
from sidecar.session import Session, key_of, seal_of
from tests.support.management import LIMITS, SECRET, management


@pytest.fixture(autouse=True)
def secret(monkeypatch):
    monkeypatch.delenv("JWT_SECRET_FILE", raising=False)
    monkeypatch.setenv("JWT_SECRET", SECRET.reveal())


def claims(token):
    return Verifier(SystemClock(), secret=SECRET).verify(token)


MADE = {
    "a viewer for an hour": (["--role", "viewer"], "viewer", "*", 3600),
    "an operator of one organization": (["--role", "operator", "--org", "acme"], "operator", "acme", 3600),
    "an admin for a week": (["--role", "admin", "--ttl", "7d"], "admin", "*", 7 * 86400),
    "for half a minute": (["--role", "admin", "--ttl", "30s"], "admin", "*", 30),
}


@pytest.mark.parametrize(("arguments", "role", "organization", "ttl"), MADE.values(), ids=MADE)
def test_the_token_is_all_that_stands_on_stdout(capsys, arguments, role, organization, ttl):
    assert main(["token", *arguments]) == 0
    out, err = capsys.readouterr()
    made = claims(out.removesuffix("\n"))
    assert (made["role"], made["org"], made["aud"]) == (role, organization, "sidecar")
    assert abs(made["exp"] - time.time() - ttl) < 5
    assert f"role {role}" in err


def test_as_json(capsys):
    assert main(["token", "--role", "viewer", "--subject", "grafana", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert claims(made["token"])["sub"] == made["subject"] == "grafana"
    assert set(made) == {"token", "role", "organization", "subject", "expires_at"}


def test_a_link_to_the_console_has_the_token_in_its_fragment(capsys):
    assert main(["token", "--role", "viewer", "--ttl", "15m", "--console", "http://127.0.0.1:9090/"]) == 0
    out, _ = capsys.readouterr()
    address, _, fragment = out.removesuffix("\n").partition("#")
    assert address == "http://127.0.0.1:9090/console/"
    assert claims(fragment.removeprefix("token="))["role"] == "viewer"
    assert main(["token", "--role", "viewer", "--console", "http://127.0.0.1:9090", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["link"] == f"http://127.0.0.1:9090/console/#token={made['token']}"


WRONG = {
    "a console that is no address": ["--role", "viewer", "--console", "console"],
    "a console with a path": ["--role", "viewer", "--console", "http://127.0.0.1:9090/console?x=1"],
    "a time without a unit": ["--role", "viewer", "--ttl", "3600"],
    "no time at all": ["--role", "viewer", "--ttl", "0s"],
    "for ever": ["--role", "viewer", "--ttl", "9999d"],
    "an organization with a blank": ["--role", "viewer", "--org", "a b"],
}


@pytest.mark.parametrize("arguments", WRONG.values(), ids=WRONG)
def test_wrong_usage_is_one_line_and_exit_2(capsys, arguments):
    assert main(["token", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1


@pytest.mark.parametrize("value", ["", "short"])
def test_no_secret_or_a_weak_one_says_how_to_make_one(capsys, monkeypatch, value):
    monkeypatch.setenv("JWT_SECRET", value)
    assert main(["token", "--role", "viewer"]) == 2
    assert "openssl rand" in capsys.readouterr().err


def test_a_role_is_one_of_three(capsys):
    with pytest.raises(SystemExit) as left:
        main(["token", "--role", "none"])
    assert left.value.code == 2
    assert "viewer" in capsys.readouterr().err


async def test_erasing_through_a_running_sidecar(capsys):
    clock = SystemClock()
    async with management(Verifier(clock, secret=SECRET)) as panel:
        session = Session(key_of("the-id"), "acme", 0.0, panel.clock.now(), "203.0.113.0/24", "203.0.113.9")
        await panel.sessions.create(session, seal_of("the-id"), 3600.0)
        panel.rates.take([Ask(LIMITS[2], session.key)], panel.clock.monotonic())
        command = ["erase", "--session", "the-id", "--management", panel.base]
        assert await asyncio.to_thread(main, command) == 0
        out = capsys.readouterr().out.splitlines()
        assert [line.split() for line in out[:3]] == [["1", "windows"], ["1", "sessions"], ["0", "conversations"]]
        assert "the-id" not in repr(panel.recorder.events) + repr(panel.book.entries)
        assert (
            await asyncio.to_thread(main, ["erase", "--ip", "2001:db8::1", "--management", panel.base, "--json"]) == 0
        )
        assert json.loads(capsys.readouterr().out)["type"] == "ip"
        assert await asyncio.to_thread(main, ["erase", "--org", "acme", "--management", panel.base]) == 0
        assert "1 credentials" in capsys.readouterr().out


FAILED = {
    "no server": (SECRET.reveal(), ["--management", "http://127.0.0.1:9"], 1, "no sidecar answers"),
    "no address": (SECRET.reveal(), ["--management", "ftp://x"], 2, "not the address"),
}


@pytest.mark.parametrize(("value", "arguments", "code", "said"), FAILED.values(), ids=FAILED)
def test_what_fails_is_one_line(capsys, monkeypatch, value, arguments, code, said):
    monkeypatch.setenv("JWT_SECRET", value)
    assert main(["erase", "--ip", "203.0.113.9", *arguments]) == code
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


async def test_another_secret_is_refused(capsys, monkeypatch):
    async with management(Verifier(SystemClock(), secret=Secret("the other secret, which is long enough"))) as panel:
        assert await asyncio.to_thread(main, ["erase", "--ip", "203.0.113.9", "--management", panel.base]) == 1
    assert "the sidecar refused: Authentication failed (401 AUTH_FAILED)" in capsys.readouterr().err
