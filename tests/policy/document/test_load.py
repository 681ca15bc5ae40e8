"""YAML with places: what is read, what is refused and where, and that nothing else can happen."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sidecar.errors import PolicyError, Problem
from sidecar.policy.document import load, yaml_nodes
from sidecar.policy.document.load import scan


def lines(text: str | bytes) -> list[str]:
    try:
        load.load(text, "P")
    except PolicyError as error:
        return error.lines()
    return []


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("no", "no"),
        ("on", "on"),
        ("Yes", "Yes"),
        ("y", "y"),
        ("true", True),
        ("FALSE", False),
        ("012", 12),
        ("0o14", 12),
        ("0x1F", 31),
        ("-7", -7),
        ("1_000", "1_000"),
        ("12:30:45", "12:30:45"),
        ("2026-01-31", "2026-01-31"),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("5m", "5m"),
        ("~", None),
        ("", None),
        ("null", None),
        ('"true"', "true"),
        ("'12'", "12"),
        ("! 12", "12"),
        ("|\n  12\n", "12\n"),
        ("=", "="),
        (".inf", ".inf"),
        ("٣", "٣"),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_scalars_are_yaml_1_2(written: str, meant: object) -> None:
    tree = load.load(f"a: {written}", "P").tree
    assert tree == {"a": meant}
    assert type(tree["a"]) is type(meant)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ["P:1:1: is empty; start with `version: 1`"]),
        ("# nothing\n", ["P:1:1: is empty; start with `version: 1`"]),
        ("- a\n", ["P:1:1: is a list, not a mapping of keys; start with `version: 1`"]),
        ("\nword\n", ["P:2:1: is a single value, not a mapping of keys; start with `version: 1`"]),
        ("a: 1\nb: 2\na: 3\n", ["P:3:1: a: is written twice, first in line 1; keep one of the two"]),
        (
            "x:\n  - {k: 1, k: 2}\n  - {k: 1, 'k': 2}\n",
            [
                "P:2:12: x[0].k: is written twice, first in line 2; keep one of the two",
                "P:3:12: x[1].k: is written twice, first in line 3; keep one of the two",
            ],
        ),
        ("a:\n\tb: 1\n", ["P:2:1: is indented with a tab; indent with spaces"]),
        ("a: !!str 5\n", ["P:1:4: a: has a tag; write plain values, without `!…`"]),
        ("a: !!python/object:os.system x\n", ["P:1:4: a: has a tag; write plain values, without `!…`"]),
        ("a: &x [*x]\n", ["P:1:8: a[0]: is an alias of what it is part of; write the value out"]),
        ("a: 1\nb: *x\n", ["P:2:4: b: is an alias that no anchor above it has named; write the value out"]),
        ("a: 1\n---\nb: 2\n", ["P:2:1: starts a second document; keep one policy in a file"]),
        (
            "a: &x {b: 1}\nc:\n  <<: *x\n",
            ["P:3:3: c.<<: is a merge key, which YAML 1.2 does not have; write the keys out"],
        ),
        ("? [a]\n: b\n", ["P:1:3: has a key that is not a short word; write `key: value`"]),
        ("a: b\n*x : c\n", ["P:2:1: has a key that is not a short word; write `key: value`"]),
        ('a: {"b\\nc": 1}\n', ["P:1:5: a: has a key that is not a short word; write `key: value`"]),
        ("a: x\x00y\n", ["P:1:5: holds the control character U+0000; remove it"]),
        ("a: 1\nb: \x1b[31m\n", ["P:2:4: holds the control character U+001B; remove it"]),
        (b"a: 1\nb: \xff\n", ["P:2:4: is not UTF-8; save the file as UTF-8"]),
        ("a: '\ud800'\n", ["P:1:5: holds the control character U+D800; remove it"]),
        (f"a: {'9' * 61}\n", ["P:1:4: a: is a number out of any range; write a smaller one"]),
        ("a: " + "[" * 30 + "]" * 30, [f"P:1:28: a{'[0]' * 24}: is nested more than 24 levels deep; flatten it"]),
        ("x" * (load.MAX_BYTES + 1), ["P:1:1: is larger than 1024 KiB; split lists of addresses into networks"]),
    ],
    ids=lambda value: None if isinstance(value, list) else repr(value)[:32],
)
def test_what_is_refused_and_where(text: str | bytes, said: list[str]) -> None:
    assert lines(text) == said


def test_syntax_errors_have_their_place() -> None:
    (line,) = lines("a: 1\nb: [1, 2\nc: 3\n")
    assert line.startswith("P:3:2: is not valid YAML (")
    assert line.endswith("; check indentation, colons and quotes up to here")


def test_a_bomb_of_aliases_ends_at_its_own_line() -> None:
    levels = "".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]\n" for n in range(1, 9))
    (line,) = lines("l0: &l0 [x, x, x, x, x, x, x, x, x]\n" + levels)
    assert (
        line
        == "P:6:10: l5[0]: makes more than 100000 values of the policy, aliases written out; use fewer values or aliases"
    )


def test_aliases_are_counted() -> None:
    (line,) = lines("a: &a 1\nb: [" + ", ".join(["*a"] * 101) + "]\n")
    assert line.partition(" ")[2] == "b[100]: is alias number 101; use at most 100"


def test_aliases_stand_for_their_value() -> None:
    assert load.load("a: &x {k: [1]}\nb: *x\n", "P").tree == {"a": {"k": [1]}, "b": {"k": [1]}}


def test_the_parser_in_python_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    import yaml

    texts = ["a: 1\na: 2\n", "a:\n\tb: 1\n", "a: &x [*x]\n", "a: 1\n---\nb: 2\n", "a: [1, {b: no}]\n"]
    fast = [lines(text) for text in texts]
    monkeypatch.setattr(load, "_LOADER", yaml.SafeLoader)
    assert [lines(text) for text in texts] == fast


def test_places() -> None:
    document = load.load("a: 1\nb:\n  c: [x, {d: 2}]\nhosts:\n  a.b.c: x\n  a: { b: y }\n", "P")
    places = {
        path: document.place(path) for path in ("a", "b", "b.c", "b.c[0]", "b.c[1].d", "hosts.a.b.c", "hosts.a.b")
    }
    assert places == {
        "a": (1, 4),
        "b": (2, 1),  # a collection is found at its key
        "b.c": (3, 3),
        "b.c[0]": (3, 7),
        "b.c[1].d": (3, 14),
        "hosts.a.b.c": (5, 10),
        "hosts.a.b": (6, 11),
    }
    assert document.place("b.missing.deeper") == (2, 1)
    assert document.place("nowhere") == (1, 1)
    assert document.key_place("b.c[1].d") == (3, 11)
    assert document.holds("b.c[1]")
    assert not document.holds("b.c[2]")


def scanned(text: str | bytes) -> list[Problem]:
    """Return the problems; no other exception than a PolicyError with some is let through."""
    try:
        document, problems = scan(text, "P")
    except PolicyError as error:
        return error.problems or pytest.fail("a PolicyError without a problem")
    return problems if isinstance(document.tree, dict) else pytest.fail("a tree that is none")


TEXTS = st.one_of(
    st.text(max_size=300),
    st.text(alphabet="ab:-[]{},&*!|>'\"#%@`?<>~ \n\t01.", max_size=200),
    st.lists(
        st.sampled_from(
            ["a: ", "- ", "&x ", "*x", "\n", "  ", "[", "]", "{", "}", ", ", "!t ", "'", '"', "1", "<<", ": ", "---\n"]
        )
    ).map("".join),
)


@given(TEXTS)
@example("\ufeffa: 1")
@example("a: \ufeff")
@example("%TAG ! tag:x,2000:\n--- !y a: 1")
@example("%YAML 99.1\n--- a")
@example("a: !<x> 1")
@example("&a")
@example("*a")
@example('"\\x"')
@example("'\\ud800'")
@example('a: "\\ud800"')
@example("? ")
@example("a: ..\n...\n...\n")
@example("\x85")
def test_nothing_but_a_policy_error_comes_out(text: str) -> None:
    found = scanned(text)
    assert all(problem.line >= 1 and problem.column >= 1 for problem in found)


@given(st.binary(max_size=300))
def test_nothing_but_a_policy_error_comes_out_of_bytes(text: bytes) -> None:
    assert all(problem.line >= 1 and problem.column >= 1 for problem in scanned(text))


GROWING = {
    "flow depth": lambda n: "a: " + "[" * n,
    "block depth": lambda n: "".join(" " * (i % 200) + "a:\n" for i in range(n)),
    "dashes": lambda n: "a: " + "- " * n,
    "questions": lambda n: "? " * n,
    "colons": lambda n: "a" + ":" * n,
    "quotes": lambda n: "a: '" + "''" * n,
    "comments": lambda n: "#" * n + "\na: 1",
    "anchors": lambda n: "a: [" + ",".join(f"&x{i} 1" for i in range(n)),
    "one list": lambda n: "a: [" + "1," * n + "]",
    "commas": lambda n: "a: [" + "," * n,
    "duplicates": lambda n: "a: 1\n" * n,
    "blanks": lambda n: "a:" + " " * n + "1",
    "long key": lambda n: "k" * n + ": 1",
    "long number": lambda n: "a: " + "9" * n,
    "escapes": lambda n: 'a: "' + "\\u0041" * n + '"',
}


@pytest.mark.parametrize("make", GROWING.values(), ids=GROWING)
def test_time_grows_with_the_text(make) -> None:
    def seconds(size: int) -> float:
        text = make(size)
        started = time.process_time()
        lines(text)
        return time.process_time() - started

    small = min(seconds(4_000) for _ in range(3))
    large = min(seconds(32_000) for _ in range(2))
    # Eight times the text: quadratic time would be 64 times as long. A millisecond is noise.
    assert large < 24 * max(small, 0.001)


def test_a_full_size_list_is_read_quickly() -> None:
    text = "clients: { deny: [" + ", ".join(f"10.{i // 256 % 256}.{i % 256}.0/24" for i in range(20_000)) + "] }"
    started = time.process_time()
    assert len(load.load(text, "P").tree["clients"]["deny"]) == 20_000
    assert time.process_time() - started < 5.0
    assert yaml_nodes.MAX_NODES >= 20_000
