"""Links after a real Markdown renderer (the one that rich brings), with its own link check switched off."""

from __future__ import annotations

import re
from html import unescape
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from sidecar.messages.sanitize import Markup, MarkupFound, sanitize
from tests.support.vectors import rows

ATTRIBUTE = re.compile(r'<(a|img) (?:href|src)="([^"]*)"')
DANGEROUS = re.compile(r"(?:javascript|vbscript|livescript|mocha):|data:(?!image/)", re.IGNORECASE)


def renderer():
    markdown = MarkdownIt("commonmark")
    markdown.validateLink = lambda url: True
    return markdown


RENDERER = renderer()


def live(text):
    """The destinations that a browser would run, in a text as rendered."""
    found = []
    for tag, attribute in ATTRIBUTE.findall(RENDERER.render(text)):
        # A browser drops leading controls and blanks, and tabs and line feeds anywhere: URL Standard §4.4.
        for url in (unescape(attribute), unquote(unescape(attribute))):
            plain = re.sub(r"[\t\n\r]", "", url.lstrip("".join(map(chr, range(33)))))
            if DANGEROUS.match(plain) or (tag == "a" and plain.lower().startswith("data:image/svg")):
                found.append(plain)
    return found


def cleaned(text, mode):
    try:
        return sanitize(text, mode)[0]
    except MarkupFound:
        return ""


ATTACKS = [row for row in rows("xss") if row["technique"] == "markdown links"]


def test_the_renderer_would_run_them():
    assert len([row for row in ATTACKS if live(row["text"])]) > 30


@pytest.mark.parametrize("mode", [Markup.ESCAPE, Markup.STRIP, Markup.REJECT])
@pytest.mark.parametrize("row", ATTACKS, ids=[row["id"] for row in ATTACKS])
def test_no_attack_is_live_once_rendered(row, mode):
    assert live(cleaned(row["text"], mode)) == []


PIECES = st.lists(
    st.sampled_from(
        [
            "[x](", "![x](", "[x]: ", "[x]", "[y][x]", ")", "<", ">", "<b>", "javascript:a", "JavaScript&colon;a", "java", "script:", "data:text/html,x",
            "data:image/svg+xml,x", "&#106;avascript:", "vbscript\\:", " ", "\n", "\n\n", "```\n", "\n```\n", "```", "    ", "> ", "- ", "1. ", "~~~\n",
            "`", "\\", "![", "[", "]", "](", "\u200b", "\u200d", "\t", "&Tab;", "%6aavascript:", '"', "x",
        ]
    ),
    max_size=12,
).map("".join)  # fmt: skip


@settings(max_examples=500, deadline=None, derandomize=True)
@given(PIECES, st.sampled_from([Markup.ESCAPE, Markup.STRIP, Markup.REJECT]))
def test_nothing_is_live_once_rendered(text, mode):
    once = cleaned(text, mode)
    assert live(once) == []


FENCES = st.lists(
    st.sampled_from(
        ["```", "````", "~~~", "``", "`", " ", "  ", "    ", "\t", "> ", "- ", "* ", "1. ", "\n", "\n\n", "js", "[x](javascript:a)", "text", "    - ", "<div>", "| a |"]
    ),
    max_size=14,
).map("".join)  # fmt: skip


@settings(max_examples=500, deadline=None, derandomize=True)
@given(FENCES)
def test_fences_hide_nothing_that_is_live(text):
    assert live(cleaned(text, Markup.ESCAPE)) == []
