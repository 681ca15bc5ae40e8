"""`sidecar guards`: the guards that installed packages bring, with their settings."""

from __future__ import annotations

import argparse
import json
from typing import Any

from sidecar.policy.custom_guards import GROUP, Installed, installed


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `sidecar guards`."""
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Print every guard; return 1 when one cannot be loaded."""
    found = list(installed())
    if arguments.json:
        print(json.dumps({"guards": [_plain(each) for each in found]}, indent=2))
    elif not found:
        print(f"no installed package brings a guard (entry point group {GROUP}); see docs/extending.md")
    for each in () if arguments.json else found:
        print(f"{each.name}  ({each.package})  {_said(each)}")
        for key in _keys(each):
            print(f"    {key['key']}: {key['default']}  {key['description']}")
    return 1 if any(each.problem for each in found) else 0


def _said(each: Installed) -> str:
    return each.problem or f"{each.guard.stage}: {getattr(each.guard, 'description', '')}"


def _keys(each: Installed) -> list[dict[str, Any]]:
    """Return the keys of its settings, each with default and description."""
    if each.guard is None:
        return []
    return [
        {
            "key": field.alias or name,
            "default": "required" if field.is_required() else str(field.get_default(call_default_factory=True)),
            "description": field.description or "",
        }
        for name, field in each.guard.Settings.model_fields.items()
    ]


def _plain(each: Installed) -> dict[str, Any]:
    return {
        "name": each.name,
        "package": each.package,
        "problem": each.problem,
        "stage": getattr(each.guard, "stage", ""),
        "description": getattr(each.guard, "description", ""),
        "settings": _keys(each),
    }
