"""The `openai` client, reading a stream until it ends."""

import openai
from until_it_ends import ASKED, URL, report

client = openai.OpenAI(base_url=f"{URL}/v1", api_key="none", max_retries=0)


def stream():
    for chunk in client.chat.completions.create(model="gpt-4o-mini", messages=ASKED, stream=True):
        yield chunk.choices[0].delta.content


report(stream)
