"""The `anthropic` client: messages, plain and streaming."""

import anthropic
from speech import URL, run

client = anthropic.Anthropic(base_url=URL, api_key="none", max_retries=0)


def asked(text):
    return {"model": "m", "max_tokens": 10, "messages": [{"role": "user", "content": text}]}


def plain(text):
    return client.messages.create(**asked(text)).content[0].text


def streaming(text):
    with client.messages.stream(**asked(text)) as stream:
        return list(stream.text_stream)


run(plain, streaming, describe=lambda error: {"type": error.body["error"]["type"]})
