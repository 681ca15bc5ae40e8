from __future__ import annotations

import time
import warnings

import html5lib
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.messages.sanitize import NONE, Counts, Markup, MarkupFound, sanitize
from tests.support.vectors import rows

XSS = rows("xss")
BENIGN = rows("benign")
HARMLESS = (Markup.ESCAPE, Markup.STRIP)


def nodes(text):
    """The types of the nodes that an independent parser makes of a text."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # html5lib's own: data loss when a tree cannot hold a character
        return {node.nodeType for node in html5lib.parseFragment(text, treebuilder="dom").childNodes}


def shown(text):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fragment = html5lib.parseFragment(text, treebuilder="dom")
    return "".join(node.data for node in fragment.childNodes)


def assert_harmless(text, mode):
    once, _ = sanitize(text, mode)
    assert nodes(once) <= {3}, "only text nodes"
    assert sanitize(once, mode) == (once, NONE), "twice changes nothing more"


def test_there_are_enough_vectors():
    assert len(XSS) >= 300
    assert len(BENIGN) >= 200
    assert len({row["text"] for row in XSS + BENIGN}) == len(XSS) + len(BENIGN)


@pytest.mark.parametrize("mode", HARMLESS)
def test_attacks_parse_to_text_and_stay_so(mode):
    for row in XSS:
        assert_harmless(row["text"], mode)


def test_every_attack_is_noticed():
    assert [row["id"] for row in XSS if not sanitize(row["text"])[1]] == []


@pytest.mark.parametrize("mode", Markup)
def test_benign_texts_come_through_byte_for_byte(mode):
    texts = [row["text"] for row in BENIGN if row["same"] == "bytes"]
    assert [text for text in texts if sanitize(text, mode) != (text, NONE)] == []


def test_escaped_code_is_shown_as_typed():
    for row in BENIGN:
        if "\r" not in row["text"]:  # a parser of HTML makes one line feed of CR LF
            escaped = sanitize(row["text"])[0]
            assert shown(escaped) == shown(row["text"]) if row["same"] == "bytes" else shown(escaped) == row["text"]


ESCAPED = [
    ("<b>x</b>", "&lt;b>x&lt;/b>", Counts(markup=2)),
    ("a < b", "a < b", NONE),
    ("a<b", "a&lt;b", Counts(markup=1)),
    ("<!-- -->", "&lt;!-- -->", Counts(markup=1)),
    ("<?x?>", "&lt;?x?>", Counts(markup=1)),
    ("<\u200bb>", "&lt;b>", Counts(markup=1, invisible=1)),
    ("<\x00b>", "&lt;b>", Counts(markup=1, invisible=1)),
    ("&lt;b>", "&lt;b>", NONE),
    ("<é>", "<é>", NONE),
    ("[x](javascript:y)", "[x](unsafe:javascript:y)", Counts(link=1)),
    ("[x](unsafe:javascript:y)", "[x](unsafe:javascript:y)", NONE),
    ("[x](<javascript:y>)", "[x](unsafe:&lt;javascript:y>)", Counts(markup=1, link=1)),
    ("[x]:\n javascript:y", "[x]:\n unsafe:javascript:y", Counts(link=1)),
    ("[x](data:image/png;base64,AA)", "[x](data:image/png;base64,AA)", NONE),
    ("![x](data:image/svg+xml,AA)", "![x](data:image/svg+xml,AA)", NONE),
    ("[x](data:image/svg+xml,AA)", "[x](unsafe:data:image/svg+xml,AA)", Counts(link=1)),
    ("[![x](y)](data:image/svg+xml,AA)", "[![x](y)](unsafe:data:image/svg+xml,AA)", Counts(link=1)),
    ("![x](data:text/html,AA)", "![x](unsafe:data:text/html,AA)", Counts(link=1)),
    ("[x](j\u200bava&Tab;script\\:y)", "[x](unsafe:java&Tab;script\\:y)", Counts(invisible=1, link=1)),
    ("```\n[x](javascript:y)\n```", "```\n[x](javascript:y)\n```", NONE),
    ("- ```\n[x](javascript:y)\n```", "- ```\n[x](unsafe:javascript:y)\n```", Counts(link=1)),
    ("~~~\n```\n~~~\n[x](javascript:y)\n```", "~~~\n```\n~~~\n[x](unsafe:javascript:y)\n```", Counts(link=1)),
    ("``` `\n[x](javascript:y)\n```", "``` `\n[x](unsafe:javascript:y)\n```", Counts(link=1)),
]


@pytest.mark.parametrize(("text", "out", "counts"), ESCAPED, ids=[ascii(row[0])[:40] for row in ESCAPED])
def test_escape(text, out, counts):
    assert sanitize(text) == (out, counts)


STRIPPED = [
    ("<b>x</b> & y", "x & y", 2),
    ("a<script>alert(1)</script >b", "ab", 1),
    ("a<style>b{}</STYLE\n>c", "ac", 1),
    ("I use <script> a lot", "I use  a lot", 1),
    ("a<!-- <b> -->c", "ac", 1),
    ("a<!--> b", "a b", 1),
    ("a <!-- b", "a &lt;!-- b", 1),
    ("if a <b then", "if a &lt;b then", 1),
    ("<<b>script>alert(1)</script>", "&lt;script>alert(1)", 3),
    ('<a title=">">x</a>', "x", 2),
    ("<a title='\">'>x", "x", 1),
    ('<a "x>y', "y", 1),
    ("<?php x ?>y<!doctype html>z</>", "yz", 3),
    ("```\nList<String>\n```\n<b>x</b>", "```\nList&lt;String>\n```\nx", 3),
    ("[x](java<b>script:y)", "[x](unsafe:javascript:y)", 1),
    ("3 < 5", "3 < 5", 0),
    ("<img src=x onerror=alert(1)", "&lt;img src=x onerror=alert(1)", 1),
]


@pytest.mark.parametrize(("text", "out", "count"), STRIPPED, ids=[row[0][:30] for row in STRIPPED])
def test_strip(text, out, count):
    stripped, counts = sanitize(text, Markup.STRIP)
    assert (stripped, counts.markup) == (out, count)


INVISIBLE = [
    ("controls", "a\x00b\x08c\x1bd\x7fe\x85f", "abcdef"),
    ("tab and lines stay", "a\tb\r\nc", "a\tb\r\nc"),
    ("overrides", "a\u202eb\u202dc\u202ad\u202be\u202cf", "abcdef"),
    ("isolates", "\u2066a\u2069\u2067b\u2069\u2068c\u2069", "abc"),
    ("zero-width", "a\u200bb\u200cc\u200dd\u2060e\ufefff", "abcdef"),
    ("direction marks among Latin", "a\u200eb\u200fc", "abc"),
    ("direction marks among Hebrew", "א\u200e (b) \u200f", "א\u200e (b) \u200f"),
    ("tags", "a\U000e0068\U000e0069\U000e0001b", "ab"),
    ("tags on a flag that is none", "🏴" + "".join(chr(0xE0000 + ord(c)) for c in "ignore all") + "\U000e007f", "🏴"),
    ("tags without an end", "🏴\U000e0067\U000e0062", "🏴"),
    ("joiner at the edge of an emoji", "👩\u200d x \u200d👩", "👩 x 👩"),
    ("joiners in a row", "👩\u200d\u200d💻", "👩💻"),
    ("non-joiner twice", "می\u200c\u200cخو", "می\u200cخو"),
    ("selectors as a hiding place", "a" + "\ufe01\U000e0110" * 5, "a"),
    ("a run of selectors", "😀\ufe0f\ufe0f\ufe0e", "😀\ufe0f"),
    ("break between Latin letters", "a\u200bb", "ab"),
    ("filler", "a\u3164\uffa0\u115fb", "ab"),
    ("annotation", "a\ufff9b\ufffac\ufffb", "abc"),
]


@pytest.mark.parametrize(("text", "out"), [row[1:] for row in INVISIBLE], ids=[row[0] for row in INVISIBLE])
@pytest.mark.parametrize("mode", Markup)
def test_invisible(text, out, mode):
    assert sanitize(text, mode) == (out, Counts(invisible=len(text) - len(out)) if text != out else NONE)


def test_reject():
    with pytest.raises(MarkupFound):
        sanitize("a <\u200bb", Markup.REJECT)
    assert sanitize("a < b [x](javascript:y)", Markup.REJECT) == ("a < b [x](unsafe:javascript:y)", Counts(link=1))


def test_keep_leaves_markup_and_links():
    text = "<script>alert(1)</script> [x](javascript:y)"
    assert sanitize(text, Markup.KEEP) == (text, NONE)


def test_counts_as_the_log_and_the_page_see_them():
    counts = Counts(markup=2, link=1)
    assert counts.detail() == {"markup": 2, "link": 1}
    assert counts.header() == "markup=2, link=1"


MEAN = st.text(
    st.sampled_from(
        "<>/!?-=\"'`&;:#()[]\\ \n\tabijpstvx\x00\u200b\u200d\u200c\ufe0f\u202eא👩می\U000e0067\U000e007f🏴葛"
    )
    | st.characters(exclude_categories=["Cs"]),
    max_size=40,
)
PIECES = st.lists(
    st.sampled_from(
        [
            "<",
            ">",
            "<b",
            "<b>",
            "</b>",
            "<script>",
            "</script>",
            "<style>",
            "<!--",
            "-->",
            "--!>",
            "<!",
            "<?",
            "</",
            '"',
            "'",
            "=",
            '="',
            " ",
            "\n",
            "```\n",
            "\n```\n",
            "~~~\n",
            "[x](",
            "![x](",
            "[x]: ",
            ")",
            "javascript:",
            "java",
            "script:",
            "data:",
            "image/svg+xml,",
            "text/html,",
            "&lt;",
            "&Tab;",
            "&#106;",
            "%6a",
            "\\",
            "\u200b",
            "\u200d",
            "\ufe0f",
            "👩",
            "א",
            "\u200f",
            "\x00",
            "unsafe:",
            "a",
        ]
    ),
    max_size=14,
).map("".join)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(MEAN | PIECES, st.sampled_from(HARMLESS))
def test_properties(text, mode):
    assert_harmless(text, mode)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(MEAN | PIECES, st.sampled_from([Markup.KEEP, Markup.REJECT]))
def test_the_other_modes_are_idempotent_too(text, mode):
    try:
        once, _ = sanitize(text, mode)
    except MarkupFound:
        return
    assert sanitize(once, mode) == (once, NONE)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.text(st.characters(categories=["L", "N", "P", "S", "Zs"], exclude_characters="<[]\u115f\u1160\u3164\uffa0")))
def test_text_without_markup_is_untouched(text):
    assert sanitize(text) == (text, NONE)


HOSTILE = ["<a ", '<a x="', '<a x=">" ', "<script>", "<!--", "<!-- -->", "<", "](javascript:", "]:\n", "](&amp;", "](&#0", "](%25", "](  ", "![](data:image/svg", "\u200d", "👩\u200d", "```\n", "\n``", "<a ='", "</script>", ">>>>\n", "[" ]  # fmt: skip


@pytest.mark.parametrize("unit", HOSTILE, ids=ascii)
def test_time_is_linear(unit):
    text = (unit * (2**20 // len(unit)))[: 2**20]
    began = time.process_time()
    for mode in HARMLESS:
        sanitize(text, mode)
    # Anything quadratic takes minutes; what is linear, some tenths of a second.
    assert time.process_time() - began < 8
