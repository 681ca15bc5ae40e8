"""`sidecar check` beside a sidecar that has seen a proxy which its policy does not name."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.__main__ import main
from sidecar.cli.undeclared_proxies import note
from sidecar.policy.schema.string_types import Address
from tests.support.backends import Backend, Serving, answer
from tests.support.raw import get
from tests.support.sidecar import MASTER, Running, threaded


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    with Serving() as backend, threaded(tmp_path, backend.url, {"JWT_SECRET": MASTER}) as started:
        yield started


def checked(running: Running, capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert main(["check", str(running.policy)]) == 0
    return capsys.readouterr().err


def asked(running: Running) -> None:
    with running.connect() as client:
        for number in range(3):
            client.send(get("/", f"X-Forwarded-For: 198.51.100.{number}")).response()


def test_nothing_is_said_without_one(running: Running, capsys: pytest.CaptureFixture[str]) -> None:
    assert checked(running, capsys) == ""


@pytest.mark.parametrize(("secret", "peers"), [(MASTER, " (127.0.0.1)"), ("", ""), ("x" * 40, "")])
def test_it_is_shown(
    running: Running,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    secret: str,
    peers: str,
) -> None:
    monkeypatch.setenv("JWT_SECRET", secret)
    asked(running)
    told = (
        f"{running.policy}: note: clients.trusted_proxies: the sidecar at 127.0.0.1:{running.management} had 3 requests "
        f"with forwarding headers of peers that it does not trust{peers}; all clients behind such a peer count as one; "
        "name those that are your proxies\n"
    )
    assert checked(running, capsys) == told


@pytest.mark.parametrize("body", [b"sidecar_undeclared_proxy_requests_total many", b"<html>"])
def test_something_else_at_the_management_address_says_nothing(
    running: Running, capsys: pytest.CaptureFixture[str], body: bytes
) -> None:
    with Serving(lambda _: answer(body)) as other:
        text = running.policy.read_text().replace(str(running.management), str(other.port))
        running.policy.write_text(text)
        assert checked(running, capsys) == ""


def test_a_listener_that_does_not_answer_is_not_waited_for(
    running: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    with Backend() as silent:
        running.policy.write_text(running.policy.read_text().replace(str(running.management), str(silent.port)))
        assert checked(running, capsys) == ""


def test_an_address_that_is_not_this_machines_own_loopback_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The policy that is checked may be another's: a token must not follow its address."""
    monkeypatch.setenv("JWT_SECRET", MASTER)
    with socket.create_server(("0.0.0.0", 0)) as listening, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing: the kernel picks the address that it would send from
        except OSError:
            pytest.skip("this machine has loopback only")
        address = Address(probe.getsockname()[0], listening.getsockname()[1])
        assert note(address, os.environ) == ""
        listening.setblocking(False)
        with pytest.raises(BlockingIOError):
            listening.accept()
