"""Chainlit's first example, streamed, with the files of a message named in the answer."""

import asyncio

import chainlit as cl


@cl.on_message
async def main(message: cl.Message):
    answer = cl.Message(content="")
    files = ", ".join(element.name for element in message.elements)
    said = f"You said: {message.content}" + (f" with {files}" if files else "")
    step = max(4, len(said) // 25)
    for at in range(0, len(said), step):
        await asyncio.sleep(0.02)
        await answer.stream_token(said[at : at + step])
    await answer.send()
