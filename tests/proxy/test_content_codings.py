"""Content codings: opened whatever the pieces, never more than was asked for, broken ones refused."""

from __future__ import annotations

import gzip
import zlib

import brotli
import pytest
from backports import zstd

from sidecar.proxy.content_codings import Decoder, Unreadable, accepted_codings, accepts, decoder, open_whole
from sidecar.proxy.strict_rules import Malformed

TEXT = b"".join(b'{"line": %d, "text": "some words of an answer"}\n' % number for number in range(3000))


def raw_deflate(data: bytes) -> bytes:
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return deflate.compress(data) + deflate.flush()


def wide_zstd(data: bytes) -> bytes:
    compressor = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 27})
    return compressor.compress(data, mode=zstd.ZstdCompressor.FLUSH_BLOCK) + compressor.flush()


HALVES = (TEXT[:1000], TEXT[1000:])
CODED = {
    "gzip": (b"gzip", gzip.compress(TEXT)),
    "x-gzip in capitals": (b"X-GZIP", gzip.compress(TEXT)),
    "two gzip members": (b"gzip", b"".join(map(gzip.compress, HALVES))),
    "an empty gzip member between": (b"gzip", gzip.compress(b"").join(map(gzip.compress, HALVES))),
    "gzip padded with zeros": (b"gzip", gzip.compress(TEXT) + bytes(512)),
    "deflate with its wrapper": (b"deflate", zlib.compress(TEXT)),
    "raw deflate": (b"deflate", raw_deflate(TEXT)),
    "brotli": (b"br", brotli.compress(TEXT, quality=5)),
    "zstd": (b"zstd", zstd.compress(TEXT)),
    "two zstd frames": (b"zstd", b"".join(map(zstd.compress, HALVES))),
    "two codings": (b"gzip, br", brotli.compress(gzip.compress(TEXT), quality=5)),
    "identity beside gzip": (b"identity, gzip", gzip.compress(TEXT)),
}


def opened(made: Decoder, coded: bytes, size: int, most: int = 1 << 16) -> bytes:
    found = b""
    for at in range(0, len(coded), size):
        made.push(coded[at : at + size])
        while piece := made.read(most):
            assert len(piece) <= 2 * most + 65536
            found += piece
    made.finish()
    return found


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
@pytest.mark.parametrize(("coding", "coded"), CODED.values(), ids=CODED)
def test_opened_in_any_pieces(coding, coded, size) -> None:
    made = decoder(coding)
    assert made is not None
    assert opened(made, coded, size) == TEXT


@pytest.mark.parametrize(("coding", "coded"), CODED.values(), ids=CODED)
def test_cut_short(coding, coded) -> None:
    made = decoder(coding)
    assert made is not None
    with pytest.raises(Malformed):
        opened(made, coded.rstrip(b"\0")[:-3], 4096)


@pytest.mark.parametrize("coding", [b"gzip", b"deflate", b"br", b"zstd"])
def test_no_body_at_all(coding) -> None:
    made = decoder(coding)
    assert made is not None
    assert opened(made, b"", 1) == b""


BROKEN = {
    "no gzip": (b"gzip", b"plain text"),
    "plain text behind gzip": (b"gzip", gzip.compress(TEXT) + b"plain"),
    "plain text behind deflate": (b"deflate", zlib.compress(TEXT) + b"plain"),
    "plain text behind brotli": (b"br", brotli.compress(TEXT) + b"plain"),
    "plain text behind zstd": (b"zstd", zstd.compress(TEXT) + b"plain"),
    "no brotli": (b"br", b"\xff" * 50),
    "a zstd window of 128 MiB": (b"zstd", wide_zstd(TEXT)),
    "members without end": (b"gzip", gzip.compress(b"") * 10_001),
}  # fmt: skip


@pytest.mark.parametrize(("coding", "coded"), BROKEN.values(), ids=BROKEN)
def test_broken(coding, coded) -> None:
    made = decoder(coding)
    assert made is not None
    with pytest.raises(Malformed):
        opened(made, coded, 4096)


BOMB = bytes(64 << 20)


@pytest.mark.parametrize(
    ("coding", "coded"),
    [
        pytest.param(b"gzip", gzip.compress(BOMB), id="gzip"),
        pytest.param(b"br", brotli.compress(BOMB, quality=1), id="br"),
        pytest.param(b"zstd", zstd.compress(BOMB), id="zstd"),
        pytest.param(b"gzip, gzip", gzip.compress(gzip.compress(BOMB)), id="gzip twice"),
    ],
)
def test_a_bomb_is_read_in_bounded_pieces(coding, coded) -> None:
    made = decoder(coding)
    assert made is not None
    pushed, total = 0, 0
    while pushed < len(coded):
        made.push(coded[pushed : pushed + 4096])
        pushed += 4096
        while piece := made.read(65536):
            assert len(piece) <= 196_608
            total += len(piece)
    assert total == len(BOMB)


@pytest.mark.parametrize("coding", [b"compress", b"gzip, unknown", b"gzip, gzip, gzip, gzip"])
def test_unknown_codings(coding) -> None:
    with pytest.raises(Unreadable):
        decoder(coding)


@pytest.mark.parametrize("coding", [None, b"", b"identity", b"Identity , "])
def test_plain(coding) -> None:
    assert decoder(coding) is None


ACCEPTED = {
    "browsers": (b"gzip, deflate, br, zstd", b"gzip, deflate, br, zstd"),
    "dictionaries are left out": (b"gzip, deflate, br, zstd, dcb, dcz", b"gzip, deflate, br, zstd"),
    "weights stay": (b"br;q=1.0, gzip;q=0.8, *;q=0.1", b"br;q=1.0, gzip;q=0.8"),
    "refusals stay": (b"gzip;q=0, br", b"gzip;q=0, br"),
    "a star": (b"*", b"identity"),
    "identity": (b"identity", b"identity"),
    "nothing": (None, b"identity"),
    "empty": (b"", b"identity"),
    "unknown": (b"compress", b"identity"),
    "endless": (b"gzip," * 1000, b"identity"),
}


@pytest.mark.parametrize(("said", "asked"), ACCEPTED.values(), ids=ACCEPTED)
def test_what_the_backend_is_asked_for(said, asked) -> None:
    assert accepted_codings(said) == asked
    assert accepted_codings(said) == asked


def test_what_a_client_accepts() -> None:
    assert accepts(b"gzip, br", b"BR")
    assert not accepts(b"gzip, br;q=0", b"br")
    assert not accepts(None, b"gzip")


def test_a_whole_body_up_to_a_bound() -> None:
    coded = brotli.compress(TEXT, quality=5)
    assert open_whole(b"br", coded, len(TEXT)) == TEXT
    assert open_whole(b"br", coded, len(TEXT) - 1) is None
    assert open_whole(b"identity", TEXT, 1) == TEXT
