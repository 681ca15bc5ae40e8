"""Asks LiteLLM by OpenAI's client until it is refused; prints what the program that uses it sees.

Without retries: the client would wait as long as `Retry-After` says, and be answered.

Arguments: the base URL and a key. One line of JSON: how many were answered, and the error.
"""

import json
import sys

import openai

client = openai.OpenAI(base_url=sys.argv[1] + "/v1", api_key=sys.argv[2], max_retries=0)
answered = 0
try:
    for number in range(20):
        said = [{"role": "user", "content": f"question {number}"}]
        answer = client.chat.completions.create(model="parrot", messages=said)
        assert answer.choices[0].message.content == f"You said: question {number}"
        answered += 1
except openai.APIStatusError as error:
    print(
        json.dumps(
            {
                "answered": answered,
                "raised": isinstance(error, openai.RateLimitError),
                "says": error.body["message"],
                "code": error.code,
                "wait": int(error.response.headers["retry-after"]),
            }
        )
    )
