"""`sidecar prices [MODEL …]`: what models cost, by the list that is shipped and by a policy."""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Final

from sidecar.errors import PolicyError
from sidecar.guards.budgets.build import price_table
from sidecar.policy.document.read import draft_policy
from sidecar.prices import Price, PriceTable, date_of_list

FINE: Final = 0
FAILED: Final = 1
WRONG: Final = 2


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the models to look up, and the policy whose prices hold over the list."""
    parser.add_argument(
        "models", nargs="*", metavar="MODEL", help="models as requests name them; none: all of the list"
    )
    parser.add_argument("--policy", metavar="FILE", help="use the `prices` of this policy over the list")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Print the prices; return FINE, FAILED if one of the models has none, WRONG for a policy that cannot be read."""
    try:
        table = _table(arguments.policy)
    except PolicyError as error:
        print("\n".join(error.lines()))
        return WRONG
    asked = [(name, table.find(name)) for name in arguments.models] or list(table)
    if arguments.json:
        models = {name: None if price is None else asdict(price) for name, price in asked}
        print(json.dumps({"date": date_of_list(), "unit": "USD for a million tokens", "models": models}, indent=2))
    else:
        width = max(len(name) for name, _ in asked)
        print(f"{'':<{width}}  {'input':>8}  {'cached':>8}  {'output':>8}")
        for name, price in asked:
            print(f"{name:<{width}}  {_row(price)}")
        print(f"USD for a million tokens; list prices of {date_of_list()}", file=sys.stderr)
    return FAILED if any(price is None for _, price in asked) else FINE


def _table(policy: str | None) -> PriceTable:
    if policy is None:
        return PriceTable()
    document = draft_policy(Path(policy), os.environ, name=policy)
    document.refuse([])  # what it has listed
    return price_table(document.schema)


def _row(price: Price | None) -> str:
    if price is None:
        return "no price; write one under `prices` in the policy"
    cached = price.input if price.cached is None else price.cached
    return f"{price.input:>8g}  {cached:>8g}  {price.output:>8g}"
