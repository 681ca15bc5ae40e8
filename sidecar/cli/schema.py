"""`sidecar schema`: the JSON Schema of the policy, on stdout."""

from __future__ import annotations

import argparse
import json


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `sidecar schema`."""
    parser.epilog = "In an editor: # yaml-language-server: $schema=policy.schema.json"
    parser.add_argument("--json", action="store_true", help="accepted for symmetry: the output is JSON anyway")


def run(_: argparse.Namespace) -> int:
    """Print the JSON Schema; return 0."""
    from sidecar.policy.document.json_schema import json_schema

    print(json.dumps(json_schema(), indent=2, ensure_ascii=False))
    return 0
