"""A question, written as a client would write it, so that the proxy's own parser reads it."""

from __future__ import annotations

from collections.abc import Sequence

from sidecar.admin.ports import Question
from sidecar.guards.clients.networks import parse_address


def head_of(question: Question, hosts: Sequence[str], notes: list[str]) -> bytes:
    """Return the bytes of the head; required fields that were left out are filled in and noted.

    Raise ValueError for what is not one request head.
    """
    if parse_address(question.address) is None:
        raise ValueError(f"{question.address[:64]!r} is not an address")
    lines = [(name.encode(), value.encode()) for name, value in question.headers]
    first = f"{question.method} {question.target} HTTP/1.1".encode()
    if any(mark in part for part in (first, *(name + value for name, value in lines)) for mark in (b"\r", b"\n")):
        raise ValueError("a line break is not part of a method, a path or a header")
    names = {name.lower() for name, _ in lines}
    if b"host" not in names:
        host = next((name for name in hosts if "*" not in name), "localhost")
        lines.insert(0, (b"Host", host.encode()))
        notes.append(f"no Host was given: {host} is assumed")
    if question.body and b"content-type" not in names:
        lines.append((b"Content-Type", b"application/json"))
        notes.append("no Content-Type was given: application/json is assumed")
    if question.body and not names & {b"content-length", b"transfer-encoding"}:
        lines.append((b"Content-Length", b"%d" % len(question.body)))
    return b"\r\n".join([first, *(b"%b: %b" % line for line in lines)])
