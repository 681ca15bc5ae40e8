from __future__ import annotations

import gzip
import zlib

import pytest

from sidecar.messages.content_type import JSON, TEXT, URLENCODED, ContentType, Kind, media_of, open_body

MEDIA = [
    (b"application/json", JSON),
    (b"Application/JSON", JSON),
    (b"application/json; charset=utf-8", JSON),
    (b'application/json;charset="UTF-8"', JSON),
    (b"application/json; charset=utf8", JSON),
    (b"application/json;", JSON),
    (b"application/vnd.api+json", JSON),
    (b"application/json; charset=utf-7", "charset"),
    (b"application/json; charset=utf-16le", "charset"),
    (b"application/json; charset=iso-8859-1", "charset"),
    (b"application/json; charset=utf-8; charset=utf-7", "bad_content_type"),
    (b"application/json, text/html", "bad_content_type"),
    (b"application/json application/xml", "bad_content_type"),
    (b"application/json; charset", "bad_content_type"),
    (b'application/json; charset="utf-8', "bad_content_type"),
    (b"json", "bad_content_type"),
    (b"", "bad_content_type"),
    (b"text/json", "content_type"),
    (b"text/plain", TEXT),
    (b"text/plain; application/json", "bad_content_type"),
    (b"application/jsonp", "content_type"),
    (b"application/x-www-form-urlencoded", URLENCODED),
    (b"multipart/form-data; boundary=abc", ContentType(Kind.MULTIPART, b"abc")),
    (b'multipart/form-data; boundary="a b"', ContentType(Kind.MULTIPART, b"a b")),
    (b"multipart/form-data", "content_type"),
    (b"multipart/form-data; boundary=" + b"a" * 71, "content_type"),
    (b"multipart/form-data; boundary=a; boundary=b", "bad_content_type"),
    (b"multipart/mixed; boundary=a", "content_type"),
    (b"multipart/form-data; xboundary=b; boundary=a", "content_type"),
    (b"multipart/form-data; boundary*=utf-8''b; boundary=a", "content_type"),
    (None, "no_content_type"),
]


@pytest.mark.parametrize(("header", "media"), MEDIA, ids=[repr(row[0])[:50] for row in MEDIA])
def test_content_types(header, media):
    assert media_of(header) == media


BODY = b'{"message":"x"}'
PACKED = gzip.compress(BODY)
OPENED = [
    ("none", None, BODY, BODY),
    ("identity", b"Identity", BODY, BODY),
    ("gzip", b"gzip", PACKED, BODY),
    ("x-gzip", b"X-GZip", PACKED, BODY),
    ("opened already", b"gzip", BODY, BODY),
    ("cut", b"gzip", PACKED[:-3], "bad_gzip"),
    ("trailing bytes", b"gzip", PACKED + b"x", "bad_gzip"),
    ("two members", b"gzip", PACKED + PACKED, "bad_gzip"),
    ("bad checksum", b"gzip", PACKED[:-8] + b"\0\0\0\0" + PACKED[-4:], "bad_gzip"),
    ("bomb", b"gzip", gzip.compress(bytes(50_000_000)), "too_big"),
    ("just fits", b"gzip", gzip.compress(bytes(1000)), bytes(1000)),
    ("just does not", b"gzip", gzip.compress(bytes(1001)), "too_big"),
    ("deflate", b"deflate", zlib.compress(BODY), "content_encoding"),
    ("br", b"br", BODY, "content_encoding"),
    ("twice", b"gzip, gzip", PACKED, "content_encoding"),
]


@pytest.mark.parametrize(("encoding", "body", "opened"), [row[1:] for row in OPENED], ids=[row[0] for row in OPENED])
def test_content_codings(encoding, body, opened):
    assert open_body(encoding, body, 1000) == opened
