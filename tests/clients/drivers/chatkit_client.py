"""ChatKit as its web component speaks: one POST, events read by the SDK's own types."""

import httpx
from chatkit.types import ThreadStreamEvent
from pydantic import TypeAdapter
from speech import URL, run

EVENTS = TypeAdapter(ThreadStreamEvent)
HEADERS = {"Accept": "text/event-stream"}


class Noticed(Exception):
    """The stream said so."""


def events(kind, params):
    body = {"type": kind, "params": params}
    with httpx.stream("POST", f"{URL}/chatkit", json=body, headers=HEADERS, timeout=30) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream"), answer.read()
        lines = [line for line in answer.iter_lines() if line]
    assert all(line.startswith("data: ") for line in lines)
    return answer.status_code, [EVENTS.validate_json(line[6:]) for line in lines]


def heard(answer):
    status, found = answer
    notices = [event for event in found if event.type == "notice"]
    errors = [event for event in found if event.type == "error"]
    if notices:
        raise Noticed(f"{status} {notices[0].level}: {notices[0].message}; retry: {errors[0].allow_retry}")
    assert status == 200
    assert not errors
    return [event.update.delta for event in found if event.type == "thread.item.updated"]


def said(text):
    content = [{"type": "input_text", "text": text}]
    return {"input": {"content": content, "attachments": [], "inference_options": {}, "quoted_text": text}}


def create(text):
    return heard(events("threads.create", said(text)))


def add(text):
    found = events("threads.create", said("first"))
    heard(found)
    thread = next(event.thread.id for event in found[1] if event.type == "thread.created")
    pieces = heard(events("threads.add_user_message", said(text) | {"thread_id": thread}))
    listed = httpx.post(f"{URL}/chatkit", json={"type": "items.list", "params": {"thread_id": thread}}, timeout=30)
    listed.raise_for_status()
    assert listed.json()["data"][-1]["content"][0]["text"] == "".join(pieces)
    return pieces


run(create, add)
