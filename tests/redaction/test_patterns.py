"""Keys of others go by their shape; words, ids, versions and links stay."""

from __future__ import annotations

import random
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.redaction.assignments import AssignmentScanner
from sidecar.redaction.patterns import SHAPES, ShapeScanner
from sidecar.redaction.scanner import Both, StreamFilter, clean
from tests.support.redaction import cut, every, run

ALL = ShapeScanner(SHAPES)
GENERIC = AssignmentScanner()
_DICE = random.Random(7)


def made(alphabet: str, count: int) -> str:
    """Return a random text: no real key stands in this file."""
    return "".join(_DICE.choice(alphabet) for _ in range(count))


ALNUM = string.ascii_letters + string.digits
HEX = "0123456789abcdef"
PEM = (
    "-----BEGIN RSA PRIVATE KEY-----\n"
    + "\n".join(made(ALNUM + "+/", 64) for _ in range(20))
    + "\n-----END RSA PRIVATE KEY-----"
)
KEYS = {
    "openai": "sk-proj-" + made(ALNUM, 40),
    "anthropic": "sk-ant-api03-" + made(ALNUM + "-_", 80),
    "google": "AIza" + made(ALNUM, 35),
    "aws": "AKIA" + made(string.ascii_uppercase + string.digits, 16),
    "stripe": "sk_live_" + made(ALNUM, 24),
    "github": "ghp_" + made(ALNUM, 36),
    "gitlab": "glpat-" + made(ALNUM, 20),
    "slack": "xoxb-" + made(string.digits, 12) + "-" + made(ALNUM, 24),
    "private_key": PEM,
    "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJ" + made(ALNUM, 30) + "." + made(ALNUM, 43),
    "twilio": "SK" + made(HEX, 32),
    "sendgrid": "SG." + made(ALNUM, 22) + "." + made(ALNUM, 43),
    "azure": "8Q~" + made(ALNUM + "~._-", 31) + "4a1",
    "npm": "npm_" + made(ALNUM, 36),
    "pypi": "pypi-AgEIcHlwaS5vcmc" + made(ALNUM, 60),
    "huggingface": "hf_" + made(ALNUM, 34),
    "handle": "phk_" + made(ALNUM, 40),
    "cloud": "BUNDLE_GEMS__CONTRIBSYS__COM=" + made(HEX, 8) + ":" + made(HEX, 8),
    "url_password": "postgres://app:hunter2hunter2@db/x",
}


@pytest.mark.parametrize("size", [1, 3, 17, 5000])
@pytest.mark.parametrize("name", KEYS)
def test_a_key_goes_and_its_surroundings_stay(name: str, size: int) -> None:
    stream = StreamFilter(ShapeScanner([name]))
    text = run(stream, every(f'{{"key":"{KEYS[name]}"}} and more'.encode(), size))
    assert text.startswith(b'{"key":"')
    assert text.endswith(b'"} and more')
    assert KEYS[name][-12:].encode() not in text or name == "url_password"
    assert b"hunter2" not in text
    assert stream.counts == {name: 1}


@pytest.mark.parametrize("name", sorted(set(KEYS) - {"url_password"}))
@pytest.mark.parametrize("before", ["\\n", "%3D", "=", "", "key: "])
def test_escapes_in_front_do_not_hide_a_key(name: str, before: str) -> None:
    assert clean(f"{before}{KEYS[name]} ".encode(), ALL).endswith(b"[redacted] ")


@pytest.mark.parametrize("name", KEYS)
def test_a_name_that_is_not_listed_finds_nothing(name: str) -> None:
    others = ShapeScanner(SHAPES - {name, "openai"}) if name == "anthropic" else ShapeScanner(SHAPES - {name})
    counts: dict[str, int] = {}
    clean(KEYS[name].encode(), others, counts)
    assert name not in counts


HARMLESS = [
    "the task-force-for-better-documentation-and-tests met on 2026-01-31",
    "pip install scikit-learn sk-learn-contrib-something-or-other-2",
    "desk-organizer-with-4-drawers-and-2-shelves-2026-edition",
    "ek_68f1a0b2c3d4e5f6_0123456789abcdef0123456789abcdef0123456789abcdef",
    "chatcmpl-9f8e7d6c5b4a39281706f5e4d3c2b1a0 call_AbCdEf0123456789AbCdEf01",
    "resp_67ccd2bed1ec8190b14f964abc0542670bb6a6b452d3795b msg_67ccd2bf17f0819081ff3bb2cf6508e6",
    "they eyed every keyhole; eyJust a word. eye.eye",
    "commit 3be9aa7d9aaef29bc3ad490e9d853dce5200dfab, 550e8400-e29b-41d4-a716-446655440000",
    "https://example.com/api_org/hf_hub?npm_config=1&ghp_=2#dop_v1_",
    "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A\n-----END PUBLIC KEY-----",
    "ASIA is a continent; SKU SK1234567890; SG.MY.TH; AKIA alone",
    "max_tokens: 4096, token count = 12345, tokenizer=o200k_base",
    "Twitter: my-company-name-2024-report and github, version 12.4.1",
    "the secret is patience; password reset at 10:30 on 2026-01-02",
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ",
    "see http://localhost:8080/a@b and mailto:me@example.com",
]


@pytest.mark.parametrize("text", HARMLESS, ids=range(len(HARMLESS)))
@pytest.mark.parametrize("size", [1, 6, 1000])
def test_harmless_text_is_unchanged(text: str, size: int) -> None:
    assert run(StreamFilter(Both(ALL, GENERIC)), every(text.encode(), size)).decode() == text


ASSIGNED = [
    'api_key = "%s"',
    "ACME_SECRET: %s",
    '{"client_secret": "%s"}',
    '{\\"password\\":\\"%s\\"}',
    "export HEROKU_API_KEY=%s",
    "datadog_app => '%s'",
    "access_token=%s&x=1",
]


@pytest.mark.parametrize(
    ("name", "text", "shown"),
    [
        ("url_password", "redis://:s3cretpass@cache:6379/0", "redis[redacted]cache:6379/0"),
        ("url_password", "amqp://app:p4ss@mq", "amqp[redacted]mq"),
        ("authorization", "Authorization: Basic YWxhZGRpbjpvcGVuc2VzYW1l!", "Authorization: [redacted]!"),
        ("authorization", "authorization: bearer a1b2c3d4e5f6a1b2c3d4e5f6", "authorization: [redacted]"),
        ("authorization", "Basic authentication, Basic Informationen", None),
        ("authorization", "Bearer authentication-is-described-below", None),
        ("url_password", "http://localhost:8080/a@b ://: @", None),
    ],
)
def test_credentials_of_requests(name: str, text: str, shown: str | None) -> None:
    assert clean(text.encode(), ShapeScanner([name])).decode() == (text if shown is None else shown)


@pytest.mark.parametrize("name", ["PHPSESSID", "connect.sid", "sessionid", "session_cookie"])
def test_a_session_cookie_goes_as_a_generic_secret(name: str) -> None:
    text = f"Set-Cookie: {name}=a1b2c3d4e5f6a1b2c3d4e5f6; Path=/"
    assert clean(text.encode(), GENERIC).decode() == f"Set-Cookie: {name}=[redacted]; Path=/"


@pytest.mark.parametrize("size", [1, 5, 1000])
@pytest.mark.parametrize("form", ASSIGNED)
def test_an_assigned_value_goes_and_its_name_stays(form: str, size: int) -> None:
    value = "a1b2" + made(ALNUM, 28)
    text = run(StreamFilter(GENERIC), every((form % value + " end").encode(), size))
    assert text == (form % "[redacted]" + " end").encode()


@settings(deadline=None)  # automata are built for each example, on whatever machine this is
@given(text=st.text(max_size=300), at=st.lists(st.integers(0, 1000), max_size=10))
def test_chunking_changes_nothing(text: str, at: list[int]) -> None:
    for key in (KEYS["jwt"], KEYS["openai"], "token=a1b2c3d4e5f6a7b8c9"):
        whole = f"{text} {key}{text}".encode()
        scanner = Both(ALL, GENERIC)
        assert run(StreamFilter(scanner), cut(whole, at)) == clean(whole, scanner)


@pytest.mark.parametrize("endless", [b"sk-proj-", b"-----BEGIN PRIVATE KEY-----", b"eyJ", b"token=", b"://a"], ids=repr)
def test_what_waits_is_bounded(endless: bytes) -> None:
    scanner = Both(ALL, GENERIC)
    stream = StreamFilter(scanner)
    stream.feed(endless)
    for _ in range(300):
        stream.feed(b"a1" * 100)
        assert (
            len(stream._held) <= scanner.reach * 5 // 4 + 200
        )  # long ones are scanned when they have grown by a quarter


def test_a_key_that_the_stream_cuts_off_goes() -> None:
    stream = StreamFilter(ALL)
    assert stream.feed(b"key " + KEYS["github"].encode()) == b"key "
    assert stream.finish() == b"[redacted]"
