"""Policies as texts, and the lines that are said about them."""

from __future__ import annotations

from sidecar.errors import PolicyError
from sidecar.policy.document.read import PolicyDocument, draft_policy

BASE = "version: 1\nbackend: { url: http://127.0.0.1:3001 }\n"
"""The smallest policy; what a test is about begins in line 3."""


def read(text: str, **environ: str) -> PolicyDocument:
    """Read a policy that is expected to be fine."""
    document = draft_policy(text, environ, name="P")
    document.refuse()
    return document


def said(text: str, **environ: str) -> list[str]:
    """Return what is said about a policy: every line, or nothing."""
    try:
        read(text, **environ)
    except PolicyError as error:
        return error.lines()
    return []
