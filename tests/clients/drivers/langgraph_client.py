"""The `langgraph-sdk` client: runs in a thread, waited for and streaming."""

from langgraph_sdk import get_client
from speech import URL, run

client = get_client(url=URL)


def said(text):
    return {"messages": [{"role": "user", "content": text}]}


async def wait(text):
    thread = await client.threads.create()
    values = await client.runs.wait(thread["thread_id"], "agent", input=said(text))
    return values["messages"][-1]["content"]


async def stream(text):
    thread = await client.threads.create()
    parts = client.runs.stream(thread["thread_id"], "agent", input=said(text), stream_mode="messages-tuple")
    return [part.data[0]["content"] async for part in parts if part.event == "messages"]


run(wait, stream, describe=lambda error: {"status": getattr(error, "status_code", None)})
