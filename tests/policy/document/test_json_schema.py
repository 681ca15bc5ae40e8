"""Documentation that fails: every key is described, every example compiles, the copies are the same."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
from pydantic import BaseModel

from sidecar.policy.document.effective_values import reader, shown
from sidecar.policy.document.json_schema import json_schema
from sidecar.policy.document.validation_errors import _bare
from sidecar.policy.schema.policy_schema import PolicySchema
from sidecar.redaction.patterns import SHAPES
from tests.support.policies import BASE, said

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/policy.md").read_text()
ROWS = {row[1]: row[2] for row in re.finditer(r"^\| `([^`]+)` \| (.*) \|$", PAGE, re.MULTILINE)}
# These have the keys of a section that is described elsewhere on the page.
SAME_AS_ABOVE = (
    "routes[].redaction", "routes[].security_headers", "routes[].rate_limits", "egress.rate_limits",
    "egress.providers.*.tls", "egress.providers.*.timeouts",
)  # fmt: skip


def keys(section: type[BaseModel], path: str = "") -> Iterator[tuple[str, Any]]:
    for name, field in section.model_fields.items():
        here = f"{path}.{field.alias or name}" if path else field.alias or name
        yield here, field
        inner, suffix = within(field.annotation)
        if inner is not None and here not in SAME_AS_ABOVE:
            yield from keys(inner, here + suffix)


def within(annotation: Any) -> tuple[type[BaseModel] | None, str]:
    bare = _bare(annotation)
    if isinstance(bare, type) and issubclass(bare, BaseModel):
        return bare, ""
    if get_origin(bare) is tuple:
        return within(get_args(bare)[0])[0], "[]"
    return (within(get_args(bare)[1])[0], ".*") if get_origin(bare) is dict else (None, "")


KEYS = dict(keys(PolicySchema))


def test_every_key_stands_on_the_page_and_no_other() -> None:
    documented = [path for path in ROWS if path in KEYS or re.match(r"[a-z_]+(\.|\[|$)", path)]
    assert sorted(KEYS) == sorted(path for path in documented if not path.isupper())


@pytest.mark.parametrize("path", KEYS)
def test_the_page_says_default_and_effect(path: str) -> None:
    field, row = KEYS[path], ROWS[path]
    assert row.endswith(f"| {field.description}")
    if field.is_required():
        assert "| required |" in row
        return
    default = field.get_default(call_default_factory=True)
    if isinstance(default, BaseModel):
        assert "| its defaults |" in row
    elif path != "rate_limits":
        assert f"| `{'{}' if default == {} else shown(default, reader(field))}` |" in row


EXAMPLES = [
    block for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL) if not block.startswith("# yaml-language")
]


@pytest.mark.parametrize("text", EXAMPLES, ids=[block.split("\n")[0][:40] for block in EXAMPLES])
def test_every_example_is_a_policy(text: str) -> None:
    needed = ["version: 1\n"] * ("version:" not in text) + ["backend: { url: http://127.0.0.1:3001 }\n"] * (
        "backend:" not in text
    )
    assert said("".join(needed) + text) == []


def test_every_section_has_an_example() -> None:
    for section in PolicySchema.model_fields:
        if section != "unmatched":
            assert any(re.search(rf"^{section}:", block, re.MULTILINE) for block in EXAMPLES), section


def test_the_problems_on_the_page_are_what_is_said() -> None:
    for line in re.findall(r"^policy\.yaml:\d+:\d+: (.*)$", PAGE, re.MULTILINE):
        what = line.partition(": ")[2]
        texts = [
            "requests: { max_body: 1MB }",
            "rate_limits: [{ name: a, per: ip, limit: 1 }]",
            "routes: [{ name: a, match: { path: /a }, mesage: {} }]",
        ]
        assert any(what in said_line for text in texts for said_line in said(BASE + text)), line


def test_every_key_shape_is_named() -> None:
    assert all(f"`{shape}`" in PAGE for shape in SHAPES)


def test_the_schema_for_editors_is_the_one_of_the_code() -> None:
    assert json.loads((ROOT / "config/policy.schema.json").read_text()) == json_schema(), "write it again: make schema"


def test_every_key_of_the_schema_is_described_and_closed() -> None:
    schema = json_schema()
    sections = [schema, *schema["$defs"].values()]
    for section in sections:
        assert section["additionalProperties"] is False
        assert all(key.get("description") for key in section["properties"].values())


def test_the_schema_says_defaults_as_one_writes_them() -> None:
    definitions = json_schema()["$defs"]
    assert definitions["Timeouts"]["properties"]["connect"]["default"] == "2s"
    assert definitions["Requests"]["properties"]["max_body"]["default"] == "1MiB"
    assert definitions["PublicListener"]["properties"]["address"]["default"] == "0.0.0.0:8080"
    assert definitions["Sessions"]["properties"]["in"]["default"][0] == "header:X-Session-ID"
    assert json_schema()["properties"]["rate_limits"]["default"][0] == {
        "name": "ip-minute", "per": "ip", "limit": 60, "window": "1m", "counts": "chat", "organizations": "all",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["policy.yaml", "policy.dev.yaml"])
def test_the_policies_of_the_project_are_fine_and_without_notes(name: str) -> None:
    from sidecar.policy.document.read import read_policy

    assert read_policy(ROOT / "config" / name, {}).notes == ()


def test_the_production_policy_says_what_the_defaults_are() -> None:
    """What it writes and what silence means agree, but for what an operator has to change."""
    from sidecar.policy.document.effective_values import values
    from sidecar.policy.document.read import read_policy

    written = dict(values(read_policy(ROOT / "config/policy.yaml", {}).schema))
    silent = dict(values(read_policy(BASE, {}).schema))
    differing = {path for path in written.keys() & silent.keys() if written[path] != silent[path]}
    assert differing == {"cors.allowed_origins"}


@pytest.mark.parametrize("path", [*sorted((ROOT / "config").glob("*.yaml"))], ids=lambda path: path.name)
def test_an_editor_finds_no_fault_in_the_policies_of_the_project(path: Path) -> None:
    from jsonschema import Draft202012Validator

    from sidecar.policy.document.load import load

    validator = Draft202012Validator(json_schema())
    Draft202012Validator.check_schema(json_schema())
    tree = load(path.read_text(), str(path)).tree
    assert [error.message for error in validator.iter_errors(tree)] == []
    assert validator.is_valid(tree | {"corss": {}}) is False
    assert validator.is_valid(tree | {"requests": {"max_body": 5}}) is False
