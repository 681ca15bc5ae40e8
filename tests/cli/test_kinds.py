from __future__ import annotations

import json

import pytest

from sidecar.cli import parse
from sidecar.policy.kinds.catalogue import names


def told(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    arguments = parse(["kinds", *words])
    code = arguments.run(arguments)
    out, err = capsys.readouterr()
    return code, out, err


def test_all_kinds_are_listed(capsys):
    code, out, _ = told(capsys)
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == names()


def test_the_list_as_json(capsys):
    _, out, _ = told(capsys, "--json")
    assert [each["name"] for each in json.loads(out)] == names()


def test_one_kind_says_what_it_makes(capsys):
    code, out, _ = told(capsys, "gradio", "--json")
    assert code == 0
    kind = json.loads(out)
    assert kind["operations"][0] == {
        "name": "gradio-run",
        "path": "/**/gradio_api/run/*",
        "methods": ["POST"],
        "protocol": "gradio",
        "texts": ["$.data..*", "$.data", "$.event_data..*"],
    }
    assert kind["textless"][0]["why"] == "the stream of answers"


@pytest.mark.parametrize("name", names())
def test_each_kind_can_be_shown(capsys, name):
    code, out, _ = told(capsys, name)
    assert code == 0
    assert out.startswith("title:")


def test_an_unknown_kind_is_wrong_usage(capsys):
    code, out, err = told(capsys, "wordpress")
    assert (code, out) == (2, "")
    assert err.startswith("'wordpress' is not a kind; write one of ag-ui,")
