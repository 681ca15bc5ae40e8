from __future__ import annotations

import json
from pathlib import Path

import pytest

from sidecar.cli import parse
from sidecar.prices import date_of_list, list_prices

POLICY = """
version: 1
backend: { url: http://127.0.0.1:3001 }
prices: { house-brand: { input: 1, output: 2 }, gpt-4o: { input: 0, output: 0 } }
"""


def told(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    arguments = parse(["prices", *words])
    code = arguments.run(arguments)
    out, err = capsys.readouterr()
    return code, out, err


def test_the_whole_list(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = told(capsys)
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()[1:]] == sorted(list_prices())
    assert date_of_list() in err


def test_models_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = told(capsys, "gpt-4o-mini-2024-07-18", "house-brand")
    assert code == 1
    assert out.splitlines()[1].split() == ["gpt-4o-mini-2024-07-18", "0.15", "0.075", "0.6"]
    assert "no price" in out.splitlines()[2]


def test_a_policy_goes_first(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    code, out, _ = told(capsys, "gpt-4o", "house-brand", "--policy", str(policy), "--json")
    assert code == 0
    models = json.loads(out)["models"]
    assert (models["gpt-4o"]["output"], models["house-brand"]["output"]) == (0, 2)


def test_a_policy_that_does_not_compile(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY.replace("input: 1", "input: cheap"))
    code, out, _ = told(capsys, "--policy", str(policy))
    assert code == 2
    assert "prices.house-brand.input: is not a price; write USD for a million tokens" in out
