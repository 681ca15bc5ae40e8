from __future__ import annotations

import pytest

from sidecar.guards.response_headers.csp_directives import with_directives

POLICY = "default-src 'self'; img-src 'self' data:; object-src 'none'"

CASES = [
    ("none", {}, POLICY),
    ("replaced", {"img-src": "'none'"}, "default-src 'self'; img-src 'none'; object-src 'none'"),
    ("in any letter case", {"IMG-SRC": "*"}, "default-src 'self'; img-src *; object-src 'none'"),
    ("added", {"font-src": "https://fonts.gstatic.com"}, f"{POLICY}; font-src https://fonts.gstatic.com"),
]


@pytest.mark.parametrize(("directives", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_directives_are_replaced_one_by_one(directives, expected):
    assert with_directives(POLICY, directives) == expected
