from __future__ import annotations

import json

from sidecar.decision import Finding
from sidecar.messages.sockets.results import KeepMessage, RefuseMessage, RewriteMessage
from sidecar.vocabulary import Event
from tests.support.sockets import inspector


def update(**data: object) -> str:
    return json.dumps(
        {"method": "update", "data": {name.replace("__", ":shinychat."): each for name, each in data.items()}}
    )


def test_a_chat_message():
    found = inspector("shiny").text(update(chat_user_input__userInput={"text": "<b>", "attachments": [], "seq": 1}))
    assert isinstance(found, RewriteMessage)
    assert found.messages[0].data.decode() == update(
        chat_user_input__userInput={"text": "&lt;b>", "attachments": [], "seq": 1}
    )
    assert found.counts


def test_what_the_browser_says_of_itself_has_any_length():
    init = json.dumps({"method": "init", "data": {".clientdata_url_search": "?x=" + "y" * 50, "n": 1}})
    found = inspector("shiny").text(init)
    assert isinstance(found, KeepMessage)
    assert not found.counts


def test_a_typed_value_is_bounded_and_does_not_count():
    found = inspector("shiny").text(update(name="hello"))
    assert isinstance(found, KeepMessage)
    assert not found.counts
    assert isinstance(inspector("shiny").text(update(name="x" * 21)), RefuseMessage)


def test_a_pressed_button_counts():
    found = inspector("shiny").text(json.dumps({"method": "update", "data": {"go:shiny.action": 1}}))
    assert isinstance(found, KeepMessage)
    assert found.counts


def test_passwords_arrive_as_typed():
    found = inspector("shiny").text(json.dumps({"method": "update", "data": {"p:shiny.password": "<b>" * 9}}))
    assert isinstance(found, KeepMessage)


def test_a_refusal_is_a_note_and_ends_the_wait():
    found = inspector("shiny").text(update(chat_user_input__userInput={"text": "x" * 21}))
    assert isinstance(found, RefuseMessage)
    note, action = (json.loads(each.data) for each in found.replies)
    assert note["notification"]["message"]["html"] == "The message is too long"
    assert action == {"custom": {"shinyChatMessage": {"id": "chat", "action": {"type": "remove_loading"}}}}


def test_other_messages():
    assert isinstance(
        inspector("shiny").text('{"method":"uploadInit","args":[[{"name":"note.txt","size":31}]],"tag":0}'), KeepMessage
    )
    assert isinstance(inspector("shiny").text('{"data":{}}'), RefuseMessage)


def test_an_attached_file_is_not_reported_as_read():
    file = {"mime": "text/plain", "name": "a.txt", "size": 3, "data_url": "data:text/plain;base64,PGI+" + "QUJD" * 20}
    found = inspector("shiny").text(update(chat_user_input__userInput={"text": "hi", "attachments": [file], "seq": 1}))
    assert isinstance(found, KeepMessage)
    assert (found.texts, found.findings) == (3, (Finding(Event.MESSAGE_UNREADABLE, {"reason": "file", "files": 1}),))
    file["data_url"] = "<b>"
    found = inspector("shiny").text(update(chat_user_input__userInput={"text": "hi", "attachments": [file], "seq": 1}))
    assert isinstance(found, RewriteMessage)


def test_a_message_that_was_not_kept_is_refused_where_its_chat_waits():
    head = update(chat_user_input__userInput={"text": "x" * 100})[:100].encode()
    found = inspector("shiny").too_big(head, 5_000_000, binary=False)
    assert isinstance(found, RefuseMessage)
    note, ended = (json.loads(each.data) for each in found.replies)
    assert note["notification"]["message"]["html"] == "The message is too long"
    assert ended == {"custom": {"shinyChatMessage": {"id": "chat", "action": {"type": "remove_loading"}}}}
    assert len(inspector("shiny").too_big(b'{"method"', 5_000_000, binary=False).replies) == 1
