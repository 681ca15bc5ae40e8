"""A form that is inspected has one reading: other parsers find the same text, and a change reaches all of them."""

from __future__ import annotations

import email.parser
import email.policy
from urllib.parse import parse_qsl

import engine

with engine.instrumented():
    from sidecar.messages.field_names import FormNames, folded
    from sidecar.messages.forms import multipart, put_back, urlencoded

NAMES = FormNames(["message", "user_message"])
TEXTS = ("", "x", "&lt;b>", "a&b=c+d%;", "\u00e9\U0001f600", " ")


def form_pairs(body: bytes) -> list[tuple[str, str]]:
    pairs = parse_qsl("".join(f"%{byte:02x}" if byte > 0x7F else chr(byte) for byte in body), keep_blank_values=True)
    return [(name, text) for name, text in pairs if "\ufffd" not in name]


def mail_pairs(body: bytes) -> list[tuple[str, str]]:
    """Read multipart by an independent parser: the one for mail."""
    whole = b"Content-Type: multipart/form-data; boundary=b\r\n\r\n" + body
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(whole)
    found = []
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        found.append((str(name), part.get_payload(decode=True).decode("utf-8", "replace")))
    return found


def target(data: engine.atheris.FuzzedDataProvider) -> None:
    quoted, text = data.ConsumeBool(), TEXTS[data.ConsumeIntInRange(0, len(TEXTS) - 1)]
    body = data.ConsumeBytes(data.remaining_bytes())
    fields = urlencoded(body, NAMES) if quoted else multipart(body, b"b", NAMES)
    if isinstance(fields, str):
        return
    pairs = form_pairs if quoted else mail_pairs
    seen = pairs(body)
    named = [(name, value) for name, value in seen if folded(name) in {"message", "usermessage"}]
    assert sorted(name for name, _ in named) == sorted(field.name for field in fields)
    if quoted:
        assert dict(named) == {field.name: field.text for field in fields}
    changes = {field.name: text for field in fields if field.text}  # an empty text is never changed
    made = put_back(body, fields, changes, quoted=quoted)
    if quoted or b"--b" not in text.encode():
        again = urlencoded(made, NAMES) if quoted else multipart(made, b"b", NAMES)
        assert not isinstance(again, str)
        assert {field.name: field.text for field in again} == {field.name: field.text for field in fields} | changes
    assert put_back(body, fields, {}, quoted=quoted) == body


if __name__ == "__main__":
    engine.fuzz(
        target, b"message=", b"user_message=", b"&", b"%6d", b"%00", b"+", b";", b"[]", b"_charset_=utf-8", b"--b\r\n", b"\r\n--b--",
        b'Content-Disposition: form-data; name="message"\r\n\r\n', b'; filename="a"', b"; filename*=utf-8''a", b"Content-Type: text/plain\r\n",
        b'--b\r\nContent-Disposition: form-data; name="message"\r\n\r\nx\r\n--b--\r\n', b"message=x&a=%C3%A9",
    )  # fmt: skip
