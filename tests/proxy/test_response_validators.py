"""Lines that describe a body, where the body may change."""

from __future__ import annotations

import pytest

from sidecar.proxy.response_validators import not_modified, searched, weakened

LINES = [
    (b"etag", b'ETag: "v1"'),
    (b"content-encoding", b"Content-Encoding: gzip"),
    (b"accept-ranges", b"Accept-Ranges: bytes"),
    (b"repr-digest", b"Repr-Digest: a"),
    (b"content-digest", b"Content-Digest: a"),
    (b"x-a", b"X-A: 1"),
]
KEPT = {
    "as it was": (False, False, [0, 1, 3, 4, 5]),
    "opened": (True, True, [5]),
    "changed": (True, False, [1, 5]),
}


@pytest.mark.parametrize(("changed", "opened", "kept"), KEPT.values(), ids=KEPT)
def test_what_stays_true(changed, opened, kept) -> None:
    found = searched(LINES, changed=changed, opened=opened)
    expected = [LINES[number] for number in kept]
    assert found == ([(b"etag", b'ETag: W/"v1"'), *expected] if changed else expected)


def test_weakening_twice_changes_nothing_more() -> None:
    assert weakened(weakened(b'etag:"v1"')) == b'etag: W/"v1"'


@pytest.mark.parametrize(
    ("known", "told"),
    [(None, b'ETag: "v1"'), (b'"v1"', b'ETag: "v1"'), (b'"v0", W/"v1"', b'ETag: W/"v1"'), (b'W/"v2"', b'ETag: "v1"')],
)
def test_the_validator_of_a_304(known, told) -> None:
    assert not_modified(LINES[:1], known) == [(b"etag", told)]
