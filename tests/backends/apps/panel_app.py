"""Panel's ChatInterface, as its reference shows it: streamed, with a second widget for files."""

import asyncio

import panel as pn

pn.extension()


async def answer(contents, user, instance):
    said = f"You said: {contents}" if isinstance(contents, str) else f"Received {len(contents)} bytes"
    step = max(4, len(said) // 25)
    for end in range(step, len(said) + step, step):
        await asyncio.sleep(0.02)
        yield said[:end]


pn.chat.ChatInterface(
    callback=answer,
    widgets=[pn.chat.ChatAreaInput(placeholder="Your message"), pn.widgets.FileInput()],
    show_rerun=False,
).servable(title="Panel")
