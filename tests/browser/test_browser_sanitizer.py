"""Sanitized attacks in a real browser: nothing runs, and no element appears."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

from sidecar.messages.sanitize import Markup, sanitize
from tests.support.vectors import rows

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PAGE = "<!doctype html><title>chat</title><body></body>"

# Puts each text where chat pages put messages; returns how many elements appeared, by where.
# Each element that does appear is poked, so that handlers which wait for a user run too.
PUT = """texts => {
    const seen = {};
    const add = (where, elements) => { if (elements.length) seen[where] = (seen[where] || 0) + 1; return [...elements]; };
    for (const text of texts) {
        const all = [];
        const put = (where, html, outer, inner = 'div') => {
            const box = document.createElement(inner);
            document.body.append(box);
            box.innerHTML = outer ? outer[0] + html + outer[1] : html;
            const known = outer ? box.querySelectorAll('[data-ours]') : [];
            const found = add(where, [...box.querySelectorAll('*')].filter(one => ![...known].includes(one)));
            all.push([box, found]);
            return box.innerHTML;
        };
        put('innerHTML', text);
        let twice = text;
        for (let i = 0; i < 2; i++) { const t = document.createElement('template'); t.innerHTML = twice; twice = t.innerHTML; }
        put('parsed again', twice);
        put('a table cell', text, ['<table data-ours><tbody data-ours><tr data-ours><td data-ours>', '</table>']);
        put('a list', text, ['<ul data-ours><li data-ours>', '</ul>']);
        put('a textarea', text, ['<textarea data-ours>', '</textarea>']);
        put('a title', text, ['<title data-ours>', '</title>']);
        put('a pre', text, ['<pre data-ours><code data-ours>', '</code></pre>']);
        put('svg', text, ['<svg data-ours><desc data-ours>', '</desc></svg>']);
        put('math', text, ['<math data-ours><mtext data-ours>', '</mtext></math>']);
        put('noscript', text, ['<noscript data-ours>', '</noscript>']);
        put('a select', text, ['<select data-ours><option data-ours>', '</select>']);
        put('a template', text, null, 'template');
        const parsed = new DOMParser().parseFromString(text, 'text/html');
        add('a document', parsed.querySelectorAll('body *, head *'));
        const contextual = document.createRange().createContextualFragment(text);
        add('a fragment', contextual.querySelectorAll('*'));
        for (const [, found] of all) for (const one of found) {
            for (const a of one.attributes) if (/^on/i.test(a.name)) one.dispatchEvent(new Event(a.name.slice(2).toLowerCase()));
            one.dispatchEvent(new MouseEvent('click', {bubbles: true, cancelable: true}));
        }
        for (const [box] of all) box.remove();
    }
    return seen;
}"""

WATCH = "window.ran = 0; for (const f of ['alert', 'confirm', 'prompt', 'print', 'MsgBox']) window[f] = () => { window.ran++; };"


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    if not Path(CHROMIUM).exists():
        pytest.fail(f"{CHROMIUM} is missing: tests/support/install-tools installs it")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        try:
            page = browser.new_page()
            page.on("dialog", lambda dialog: dialog.dismiss())
            # Only the page itself: no text may fetch anything.
            page.route(
                "**/*",
                lambda route: (
                    route.fulfill(body=PAGE, content_type="text/html")
                    if route.request.is_navigation_request() and route.request.frame == page.main_frame
                    else route.abort()
                ),
            )
            page.add_init_script(WATCH)
            yield page
        finally:
            browser.close()


def put(page: Page, texts: list[str]) -> tuple[dict[str, int], int]:
    page.goto("http://chat.example/")
    seen = page.evaluate(PUT, texts)
    page.wait_for_timeout(200)  # images and frames fail, and animations begin, after the script has ended
    return seen, page.evaluate("window.ran")


def test_the_page_notices_attacks_that_are_not_sanitized(page):
    texts = ["<img src=x onerror=alert(1)>", "<svg onload=alert(1)>", "<b onclick=alert(1)>x</b>"]
    seen, ran = put(page, texts)
    assert seen["innerHTML"] == len(texts)
    assert seen["a document"] == len(texts)
    assert ran >= len(texts)


@pytest.mark.parametrize("mode", [Markup.ESCAPE, Markup.STRIP])
def test_sanitized_attacks_are_text(page, mode):
    texts = [sanitize(row["text"], mode)[0] for row in rows("xss")]
    assert put(page, texts) == ({}, 0)


def test_benign_texts_are_shown_as_typed(page):
    page.goto("http://chat.example/")
    texts = [row["text"] for row in rows("benign") if "\r" not in row["text"]]
    escaped = [sanitize(text)[0] for text in texts]
    shown = page.evaluate(
        "texts => texts.map(t => { const d = document.createElement('div'); d.innerHTML = t; return d.textContent; })",
        escaped,
    )
    # Typed entities (`&lt;`) are read as what they name, with or without us.
    entities = [row["text"] for row in rows("benign") if "&" in row["text"]]
    assert [text for text, seen in zip(texts, shown, strict=True) if text != seen and text not in entities] == []


def test_the_texts_reach_the_page_as_they_are(page):
    texts = [row["text"] for row in rows("benign")]
    assert json.loads(json.dumps(texts)) == page.evaluate("texts => texts", texts)
