"""Reads a streamed answer with an SDK; prints what came and how it ended. Arguments: sdk, base URL."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

import anthropic
import openai

MESSAGES = [{"role": "user", "content": "hi"}]


def texts(sdk: str, url: str) -> Iterator[str]:
    if sdk == "openai":
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0)
        for part in client.chat.completions.create(model="m", messages=MESSAGES, stream=True):
            yield part.choices[0].delta.content
    elif sdk == "responses":
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0)
        for event in client.responses.create(model="m", input="hi", stream=True):
            if event.type == "response.output_text.delta":
                yield event.delta
    else:
        made = anthropic.Anthropic(base_url=url, api_key="k", max_retries=0)
        with made.messages.stream(model="m", max_tokens=9, messages=MESSAGES) as stream:
            yield from stream.text_stream


came: list[str] = []
try:
    for text in texts(sys.argv[1], sys.argv[2]):
        came.append(text)
        print("begun", flush=True)
    print(json.dumps({"came": came, "error": None}))
except (openai.APIError, anthropic.APIError) as error:
    print(json.dumps({"came": came, "error": type(error).__name__, "says": str(error)}))
