"""The response filters of a policy's routes."""

from __future__ import annotations

from sidecar.policy.compile import compile_policy
from sidecar.policy.dry_run import isolated_services
from tests.support.policies import BASE, read

ROUTES = """
routes:
  - { name: a, match: { path: /a } }
  - { name: b, match: { path: /b } }
  - { name: same, match: { path: /same }, redaction: { patterns: [aws, private_key, stripe, openai] } }
  - { name: shapes, match: { path: /shapes }, redaction: { known_secrets: false } }
  - { name: less, match: { path: /less }, redaction: { patterns: [aws] } }
"""


def test_routes_that_look_for_the_same_keys_share_what_looks_for_them():
    """Its patterns take half a MiB: a thousand routes took 480 MiB."""
    policy = compile_policy(read(BASE + ROUTES), isolated_services()).public
    found = {route.name: route.filters._redaction for route in policy.routes.rows() if route.filters is not None}
    assert found["a"] is found["b"] is found["same"] is found["unmatched"]
    assert len({id(found[name]) for name in ("a", "shapes", "less")}) == 3
