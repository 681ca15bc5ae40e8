"""The `mcp` client over streamable HTTP: a tool is called."""

from datetime import timedelta

import anyio
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from speech import URL, leaves, run


async def call(text):
    async with streamable_http_client(f"{URL}/mcp") as (read, write, _), ClientSession(read, write) as session:
        await session.initialize()
        result = await session.call_tool("echo", {"text": text}, read_timeout_seconds=timedelta(seconds=5))
        return result.content[0].text


async def persistent(text):
    try:
        return await call(text)
    except BaseException as error:
        # A notification that was refused ends the session without a word; the next session says why.
        if not all(isinstance(one, anyio.ClosedResourceError) for one in leaves(error)):
            raise
    return await call(text)


run(persistent)
