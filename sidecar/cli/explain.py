"""`sidecar explain`: what each guard would decide about a request, and which line of YAML made it so. Sends nothing."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sidecar.errors import ConfigError
from sidecar.settings import POLICY

if TYPE_CHECKING:
    from sidecar.explain.explanation import Explanation, GuardReport

LARGEST_BODY: Final = 16 * 1024 * 1024
LONGEST_SHOWN: Final = 2000
"""Characters of a changed body that are shown."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the request to explain and the policy."""
    parser.add_argument("method", metavar="METHOD", help="GET, POST, …; OPTIONS with the headers of a preflight")
    parser.add_argument("path", metavar="PATH", help="the path, with a query if need be")
    parser.add_argument("--policy", metavar="FILE", help="the policy (default: SIDECAR_POLICY, or config/policy.yaml)")
    parser.add_argument(
        "-H", "--header", metavar="'Name: value'", action="append", default=[], help="a header; may be repeated"
    )
    parser.add_argument("--ip", metavar="A", default="127.0.0.1", help="the peer's address (default %(default)s)")
    parser.add_argument("--body", metavar="FILE", help="the body; - is stdin")
    parser.add_argument(
        "--expect",
        choices=("pass", "refuse"),
        help="exit with 1 when the decision is the other one; an answer of the sidecar itself counts as pass",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Print what each guard decides; return 0, also for a request that would be refused."""
    from sidecar.admin.ports import Question
    from sidecar.explain.explainer import explain_request
    from sidecar.policy.document.read import draft_policy
    from sidecar.policy.dry_run import isolated_services

    headers = tuple(_header(text) for text in arguments.header)
    question = Question(arguments.method, arguments.path, headers, arguments.ip, _body(arguments.body))
    document = draft_policy(Path(arguments.policy or os.environ.get("SIDECAR_POLICY") or POLICY), os.environ)
    try:
        said = asyncio.run(explain_request(document, isolated_services(), question))
    except ValueError as error:
        raise ConfigError(str(error)) from None
    if arguments.json:
        print(json.dumps({**said.plain(), "body": _text(said)}, indent=2, ensure_ascii=False))
    else:
        print("\n".join(lines(said)))
        for note in said.notes:
            print(f"note: {note}", file=sys.stderr)
    if arguments.expect is None or (said.decision == "refuse") == (arguments.expect == "refuse"):
        return 0  # without --expect too: the explanation was asked for and is given
    found = f"refused: {said.words[-1].status} {said.words[-1].code}" if said.decision == "refuse" else "not refused"
    print(f"expected {arguments.expect}, but {arguments.method} {arguments.path} is {found}", file=sys.stderr)
    return 1


def lines(said: Explanation) -> list[str]:
    """Write an explanation for people."""
    asked = f"{said.request['method']} {said.request['path']} from {said.request['peer']}"
    route = said.route
    taken = f", route {route['name']}" + (f" ({route['place']})" if route["place"] else "") if route else ""
    told = [f"{asked}{taken}", ""]
    rows = [(word.guard, _decision(word), _because(word)) for word in said.words]
    rows += [(name, "not asked", "") for name in said.unasked]
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    told += [f"  {guard:<{widths[0]}}  {says:<{min(widths[1], 60)}}  {why}".rstrip() for guard, says, why in rows]
    for limit in said.limits:
        told.append(f"  {limit['name']}: {limit['remaining']} of {limit['limit']} left, per {limit['per']}")
    return [*told, "", *_outcome(said)]


def _decision(word: GuardReport) -> str:
    answer = f"{word.status} {word.code}".strip() if word.status else ""
    facts = ", ".join(f"{name} {value}" for name, value in word.detail.items() if name not in _SAID)
    says = {"observe": "only observes, would refuse:", "change": "passes, changed"}.get(word.decision, word.decision)
    return f"{says} {answer}".rstrip() + (f" ({facts})" if facts else "")


_SAID: Final = frozenset({"code", "would_be", "guard"})


def _because(word: GuardReport) -> str:
    return f"{word.place}  {word.key}" if word.key else ""


def _outcome(said: Explanation) -> list[str]:
    if said.decision == "refuse":
        word = said.words[-1]
        return [f"refused: {word.status} {word.code}; nothing is sent to the backend"]
    if said.backend is None:
        return ["answered here; nothing is sent to the backend"]
    backend = said.backend
    told = [f"passes; {backend['address']} would receive {backend['method']} {backend['path']} with"]
    told.append(f"  headers: {', '.join(backend['headers'])}")
    if backend["removed"]:
        told.append(f"  removed: {', '.join(backend['removed'])}")
    if backend["key_in"]:
        told.append(f"  the key in: {backend['key_in']}")
    changed = ", changed" if backend["changed"] else ""
    told.append(f"  body: {backend['body_bytes']} bytes{changed}")
    text = _text(said)
    return [*told, f"  {text}"] if text is not None and backend["changed"] else told


def _text(said: Explanation) -> str | None:
    """Return the body as the backend would get it: what was given here may be shown here."""
    return None if said.body is None else said.body.decode("utf-8", "replace")[:LONGEST_SHOWN]


def _header(text: str) -> tuple[str, str]:
    name, separator, value = text.partition(":")
    if not separator or not name.strip():
        raise ConfigError(f"-H {text[:64]!r} is no header; write 'Name: value'")
    return name, value.strip()


def _body(name: str | None) -> bytes:
    if name is None:
        return b""
    try:
        if name == "-":
            content = sys.stdin.buffer.read(LARGEST_BODY + 1)
        else:
            with Path(name).open("rb") as file:
                content = file.read(LARGEST_BODY + 1)
    except OSError as error:
        raise ConfigError(f"cannot read {name}: {(error.strerror or 'error').lower()}") from None
    if len(content) > LARGEST_BODY:
        raise ConfigError(f"{name} is larger than {LARGEST_BODY // 1024 // 1024} MiB")
    return content
