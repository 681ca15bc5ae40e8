"""The `anthropic` client, reading a stream until it ends."""

import anthropic
from until_it_ends import ASKED, URL, report

client = anthropic.Anthropic(base_url=URL, api_key="none", max_retries=0)


def stream():
    with client.messages.stream(model="claude-sonnet-4-5", max_tokens=100_000, messages=ASKED) as events:
        yield from events.text_stream


report(stream)
