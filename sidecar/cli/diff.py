"""`sidecar diff OLD NEW`: what changes in effect between two policies."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from sidecar.errors import PolicyError
from sidecar.explain.diff import changes
from sidecar.policy.document.read import PolicyDocument, draft_policy


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the two policies."""
    parser.add_argument("old", metavar="OLD", help="a policy file")
    parser.add_argument("new", metavar="NEW", help="a policy file")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Print each effective value that differs; return 0, or 2 when a policy has problems."""
    try:
        old, new = _read(arguments.old), _read(arguments.new)
    except PolicyError as error:
        print("\n".join(error.lines()))
        return 2
    found = changes(old.schema, new.schema)
    if arguments.json:
        rows = [{"path": each.path, "before": each.before, "after": each.after} for each in found]
        print(json.dumps({"old": old.short_digest, "new": new.short_digest, "changes": rows}, indent=2))
        return 0
    for change in found:
        print(change)
    print(f"{len(found)} effective value{'s' * (len(found) != 1)} differ", file=sys.stderr)
    return 0


def _read(name: str) -> PolicyDocument:
    document = draft_policy(Path(name), os.environ, name=name)
    document.refuse()
    return document
