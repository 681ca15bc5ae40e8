from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from sidecar.policy.document.read import draft_policy, read_policy
from sidecar.policy.kinds.catalogue import names, read_kind
from sidecar.policy.schema.backend import KindName

POLICY = "version: 1\nbackend: {{ url: 'http://127.0.0.1:3001', kind: {} }}\n"


def test_an_unknown_kind_is_none():
    assert read_kind("../openai") is None


def test_each_name_of_the_schema_has_a_file_and_each_file_a_name():
    assert sorted(names()) == sorted(get_args(KindName))


@pytest.mark.parametrize("name", names())
def test_each_kind_makes_a_policy_without_remarks(name):
    document = read_policy(POLICY.format(name), {})
    assert document.notes == ()


@pytest.mark.parametrize("name", names())
def test_operations_have_the_kind_s_name_and_look_at_text(name):
    kind = read_kind(name)
    schema = read_policy(POLICY.format(name), {}).schema
    assert kind is not None
    assert [route.name for route in schema.routes] == [each["name"] for each in kind.operations]
    assert all(route.name.startswith(name) and route.message is not None for route in schema.routes)


@pytest.mark.parametrize("name", names())
def test_operations_without_text_are_none_of_those_with_text(name):
    kind = read_kind(name)
    assert kind is not None
    for each in kind.textless:
        assert each.why
        assert not any(
            pattern.path == each.path and set(each.methods) & pattern.methods for pattern, _ in kind.patterns()
        )


def test_each_kind_stands_on_its_page():
    page = (Path(__file__).parents[3] / "docs/kinds.md").read_text()
    assert sorted(re.findall(r"^\| `([a-z-]+)` \|", page, re.MULTILINE)) == sorted(names())


@pytest.mark.parametrize("name", names())
def test_each_kind_has_a_page_with_three_lines_of_policy(name):
    text = (Path(__file__).parents[3] / f"docs/backends/{name}.md").read_text()
    found = re.search(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert found is not None
    policy = found[1]
    assert len(policy.splitlines()) == 3
    document = draft_policy(policy, {}, name="P")
    assert (document.schema.backend.kind, document.problems) == (name, ())
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert headings[:3] == ["What is guarded", "What is not", "What people see of a refusal"]
