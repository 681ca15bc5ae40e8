"""`sidecar replay LOG --policy NEW [--against OLD]`: what another policy would have done with logged requests."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from sidecar.errors import ConfigError, PolicyError
from sidecar.explain.replay import Group, Replay, Report, records, replay
from sidecar.policy.compile import compile_policy
from sidecar.policy.document.read import draft_policy
from sidecar.policy.dry_run import isolated_services

SHOWN: Final = 10
"""Rows of each table on a terminal; `--json` has all."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the log and the policies to compare."""
    parser.add_argument("log", metavar="LOG", help="a log file with access lines (- is stdin)")
    parser.add_argument("--policy", required=True, metavar="NEW", help="the policy to try")
    parser.add_argument("--against", metavar="OLD", help="compare with this policy (default: what happened)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Print the requests that would be decided otherwise; return 0, or 2 when a policy has problems."""
    try:
        new = _read(arguments.policy)
        old = _read(arguments.against) if arguments.against else None
    except PolicyError as error:
        print("\n".join(error.lines()))
        return 2
    try:
        with sys.stdin.buffer if arguments.log == "-" else Path(arguments.log).open("rb") as file:
            report = replay(records(file, json.loads), new, old)
    except OSError as error:
        raise ConfigError(f"cannot read the log {arguments.log}: {error.strerror}") from None
    if arguments.json:
        print(json.dumps(report.plain(), indent=2))
    else:
        _print(report, "the old policy" if old is not None else "what happened")
    return 0


def _read(name: str) -> Replay:
    document = draft_policy(Path(name), os.environ, name=name)
    return Replay(compile_policy(document, isolated_services()))


def _print(report: Report, other: str) -> None:
    print(f"{report.requests} requests; refused: {report.before} by {other}, {report.after} by the new policy")
    _table("refused by the new policy only", report.more)
    _table(f"refused by {other} only", report.less)
    print(
        "not replayed: hosts, fetch metadata, bans, ownership, patterns, markup; see docs/operating.md", file=sys.stderr
    )


def _table(title: str, groups: Mapping[tuple[str, str, str, str], Group]) -> None:
    total = sum(group.count for group in groups.values())
    print(f"\n{title}: {total}")
    for (route, guard, code, network), group in sorted(groups.items(), key=lambda item: -item[1].count)[:SHOWN]:
        print(f"  {group.count:6d}  {route:<16} {guard:<12} {code:<20} {network:<20} e.g. {', '.join(group.examples)}")
