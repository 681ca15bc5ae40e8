"""The sealed format: its vectors, three independent readers, and every way to spoil an entry."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.secret import Secret
from sidecar.vault import cipher
from sidecar.vault.errors import Undecryptable
from sidecar.vault.format import (
    HEADER_SIZE,
    Binding,
    Envelope,
    Payload,
    additional_data,
    decode_payload,
    encode_payload,
    parse_bytes,
    parse_text,
)
from tests.support import reference
from tests.support.tools import need

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "vault.json").read_text())
ENTRIES = [pytest.param(entry, id=entry["name"]) for entry in VECTORS["entries"]]
FIRST = VECTORS["entries"][0]
KEY = bytes.fromhex(FIRST["key"])


def row(entry: dict[str, Any]) -> Binding:
    return Binding(entry["organization"], entry["credential"], entry["provider"], entry["version"])


ROW = row(FIRST)


@pytest.mark.parametrize("entry", ENTRIES)
def test_the_vault_opens_its_vectors(entry: dict[str, Any]) -> None:
    envelope = parse_text(entry["envelope"])
    assert envelope.key_id.hex() == entry["key_id"]
    assert envelope.iterations == entry["iterations"]
    assert envelope.format == entry["format"]
    assert additional_data(envelope, row(entry)).hex() == entry["additional_data"]
    key = cipher.derive(reference.password(entry["secret"], entry["variable"]), envelope.salt, envelope.iterations)
    assert key.hex() == entry["key"]
    payload = cipher.unseal(key, envelope, row(entry))
    assert encode_payload(payload).decode() == entry["plaintext"]
    assert envelope.to_text() == entry["envelope"]


@pytest.mark.parametrize("entry", ENTRIES)
def test_python_without_the_vault_opens_them(entry: dict[str, Any]) -> None:
    place = (entry["organization"], entry["credential"], entry["provider"], entry["version"])
    opened = reference.open_entry(entry["envelope"], entry["secret"], entry["variable"], *place)
    assert opened == json.loads(entry["plaintext"])
    assert reference.key_id(entry["secret"], entry["variable"]).hex() == entry["key_id"]


def test_node_opens_them() -> None:
    script = Path(__file__).parent / "open_entry.mjs"
    done = subprocess.run(
        [need("node"), str(script)], input=json.dumps(VECTORS), capture_output=True, text=True, timeout=60, check=True
    )
    assert json.loads(done.stdout) == {
        "opened": [entry["plaintext"] for entry in VECTORS["entries"]],
        "key_ids": [entry["key_id"] for entry in VECTORS["entries"]],
        "refused": len(VECTORS["refused"]),
    }


def opened(case: dict[str, Any]) -> Payload:
    """Open a row's envelope with the first entry's secret."""
    envelope = parse_text(case["envelope"])
    if envelope.key_id.hex() != FIRST["key_id"]:
        raise Undecryptable
    key = cipher.derive(FIRST["secret"].encode(), envelope.salt, envelope.iterations)
    return cipher.unseal(key, envelope, row(case))


@pytest.mark.parametrize("case", [pytest.param(case, id=case["why"]) for case in VECTORS["refused"]])
def test_what_must_not_open_does_not(case: dict[str, Any]) -> None:
    with pytest.raises(Undecryptable) as refused:
        opened(case)
    assert str(refused.value) == str(Undecryptable())


def test_no_byte_can_be_changed() -> None:
    whole = parse_text(FIRST["envelope"]).to_bytes()
    for at in range(len(whole)):
        for flip in (0x01, 0x80):
            spoiled = whole[:at] + bytes([whole[at] ^ flip]) + whole[at + 1 :]
            with pytest.raises(Undecryptable) as refused:
                cipher.unseal(KEY, parse_bytes(spoiled), ROW)
            assert str(refused.value) == str(Undecryptable()), at


def test_no_end_can_be_cut() -> None:
    whole = parse_text(FIRST["envelope"]).to_bytes()
    for size in range(len(whole)):
        with pytest.raises(Undecryptable):
            cipher.unseal(KEY, parse_bytes(whole[:size]), ROW)


def test_another_key_does_not_open() -> None:
    with pytest.raises(Undecryptable):
        cipher.unseal(bytes(32), parse_text(FIRST["envelope"]), ROW)


def test_sealing_twice_shares_no_iv() -> None:
    blank = Envelope(100_000, bytes(8), cipher.new_salt(), b"")
    payload = Payload(Secret("value"), ("a.example",), None)
    first, second = (cipher.seal(KEY, blank, ROW, payload) for _ in range(2))
    assert first.iv != second.iv
    assert first.sealed != second.sealed


@given(st.text())
def test_any_text_is_an_envelope_or_one_refusal(text: str) -> None:
    with pytest.raises(Undecryptable):
        parse_text("scv2:" + text)


@given(st.binary(min_size=HEADER_SIZE + 16, max_size=200))
def test_bytes_have_one_spelling(tail: bytes) -> None:
    data = b"SCV\2\1" + (200_000).to_bytes(4, "big") + tail
    assert parse_bytes(data).to_bytes() == data
    assert parse_text(parse_bytes(data).to_text()).to_bytes() == data


names = st.text(max_size=8)


versions = st.integers(0, 3) | st.integers(0, 2**64 - 1)
places = st.tuples(names, names, names, versions)


@given(places, places)
def test_additional_data_tells_places_apart(one: tuple[str, str, str, int], other: tuple[str, str, str, int]) -> None:
    envelope = Envelope(100_000, bytes(8), bytes(16), bytes(12))
    same = additional_data(envelope, Binding(*one)) == additional_data(envelope, Binding(*other))
    assert same == (one == other)


PLAIN = [
    pytest.param(b"", id="empty"),
    pytest.param(b"\xff", id="not text"),
    pytest.param(b"[]", id="a list"),
    pytest.param(b'{"hosts":[],"value":"x"}', id="no expiry"),
    pytest.param(b'{"expires_at":null,"hosts":[],"value":"x","more":1}', id="a member too many"),
    pytest.param(b'{"expires_at":true,"hosts":[],"value":"x"}', id="expiry is a boolean"),
    pytest.param(b'{"expires_at":1.5,"hosts":[],"value":"x"}', id="expiry is a fraction"),
    pytest.param(b'{"expires_at":null,"hosts":"a","value":"x"}', id="hosts is a text"),
    pytest.param(b'{"expires_at":null,"hosts":[1],"value":"x"}', id="a host is a number"),
    pytest.param(b'{"expires_at":null,"hosts":[],"value":null}', id="no value"),
]


@pytest.mark.parametrize("plain", PLAIN)
def test_a_strange_payload_is_refused(plain: bytes) -> None:
    with pytest.raises(Undecryptable):
        decode_payload(plain)


@pytest.mark.parametrize("iterations", [0, 1, 99_999, 5_000_001])
def test_too_few_or_too_many_iterations_are_not_derived(iterations: int) -> None:
    with pytest.raises(ValueError, match="between"):
        cipher.derive(b"x" * 32, bytes(16), iterations)


def test_the_format_page_names_what_the_code_does() -> None:
    page = (Path(cipher.__file__).parent / "FORMAT.md").read_text()
    rows = dict(re.findall(r"^\| (\d+) \| (\d+) \|", page, flags=re.MULTILINE))
    assert rows == {"0": "3", "3": "1", "4": "1", "5": "4", "9": "8", "17": "16", "33": "12"}
    assert f"Bytes 0 to {HEADER_SIZE - 1}" in page
