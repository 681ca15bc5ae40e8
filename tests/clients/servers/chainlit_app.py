"""A chat of Chainlit's own making; it says back what it heard, piece by piece."""

import chainlit


@chainlit.on_message
async def echo(message):
    answer = chainlit.Message(content="")
    said = f"You said: {message.content}"
    for at in range(0, len(said), 5):
        await answer.stream_token(said[at : at + 5])
    await answer.send()
