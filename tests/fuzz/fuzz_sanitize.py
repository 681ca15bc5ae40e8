"""No text raises; what comes out holds text nodes only, is settled, and plain text comes through as it was."""

from __future__ import annotations

import contextlib

import engine
import html5lib

with engine.instrumented():
    from sidecar.messages.invisible import hides
    from sidecar.messages.sanitize import NONE, Markup, MarkupFound, sanitize

READER = html5lib.HTMLParser(tree=html5lib.getTreeBuilder("dom"))


def text_only(text: str) -> bool:
    fragment = READER.parseFragment(text, container="div")
    return all(node.nodeType == node.TEXT_NODE for node in fragment.childNodes)


def target(data: engine.atheris.FuzzedDataProvider) -> None:
    text = data.ConsumeBytes(data.remaining_bytes()).decode(errors="ignore")
    for mode in (Markup.ESCAPE, Markup.STRIP):
        once, counts = sanitize(text, mode)
        assert bool(counts) == (once != text)
        assert sanitize(once, mode) == (once, NONE)
        assert text_only(once)
    sanitize(text, Markup.KEEP)
    with contextlib.suppress(MarkupFound):
        assert text_only(sanitize(text, Markup.REJECT)[0])
    if not set("<]") & set(text) and not hides(text):
        assert sanitize(text) == (text, NONE)


if __name__ == "__main__":
    engine.fuzz(
        target, b"<script>", b"</script>", b"<!--", b"-->", b"<![CDATA[", b"]]>", b"<svg>", b"<math>", b"<style>", b"<a href='",
        b"](javascript:", b"](data:image/png;", b"](vbscript:", b"&#106;", b"&Tab;", b"&colon;", b"%3a", b"```\n", b"\n[a]: ",
        b"<img src=x onerror=", b"&lt;", b"\xe2\x80\x8b", b"\xe2\x80\x8d", b"\xe2\x80\xae", b"\xf0\x9f\x91\xa9", b"\xef\xb8\x8f",
        b"\xf3\xa0\x81\xa7", b"\xd7\x90", b"\xe0\xa4\x95", b"\x00", b"![", b"](", b"<", b">", b"?", b"!", b"/", b"\\",
    )  # fmt: skip
