"""Asks for a completion with an SDK's default habits; prints what became of it. Arguments: sdk, base URL."""

from __future__ import annotations

import json
import sys

import anthropic
import openai

MESSAGES = [{"role": "user", "content": "hi"}]


def ask(sdk: str, url: str) -> dict[str, object]:
    try:
        if sdk == "openai":
            client = openai.OpenAI(base_url=f"{url}/v1", api_key="k", max_retries=2)
            reply = client.chat.completions.create(model="m", messages=MESSAGES)
        else:
            made = anthropic.Anthropic(base_url=url, api_key="k", max_retries=2)
            reply = made.messages.create(model="m", max_tokens=9, messages=MESSAGES)
        return {"id": reply.id}
    except (openai.APIStatusError, anthropic.APIStatusError) as error:
        return {"error": type(error).__name__, "status": error.status_code}


print(json.dumps(ask(sys.argv[1], sys.argv[2])))
