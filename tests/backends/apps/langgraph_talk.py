"""Runs LangGraph's agent by its SDK until it is refused; prints what the program that uses it sees.

Argument: the base URL. One line of JSON: how many were answered, and the error.
"""

import json
import sys

import httpx
from langgraph_sdk import get_sync_client

client = get_sync_client(url=sys.argv[1])
answered = 0
try:
    for number in range(20):
        said = {"messages": [{"role": "user", "content": f"question {number}"}]}
        state = client.runs.wait(None, "agent", input=said)
        assert state["messages"][-1]["content"] == f"You said: question {number}", state
        answered += 1
except httpx.HTTPStatusError as error:
    body = error.response.json()
    print(
        json.dumps(
            {
                "answered": answered,
                "raised": body["detail"] in str(error.__notes__),
                "says": body["detail"],
                "code": body["code"],
                "wait": int(error.response.headers["retry-after"]),
            }
        )
    )
