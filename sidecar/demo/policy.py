"""The demo's policy, with the addresses of this run put in."""

from __future__ import annotations

from pathlib import Path
from typing import Final

POLICY: Final = Path(__file__).with_name("policy.yaml")

# What is in the file, each exactly once; a test keeps it so.
PUBLIC: Final = "127.0.0.1:8080"
MANAGEMENT: Final = "127.0.0.1:9090"
BACKEND: Final = "http://127.0.0.1:3001"


def policy_text(*, backend: str, public: str = PUBLIC, management: str = MANAGEMENT) -> str:
    """Return the YAML; `backend` is a URL, the other two are `host:port`."""
    text = POLICY.read_text(encoding="utf-8")
    # Line by line, so that an address that is put in is never taken for one to replace.
    values = {PUBLIC: public, MANAGEMENT: management, BACKEND: backend}
    return "".join(_put_in(line, values) for line in text.splitlines(keepends=True))


def _put_in(line: str, values: dict[str, str]) -> str:
    for written, meant in values.items():
        if written in line:
            return line.replace(written, meant)
    return line
