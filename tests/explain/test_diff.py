"""What changes in effect between two policies."""

from __future__ import annotations

import pytest

from sidecar.explain.diff import changes
from tests.support.policies import BASE, read

CASES = {
    "nothing": ("", "", []),
    "a default that is written": ("", "requests: { max_body: 1MiB }\n", []),
    "a value": ("", "requests: { max_body: 2MiB }\n", ["requests.max_body: 1MiB → 2MiB"]),
    "a list": (
        "requests: { hosts: [a.example] }\n",
        "requests: { hosts: [a.example, b.example] }\n",
        ["requests.hosts: [a.example] → [a.example, b.example]"],
    ),
    "a limit, by its name": (
        "rate_limits: [{ name: a, per: ip, limit: 5, window: 1m }, { name: b, per: ip, limit: 9, window: 1h }]\n",
        "rate_limits: [{ name: b, per: ip, limit: 9, window: 1h }, { name: a, per: ip, limit: 6, window: 1m }]\n",
        ["rate_limits[a].limit: 5 → 6", "rate_limits (order): a, b → b, a"],
    ),
    "the order of routes": (
        "routes: [{ name: a, match: { path: /a } }, { name: b, match: { path: /b } }]\n",
        "routes: [{ name: b, match: { path: /b } }, { name: a, match: { path: /a } }]\n",
        ["routes (order): a, b → b, a"],
    ),
}


@pytest.mark.parametrize(("old", "new", "expected"), CASES.values(), ids=CASES)
def test_effective_values(old, new, expected) -> None:
    found = changes(read(BASE + old).schema, read(BASE + new).schema)
    assert [str(each) for each in found] == expected


def test_what_exists_in_one_policy_only() -> None:
    new = read(BASE + "routes: [{ name: a, match: { path: /a } }]\n").schema
    paths = {each.path: each for each in changes(read(BASE).schema, new)}
    assert str(paths["routes[a].match.path"]) == "routes[a].match.path: added, /a"
    back = {each.path: each for each in changes(new, read(BASE).schema)}
    assert str(back["routes[a].match.path"]) == "routes[a].match.path: removed, was /a"
