"""`sidecar kinds [NAME]`: the chat systems that are known, or what one of them makes of a policy."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any, Final

from sidecar.messages.protocols.catalogue import BY_NAME
from sidecar.policy.kinds.catalogue import FOLDER, Kind, names, read_kind

FINE: Final = 0
WRONG: Final = 2


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the name of a kind."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="one kind: its operations, text places and sections")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Print the list of kinds, or what one of them contains; return FINE, or WRONG for an unknown name."""
    if arguments.name is None:
        kinds = [_known(name) for name in names()]
        if arguments.json:
            print(_as_json([{"name": kind.name, "title": kind.title, "tested": kind.tested} for kind in kinds]))
        else:
            width = max(len(kind.name) for kind in kinds)
            for kind in kinds:
                print(f"{kind.name:<{width}}  {kind.title}{f' ({kind.tested})' if kind.tested else ''}")
            print("write backend: { url: …, kind: NAME }; sidecar kinds NAME says what that makes", file=sys.stderr)
        return FINE
    found = read_kind(arguments.name)
    if found is None:
        print(f"{arguments.name!r} is not a kind; write one of {', '.join(names())}", file=sys.stderr)
        return WRONG
    print(_as_json(content(found)) if arguments.json else (FOLDER / f"{found.name}.yaml").read_text().rstrip())
    if not arguments.json:
        for operation in content(found)["operations"]:
            print(f"# {operation['name']}: {', '.join(operation['texts']) or 'see docs/messages.md'}")
    return FINE


def content(kind: Kind) -> dict[str, Any]:
    """Return all that is known about a kind, with the places of text of each operation."""
    return {
        "name": kind.name,
        "title": kind.title,
        "tested": kind.tested,
        "guarded": list(kind.guarded),
        "unguarded": list(kind.unguarded),
        "policy": kind.policy,
        "operations": [_operation(each) for each in kind.operations],
        "textless": [{"path": each.path, "methods": list(each.methods), "why": each.why} for each in kind.textless],
    }


def _operation(route: dict[str, Any]) -> dict[str, Any]:
    protocol = BY_NAME[route["protocol"]]
    match = route["match"]
    return {
        "name": route["name"],
        "path": match["path"],
        "methods": match.get("methods", []),
        "protocol": protocol.name,
        "texts": [path.text for path in (*protocol.texts, *protocol.embedded)],
    }


def _known(name: str) -> Kind:
    kind = read_kind(name)
    assert kind is not None
    return kind


def _as_json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
