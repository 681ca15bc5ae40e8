from __future__ import annotations

import pytest

from sidecar.json_path import MAX_STEPS, PathError, compile_path

DOCUMENT = {
    "message": "m",
    "odd name": "o",
    "it's": "q",
    "messages": [{"content": "a"}, {"content": ["b", {"text": "c"}]}, {"other": 1}],
    "data": ["x", "y", "z"],
    "deep": {"a": {"b": ["s", 1, {"c": "t"}]}},
    "ключ": "k",
    "7": "seven",
}

SELECTS = [
    ("$", [((), DOCUMENT)]),
    ("$.message", [(("message",), "m")]),
    ("$['message']", [(("message",), "m")]),
    ('$["odd name"]', [(("odd name",), "o")]),
    (r"$['it\'s']", [(("it's",), "q")]),
    (r"$['\u006dessage']", [(("message",), "m")]),
    ("$.ключ", [(("ключ",), "k")]),
    ("$['7']", [(("7",), "seven")]),
    ("$[7]", []),
    ("$.missing", []),
    ("$.message.deeper", []),
    ("$.message[0]", []),
    ("$.data[0]", [(("data", 0), "x")]),
    ("$.data[-1]", [(("data", 2), "z")]),
    ("$.data[-4]", []),
    ("$.data[3]", []),
    ("$.data[*]", [(("data", 0), "x"), (("data", 1), "y"), (("data", 2), "z")]),
    ("$.deep.*", [(("deep", "a"), DOCUMENT["deep"]["a"])]),
    ("$.messages[0].content", [(("messages", 0, "content"), "a")]),
    ("$.messages[*].content[*].text", [(("messages", 1, "content", 1, "text"), "c")]),
    (
        "$.deep.a..*",
        [
            (("deep", "a", "b"), ["s", 1, {"c": "t"}]),
            (("deep", "a", "b", 0), "s"),
            (("deep", "a", "b", 1), 1),
            (("deep", "a", "b", 2), {"c": "t"}),
            (("deep", "a", "b", 2, "c"), "t"),
        ],
    ),
]


@pytest.mark.parametrize(("text", "found"), SELECTS, ids=[text for text, _ in SELECTS])
def test_selects(text, found):
    assert compile_path(text).find(DOCUMENT) == found


BROKEN = [
    ("", "a path starts with `$`", 1),
    ("message", "a path starts with `$`", 1),
    ("$message", "expected `.` or `[`", 2),
    ("$.", "a name or `*` must follow `.`", 3),
    ("$.a.", "a name or `*` must follow `.`", 5),
    ("$.1", "a name or `*` must follow `.`", 3),
    ("$.a-b", "expected `.` or `[`", 4),
    ("$[", "expected `*`, an index or a quoted name", 3),
    ("$[0", "a `]` is missing", 4),
    ("$[01]", "a `]` is missing", 4),
    ("$[-0]", "expected `*`, an index or a quoted name", 3),
    ("$[1:2]", "a `]` is missing", 4),
    ("$[?@.a]", "expected `*`, an index or a quoted name", 3),
    ("$['a]", "the quoted name that starts here does not end", 3),
    (r"$['\x']", "this escape is not known", 4),
    (r"$['\ud800']", "`\\u` needs four hexadecimal digits", 4),
    ("$['a\n']", "a quoted name may not hold control characters", 5),
    ("$..a", "of descendants only `..*` is supported", 2),
    ("$..*.a", "nothing may follow `..*`", 5),
    ("$" + ".a" * (MAX_STEPS + 1), "more than 32 steps", 67),
    ("$." + "a" * 2000, "longer than 1024", 1024),
]


@pytest.mark.parametrize(("text", "what", "position"), BROKEN, ids=[text[:12] for text, _, _ in BROKEN])
def test_broken_paths_say_what_and_where(text, what, position):
    with pytest.raises(PathError, match=r".") as caught:
        compile_path(text)
    assert what in caught.value.what
    assert caught.value.position == position
    assert str(caught.value).endswith(f"at character {position}")


def test_form_name_is_that_of_a_path_of_one_name():
    assert compile_path("$.message").name == "message"
    assert compile_path("$.a.b").name is None
    assert compile_path("$[0]").name is None


def test_first_value():
    assert compile_path("$.data[*]").first(DOCUMENT) == "x"
    assert compile_path("$.none").first(DOCUMENT) is None
