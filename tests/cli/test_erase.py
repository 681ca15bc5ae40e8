"""`sidecar erase`: ids that begin with a hyphen. What it deletes is tested in tests/integration/test_sessions_erasure.py."""

from __future__ import annotations

import pytest

from sidecar.cli import parse

CASES = {
    "an id": (["--session", "abc"], "abc"),
    "a hyphen": (["--session", "-abc", "--json"], "-abc"),
    "two hyphens": (["--session", "--abc"], "--abc"),
    "an equals sign": (["--session=-abc"], "-abc"),
}


@pytest.mark.parametrize(("words", "session"), CASES.values(), ids=CASES)
def test_a_session_is_named_as_it_is(words: list[str], session: str) -> None:
    assert parse(["erase", *words]).session == session


def test_an_option_is_no_id(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["erase", "--session", "--json"])
    assert "--session: expected one argument" in capsys.readouterr().err
