from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.messages.splice import splice
from sidecar.messages.strict_json import MAX_DEPTH, MAX_TOKENS, Fault, parse

REFUSED = [
    ("empty", b"", Fault.NOT_JSON),
    ("blank", b" ", Fault.NOT_JSON),
    ("trailing text", b'{"a":1} x', Fault.NOT_JSON),
    ("two values", b'{"a":1}{"a":2}', Fault.NOT_JSON),
    ("trailing comma", b'{"a":1,}', Fault.NOT_JSON),
    ("comment", b'{"a":1/* x */}', Fault.NOT_JSON),
    ("single quotes", b"{'a':1}", Fault.NOT_JSON),
    ("bare key", b"{a:1}", Fault.NOT_JSON),
    ("NaN", b'{"a":NaN}', Fault.NOT_JSON),
    ("Infinity", b'{"a":-Infinity}', Fault.NOT_JSON),
    ("hexadecimal", b'{"a":0x1F}', Fault.NOT_JSON),
    ("leading zero", b'{"a":01}', Fault.NOT_JSON),
    ("plus", b'{"a":+1}', Fault.NOT_JSON),
    ("raw newline", b'{"a":"x\ny"}', Fault.NOT_JSON),
    ("raw NUL", b'{"a":"x\x00"}', Fault.NOT_JSON),
    ("NUL behind", b'{"a":"x"}\x00', Fault.NOT_JSON),
    ("bad escape", b'{"a":"\\x41"}', Fault.NOT_JSON),
    ("high surrogate alone", b'{"a":"\\ud800"}', Fault.NOT_JSON),
    ("low surrogate alone", b'{"a":"\\udc00"}', Fault.NOT_JSON),
    ("surrogates reversed", b'{"a":"\\udc00\\ud800"}', Fault.NOT_JSON),
    ("surrogate in a key", b'{"\\ud800":1}', Fault.NOT_JSON),
    ("surrogate as UTF-8", b'{"a":"\xed\xa0\x80"}', Fault.NOT_UTF8),
    ("overlong", b'{"a":"\xc0\xbc"}', Fault.NOT_UTF8),
    ("Latin-1", b'{"a":"\xe9"}', Fault.NOT_UTF8),
    ("cut UTF-8", b'{"a":"\xe2\x82"}', Fault.NOT_UTF8),
    ("beyond Unicode", b'{"a":"\xf4\x90\x80\x80"}', Fault.NOT_UTF8),
    ("UTF-8 mark", b'\xef\xbb\xbf{"a":1}', Fault.BYTE_ORDER_MARK),
    ("UTF-16", '{"a":1}'.encode("utf-16"), Fault.BYTE_ORDER_MARK),
    ("UTF-16 without mark", '{"a":1}'.encode("utf-16-le"), Fault.NOT_JSON),
    ("same key twice", b'{"a":1,"a":2}', Fault.DUPLICATE_KEY),
    ("same key and value", b'{"a":1,"a":1}', Fault.DUPLICATE_KEY),
    ("same key escaped", b'{"a":1,"\\u0061":2}', Fault.DUPLICATE_KEY),
    ("same key far below", b'{"x":[{"y":{"k":1,"j":2,"k":3}}]}', Fault.DUPLICATE_KEY),
    ("hidden by an escaped colon", b'{"m":"x","m":"y","z":"\\u003a"}', Fault.DUPLICATE_KEY),
    ("hidden by \\u003A", b'{"z":"\\u003A","m":"x","m":"y"}', Fault.DUPLICATE_KEY),
    ("dropped value holds colons", b'{"m":"::::","m":"y"}', Fault.DUPLICATE_KEY),
    ("key with a colon", b'{"a:":1,"a:":2}', Fault.DUPLICATE_KEY),
    ("key with a quote", b'{"\\"":1,"\\u0022":2}', Fault.DUPLICATE_KEY),
    ("too deep", b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), Fault.TOO_DEEP),
    ("too deep, objects", b'{"a":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1), Fault.TOO_DEEP),
    ("unclosed", b"[" * 100_000, Fault.NOT_JSON),
    ("too complex", b"[" + b",".join([b"[]"] * MAX_TOKENS) + b"]", Fault.TOO_COMPLEX),
]


@pytest.mark.parametrize(("body", "fault"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_refuses(body, fault):
    assert parse(body) is fault


READ = [
    b"{}",
    b' {"a" : 1 }\r\n',
    b'{"a":"\\ud83d\\ude00"}',
    '{"a":"é😀 "}'.encode(),
    b'{"a":{"k":1},"b":{"k":1}}',
    b'{"a":"b","c":"a:b:\\"a\\":"}',
    b'{"a":"\\u003a","b":1}',
    b'[{"a":1},{"a":1},"a","a"]',
    b"[" * MAX_DEPTH + b"]" * MAX_DEPTH,
    b"[" + b",".join([b"{}"] * 500) + b"]",
    b'"text"',
    b'{"":0,"\\u0000":1}',
    b'{"k":"not a fault: too_deep"}',
]


@pytest.mark.parametrize("body", READ, ids=[body[:24].decode() for body in READ])
def test_reads(body):
    assert parse(body) == json.loads(body)


def test_a_text_that_spells_a_fault_is_a_text():
    assert type(parse(b'"duplicate_key"')) is str


SPLICED = [
    ("one", b'{"m":"x"}', {("m",): "<y>"}, b'{"m":"<y>"}'),
    ("white space stays", b'{ "m" :\t"x" , "n": 1.0e+05 }\n', {("m",): "y"}, b'{ "m" :\t"y" , "n": 1.0e+05 }\n'),
    (
        "numbers as written",
        b'{"n":12345678901234567890123,"m":"x"}',
        {("m",): "y"},
        b'{"n":12345678901234567890123,"m":"y"}',
    ),
    ("escapes elsewhere stay", b'{"k":"\\u003c\\/","m":"x"}', {("m",): "y"}, b'{"k":"\\u003c\\/","m":"y"}'),
    ("an escaped key", b'{"\\u006d":"x"}', {("m",): "y"}, b'{"\\u006d":"y"}'),
    ("same text, other place", b'{"a":"x","m":"x","b":["x"]}', {("m",): "y"}, b'{"a":"x","m":"y","b":["x"]}'),
    ("in arrays", b'[[],{"a":["p",[1],"q"]},"r"]', {(1, "a", 2): "Q", (2,): "R"}, b'[[],{"a":["p",[1],"Q"]},"R"]'),
    ("text like structure", b'{"a":"]},\\"m\\":","m":"x"}', {("m",): "y"}, b'{"a":"]},\\"m\\":","m":"y"}'),
    ("same name below", b'{"a":{"m":"x"},"m":"x"}', {("m",): "y"}, b'{"a":{"m":"x"},"m":"y"}'),
    ("quotes are escaped", b'{"m":"x"}', {("m",): '"\\\n\x01'}, b'{"m":"\\"\\\\\\n\\u0001"}'),
    ("the root", b' "x" ', {(): "y"}, b' "y" '),
    ("nothing", b'{"m":"x"}', {}, b'{"m":"x"}'),
]


@pytest.mark.parametrize(("body", "changes", "out"), [row[1:] for row in SPLICED], ids=[row[0] for row in SPLICED])
def test_splices(body, changes, out):
    assert splice(body, changes) == out


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


def strings(value, place=()):
    if isinstance(value, str):
        yield place
    elif isinstance(value, list):
        for index, one in enumerate(value):
            yield from strings(one, (*place, index))
    elif isinstance(value, dict):
        for name, one in value.items():
            yield from strings(one, (*place, name))


def with_changes(value, changes, place=()):
    if place in changes:
        return changes[place]
    if isinstance(value, list):
        return [with_changes(one, changes, (*place, index)) for index, one in enumerate(value)]
    if isinstance(value, dict):
        return {name: with_changes(one, changes, (*place, name)) for name, one in value.items()}
    return value


def writings(value):
    """The same document in several spellings."""
    yield json.dumps(value).encode()
    yield json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    yield json.dumps(value, indent=3).encode()


@settings(max_examples=300, deadline=None, derandomize=True)
@given(VALUES, st.data())
def test_splice_changes_nothing_but_what_it_should(value, data):
    places = list(strings(value))
    chosen = data.draw(st.sets(st.sampled_from(places))) if places else set()
    changes = {place: data.draw(TEXT) for place in sorted(chosen, key=repr)}
    for body in writings(value):
        assert parse(body) == json.loads(body) or "e" in body.decode()
        spliced = splice(body, changes)
        assert json.loads(spliced) == with_changes(json.loads(body), changes)
        assert splice(spliced, changes) == spliced


def pairs(items):
    names = [name for name, _ in items]
    if len(set(names)) < len(names):
        raise KeyError("twice")
    return dict(items)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(
    st.recursive(
        st.sampled_from(["1", '"x"', '":"', '"\\u003a"', '"\\":"', "null"]),
        lambda inner: (
            st.lists(inner, max_size=4).map(lambda xs: "[" + ",".join(xs) + "]")
            | st.lists(
                st.tuples(st.sampled_from(['"a"', '"b"', '"\\u0061"', '":"', '"\\u003A"', '"a:"']), inner), max_size=4
            ).map(lambda xs: "{" + ",".join(f"{k}:{v}" for k, v in xs) + "}")
        ),
        max_leaves=10,
    )
)
def test_duplicate_keys_are_found_as_an_independent_reader_finds_them(text):
    try:
        expected = json.loads(text, object_pairs_hook=pairs)
    except KeyError:
        expected = Fault.DUPLICATE_KEY
    assert parse(text.encode()) == expected


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.binary(max_size=60) | st.text('{}[]":,\\u0123eE+-. \n<', max_size=60).map(str.encode))
def test_no_input_raises(body):
    value = parse(body)
    if type(value) is Fault:
        return
    assert json.dumps(value, sort_keys=True) == json.dumps(json.loads(body), sort_keys=True) or any(
        c in body for c in b"eE.0123456789"
    )
