"""Known secrets do not pass, however they are written and wherever the stream is cut."""

from __future__ import annotations

import base64
import string

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from sidecar.redaction.matcher import SecretMatcher
from sidecar.redaction.scanner import MARK
from sidecar.secret import Secret
from tests.support.redaction import SPELLINGS, cut, every, run, units

KEY = 'sk-proj-Ab/9+z_Q%2"ok\\x-0123456789'
OTHER = "sk-proj-Ab/9+zzzz-another-one"


def matcher(*secrets: str) -> SecretMatcher:
    return SecretMatcher(map(Secret, secrets))


secrets = st.text(string.ascii_letters + string.digits + "-_.~+/=:%\\\"' é€😀\n", min_size=8, max_size=40).filter(
    lambda s: len(set(s)) > 4
)
places = st.lists(st.integers(0, 4000), max_size=12)


def spelled(draw: st.DrawFn, secret: str) -> bytes:
    """Write each character its own way."""
    ways = [
        lambda c: c.encode() if c not in '"\\\n' else {'"': b'\\"', "\\": b"\\\\", "\n": b"\\n"}[c],
        lambda c: b"".join(b"\\u%04x" % u for u in units(c)),
        lambda c: b"".join(b"\\u%04X" % u for u in units(c)),
        lambda c: "".join(f"%{b:02X}" for b in c.encode()).encode(),
        lambda c: "".join(f"%25{b:02x}" for b in c.encode()).encode(),
        lambda c: b"\\/" if c == "/" else c.encode() if c not in '"\\\n%' else b"%%%02x" % ord(c),
    ]
    return b"".join(draw(st.sampled_from(ways))(c) for c in secret)


@st.composite
def mixed(draw: st.DrawFn) -> tuple[str, bytes]:
    secret = draw(secrets)
    return secret, spelled(draw, secret)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 10_000])
@pytest.mark.parametrize("way", SPELLINGS)
def test_every_spelling_at_every_chunk_size(way: str, size: int) -> None:
    text = SPELLINGS[way](KEY)
    clean = run(matcher(KEY, OTHER).filter(), every(b"<p>head " + text + b" tail</p>", size))
    assert clean.startswith(b"<p>head ")
    assert clean.endswith(b" tail</p>")
    assert clean.count(MARK) == 1
    assert len(clean) < 60


@settings(deadline=None)  # automata are built for each example, on whatever machine this is
@given(
    secret=secrets,
    way=st.sampled_from(sorted(SPELLINGS)),
    before=st.binary(max_size=40),
    after=st.binary(max_size=40),
    at=places,
)
@example(secret="aaaaaaaabcde", way="raw", before=b"aaaaaaaa", after=b"", at=[3, 9, 12])
@example(secret='0000%12"', way="json", before=b"", after=b"", at=[9])
@example(secret='a"b\\c%41\n"', way="json-thrice", before=b"", after=b"", at=list(range(60)))
@example(secret="0000\n000123", way="json-twice", before=b"", after=b"", at=[7])
@example(secret="00001%23", way="url", before=b"", after=b"", at=[])
@example(secret='\\u0073k-\\n/"', way="json-twice", before=b"", after=b"", at=[5])
def test_no_spelling_of_any_secret_passes(secret: str, way: str, before: bytes, after: bytes, at: list[int]) -> None:
    text = SPELLINGS[way](secret)
    stream = matcher(secret).filter()
    clean = run(stream, cut(before + text + after, at))
    needle = text if "base64" not in way else text[4:-8]
    assume(needle not in before + b"\0" + after)
    assert needle not in clean
    assert stream.counts["known"] >= 1
    whole = run(matcher(secret).filter(), [before + text + after])
    # A backslash at the edge of what is replaced may stay on either side of it.
    assert clean.replace(b"\\", b"") == whole.replace(b"\\", b""), "chunking changes nothing"


@settings(deadline=None)  # automata are built for each example, on whatever machine this is
@given(pair=mixed(), at=places)
def test_any_mix_of_escapes(pair: tuple[str, bytes], at: list[int]) -> None:
    secret, text = pair
    stream = matcher(secret).filter()
    clean = run(stream, cut(b"<" + text + b">", at))
    assert text not in clean
    assert stream.counts == {"known": 1}
    assert clean.startswith(b"<")
    assert clean.endswith(b">")


@settings(deadline=None)  # automata are built for each example, on whatever machine this is
@given(text=st.binary(max_size=400), at=places)
@example(text=b"sk-proj-sk-proj-sk-pro\\u0073\\u006b\\\\\\\\%25%73%6b", at=list(range(60)))
@example(text=b"%25%25%25%2%\\\\\\\\\\\\\\\\\\\\\\\\u\\u0", at=list(range(60)))
def test_what_holds_no_secret_is_unchanged(text: bytes, at: list[int]) -> None:
    stream = matcher(KEY, OTHER).filter()
    assert run(stream, cut(text, at)) == text
    assert stream.counts == {}


@settings(deadline=None)  # automata are built for each example, on whatever machine this is
@given(text=st.text("sk-proj/\\u07b%A9+", max_size=300), at=places)
def test_near_misses_are_unchanged(text: str, at: list[int]) -> None:
    assert run(matcher(KEY, OTHER).filter(), cut(text.encode(), at)) == text.encode()


@pytest.mark.parametrize(
    ("chunk", "held"),
    [
        pytest.param(b"nothing there!", b"", id="ends-in-another-word"),
        pytest.param(b'{"a":"task"}', b"", id="ends-in-a-brace"),
        pytest.param(b"say sk-pro", b"sk-pro", id="plain-prefix"),
        pytest.param(b"say sk-prom", b"", id="the-prefix-is-dead"),
        pytest.param(b"say sk-pro%2", b"sk-pro%2", id="url-escape-of-an-escape"),
        pytest.param(b"say \\u0073\\u006", b"\\u0073\\u006", id="escaped-prefix"),
        pytest.param(b"say %73%6", b"%73%6", id="url-prefix"),
        pytest.param(b"say sk-proj-sk-pr", b"sk-pr", id="only-the-live-one"),
    ],
)
def test_only_a_live_prefix_waits(chunk: bytes, held: bytes) -> None:
    stream = matcher("sk-proj-0123456789").filter()
    sent = stream.feed(chunk)
    assert sent + held == chunk
    assert sent + stream.finish() == chunk


def test_what_waits_is_bounded() -> None:
    known = matcher("a" * 40, "a" * 39 + "b")
    stream = known.filter()
    sent = sum(len(stream.feed(b"a")) for _ in range(5000))
    assert known.reach < 5000
    assert sent > 0, "an endless run of overlapping hits is one mark, not an endless buffer"
    assert len(stream._held) <= known.reach


def test_overlapping_secrets_leave_nothing_of_either() -> None:
    known = matcher("abcdefgh-sk-proj", "sk-proj-12345678")
    for size in range(1, 30):
        assert run(known.filter(), every(b"(abcdefgh-sk-proj-12345678)", size)) == b"([redacted])"


def test_a_longer_secret_wins_over_its_beginning() -> None:
    known = matcher("sk-12345678", "sk-12345678-and-more")
    for size in range(1, 30):
        assert (
            run(known.filter(), every(b"(sk-12345678-and-more sk-12345678-and)", size))
            == b"([redacted] [redacted]-and)"
        )


def test_many_secrets_that_begin_alike() -> None:
    known = matcher(*(f"sk-proj-{number:06d}-{number * 7919 % 99991:05d}xyz" for number in range(500)))
    text = b" ".join(b"sk-proj-%06d-%05dxyz" % (number, number * 7919 % 99991) for number in range(0, 500, 50))
    assert run(known.filter(), every(text, 11)) == b" ".join([MARK] * 10)
    assert run(known.filter(), every(b"sk-proj-000001-00000xyz", 5)) == b"sk-proj-000001-00000xyz"


def test_short_secrets_are_counted_not_searched() -> None:
    known = matcher("short", "sk-12345678")
    assert (known.size, known.skipped) == (1, 1)
    assert run(known.filter(), [b"a short text"]) == b"a short text"
    assert run(matcher().filter(), [b"a short text"]) == b"a short text"


def test_nothing_shows_a_secret() -> None:
    known = matcher(KEY)
    stream = known.filter()
    stream.feed(KEY[:12].encode())
    assert KEY[:9] not in f"{known!r} {known} {stream!r} {stream}"


@pytest.mark.parametrize("next_to", [b'"', b" ", b"}", b"\n"])
def test_no_more_than_base64_is_read_as_base64(next_to: bytes) -> None:
    for character in "f_Zz9":
        key = f"sk-proj-012345{character}"
        for encoded in (base64.b64encode(key.encode()), key.encode().hex().encode()):
            for at in range(8, len(encoded)):
                torn = encoded[:at] + next_to + encoded[at + 1 :]
                clean = run(matcher(key).filter(), [b"{" + torn + b"}"])
                assert next_to in clean[1:-1], "what stands between two texts stays"
