from __future__ import annotations

from base64 import b64encode

import orjson
import pytest

from sidecar.messages.sockets.bokeh_files import FileInputs, data_of, opened, places, text_of

INPUT = {"id": "p7"}


def changed(attr: str, new: object, model: object = INPUT) -> dict[str, object]:
    return {"kind": "ModelChanged", "model": model, "attr": attr, "new": new}


def data(content: bytes) -> str:
    return b64encode(content).decode()


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([changed("value", "QUJD"), changed("filename", "a.txt")], {("events", 0)}),
        ([changed("mime_type", ["text/plain"]), changed("value", ["QUJD", "REU="])], {("events", 1)}),
        ([changed("value", "QUJD")], set()),
        ([changed("value", "QUJD", {"id": "p8"}), changed("filename", "a.txt")], set()),
        ([changed("value", "no data"), changed("filename", "a.txt")], set()),
        ([changed("value_input", "QUJD"), changed("filename", "a.txt")], set()),
    ],
    ids=["one file", "several files", "no name", "the name of another model", "a text", "a draft"],
)
def test_files_are_values_beside_a_name_or_a_type(events, expected):
    assert places({"events": events}) == expected


@pytest.mark.parametrize("value", [None, [], {}, {"events": {}}, {"events": [1, "x"]}], ids=str)
def test_other_values_hold_no_file(value):
    assert places(value) == set()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a <b>\r\n\tend", "a <b>\r\n\tend"),
        ("\ufeffname,Größe".encode(), "name,Größe"),
        (b"", ""),
        (b"\x89PNG\r\n\x1a\n\x00", None),
        (b"text\x00with a zero", None),
        (b"caf\xe9", None),
        ("text".encode("utf-16"), None),
    ],
    ids=["text", "byte order mark", "empty", "picture", "zero byte", "latin-1", "utf-16"],
)
def test_a_text_file_is_one_in_utf_8(content: bytes, expected: str | None):
    assert text_of(data(content)) == expected


def test_missing_padding_and_what_is_no_base64():
    assert text_of("QUI") == "AB"
    assert text_of("QUJDR") is None


def page(*names: str) -> bytes:
    """Return a document with models of these names, as a server sends it."""
    models = [{"type": "object", "name": name, "id": f"p{at}", "attributes": {}} for at, name in enumerate(names)]
    return orjson.dumps({"doc": {"roots": models}})


def inputs(*names: str) -> FileInputs:
    learned = FileInputs()
    learned.learn(page(*names))
    return learned


@pytest.mark.parametrize(
    ("name", "taken"), [("FileInput", True), ("app.widgets.MyFileInput", True), ("TextInput", False)]
)
def test_inputs_for_files_are_learned_from_documents(name, taken):
    assert inputs("Div", name).take({"model": {"id": "p1"}}) is taken
    assert not inputs("Div", name).take({"model": {"id": "p0"}})


@pytest.mark.parametrize("event", [{}, {"model": None}, {"model": {"id": 1}}, {"model": {"id": []}}], ids=str)
def test_other_events_are_for_no_input(event):
    assert not inputs("FileInput").take(event)


def test_a_text_that_is_echoed_makes_no_input():
    learned = FileInputs()
    learned.learn(orjson.dumps({"events": [{"new": '"name":"FileInput","id":"p1"'}]}))
    assert not learned.take({"model": {"id": "p1"}})


def test_inputs_are_bounded():
    assert not inputs(*["FileInput"] * 1001).take({"model": {"id": "p1000"}})


def test_files_are_opened_and_others_are_counted():
    files: set[tuple[object, ...]] = {("events", 0), ("events", 1), ("events", 2)}
    value = {"events": [{"model": {"id": "p0"}}] * 4}
    texts = [
        (("events", 0, "new"), data(b"<b>")),
        (("events", 1, "new"), data(b"\x00")),
        (("events", 2, "new"), ""),
        (("events", 3, "new"), "note.txt"),
    ]
    found = [(("events", 0, "new"), "<b>"), (("events", 3, "new"), "note.txt")]
    assert opened(value, texts, files, inputs("FileInput")) == (found, {}, 1)
    assert data_of("&lt;b>") == data(b"&lt;b>")


def test_data_for_an_input_without_files_is_a_text():
    texts = [(("events", 0, "new"), "lettersonly"), (("events", 1, "new"), data(b"a text"))]
    files: set[tuple[object, ...]] = {("events", 0), ("events", 1)}
    value = {"events": [{"model": {"id": "p0"}}] * 2}
    found = [texts[0], (("events", 1, "new"), "a text")]
    assert opened(value, texts, files, inputs("TextInput")) == (found, {texts[0][0]: 11, texts[1][0]: 8}, 0)


def test_encoded_bytes_are_files_that_are_not_read():
    value = {"events": [{"new": {"type": "bytes", "data": data(b"<b>")}}, {"new": {"type": "x", "data": data(b"<b>")}}]}
    texts = [(("events", at, "new", "data"), data(b"<b>")) for at in (0, 1)]
    assert opened(value, texts, set(), FileInputs()) == (texts[1:], {}, 1)
