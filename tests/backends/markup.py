"""Attacks as people would send them to a page that shows text as it was typed, and what they did there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from tests.backends.visit import Visit

ALARM = """
window.__xss = [];
for (const name of ['alert', 'confirm', 'prompt', 'print']) window[name] = (what) => window.__xss.push(`${name} ${what}`);
"""
"""Put into each frame before anything else runs there: calls of payloads are noted instead of shown."""

MADE = """(selectors) => {
    const made = [];
    const look = (root) => {
        for (const element of root.querySelectorAll('*')) {
            const tag = element.localName;
            if (/^(script|iframe|object|embed|form|base|meta|link|marquee|foreignobject|animate|set|portal)$/.test(tag)) made.push(tag);
            for (const { name, value } of element.attributes) {
                if (/^on/i.test(name)) made.push(`${tag} ${name}`);
                if (/^(href|src|action|formaction|data|xlink:href|srcdoc|background|poster)$/i.test(name)) {
                    const url = value.replace(/[\\u0000-\\u0020]+/g, '');
                    if (/^(javascript|vbscript|livescript|mocha):/i.test(url)) made.push(`${tag} ${name}=${url.slice(0, 60)}`);
                }
            }
            if (element.shadowRoot) look(element.shadowRoot);
        }
    };
    for (const selector of selectors) document.querySelectorAll(selector).forEach(look);
    return made;
}"""
"""Elements and attributes inside messages that could run something."""

AS_MARKDOWN = """\
# {0}

> {0}

- {0}

| a | b |
|---|---|
| {0} | [x]({0}) |

```html
{0}
```

![{0}]({0}) <{0}> [y]: {0}
"""


def messages(texts: Sequence[str], size: int) -> Iterator[str]:
    """Give the texts, `size` in a message, plainly and in the places of Markdown."""
    for at in range(0, len(texts), size):
        batch = texts[at : at + size]
        yield "\n\n".join(batch)
        yield "\n\n".join(AS_MARKDOWN.replace("{0}", text) for text in batch)


async def effects_of(visit: Visit, texts: Iterable[str]) -> list[Any]:
    """Send each text, let the page answer with the same; return those after which something ran or was made."""
    page, found = visit.page, []
    for number, text in enumerate(texts):
        await visit.send(f"{text}\n\nend {number}")
        with contextlib.suppress(AssertionError):
            # An unfinished construct may hide the end of its message.
            await visit.hear(f"end {number}")
        ran = [one for frame in visit.tab.frames for one in await frame.evaluate("() => window.__xss || []")]
        made = await visit.tab.evaluate(MADE, [page.said, page.answered])
        if ran or made:
            found.append((text, ran, made))
            await visit.open()
        elif number % 25 == 24:
            # Long conversations make pages slow.
            await visit.open()
    return found
