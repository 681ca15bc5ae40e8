"""`sidecar check FILE`: compile a policy and print every problem, or what is in force and where it comes from.

Where the sidecar runs that the policy is of, it also says what that has seen of proxies which the policy does not name.

With `--kubernetes FILE`: say of rendered manifests why the app could be reached without the sidecar.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from sidecar.cli import undeclared_proxies
from sidecar.errors import ConfigError, PolicyError
from sidecar.explain.candidate import broken, fine
from sidecar.explain.candidate import listing as every
from sidecar.policy.compile import compile_policy
from sidecar.policy.document.environment import ALLOWED_ORIGINS, PER_HOUR, PER_MINUTE, SESSION_HOURS, WINDOWS
from sidecar.policy.document.read import PolicyDocument, draft_policy
from sidecar.policy.dry_run import isolated_services
from sidecar.settings import POLICY

FINE: Final = 0
UNSAFE: Final = 1
BROKEN: Final = 2


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `sidecar check`."""
    parser.add_argument("file", nargs="?", metavar="FILE", help="the policy; - is stdin (default: SIDECAR_POLICY)")
    parser.add_argument(
        "--kubernetes",
        metavar="MANIFESTS",
        help="check rendered manifests in place of a policy (- is stdin): exit 1 when the app could be reached without "
        "the sidecar",
    )
    parser.add_argument("--all", action="store_true", help="list every value, not only those that variables can set")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Print the problems, or the values in force with their sources; return FINE or BROKEN."""
    if arguments.kubernetes is not None:
        if arguments.file is not None:
            raise ConfigError("--kubernetes takes the policy from the manifests; leave FILE out")
        return _check_manifests(arguments.kubernetes, arguments.json)
    name = arguments.file or os.environ.get("SIDECAR_POLICY") or POLICY
    source: Path | bytes = sys.stdin.buffer.read() if name == "-" else Path(name)
    try:
        document = check(source, "stdin" if name == "-" else name)
    except PolicyError as error:
        print(_as_json(broken(error)) if arguments.json else "\n".join(error.lines()))
        if not arguments.json:
            count = len(error.problems)
            print(f"{count} problem{'s' * (count != 1)}; this policy would not be used", file=sys.stderr)
        return BROKEN
    listed = listing(document, everything=arguments.all)
    if arguments.json:
        print(_as_json(_fine(document, listed)))
        return FINE
    print(f"{document.source}: fine, digest {document.short_digest}")
    _print_columns(listed)
    for note in document.notes:
        print(f"{document.source}:{note.line}:{note.column}: note: {note}", file=sys.stderr)
    seen = undeclared_proxies.note(document.schema.listen.management.address, os.environ)
    if seen:
        print(f"{document.source}: note: {seen}", file=sys.stderr)
    return FINE


def check(source: Path | bytes, name: str) -> PolicyDocument:
    """Return the policy if it compiles; raise PolicyError with every problem if not."""
    document = draft_policy(source, os.environ, name=name)
    compile_policy(document, isolated_services())
    return document


def _check_manifests(name: str, as_json: bool) -> int:
    """Print what is found in rendered manifests; return FINE or UNSAFE."""
    from sidecar.manifests.check import check as look
    from sidecar.manifests.check import guarded
    from sidecar.manifests.pods import NAME
    from sidecar.manifests.resources import read

    source = "stdin" if name == "-" else name
    try:
        text = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {name}: {(error.strerror or 'error').lower()}") from None
    resources = read(text, source)
    workloads = guarded(resources)
    findings = look(resources)
    ordered = sorted(findings.found, key=lambda finding: finding.line)
    safe = bool(workloads) and not findings.problems
    if as_json:
        print(_as_json({"ok": safe, "source": source, "guarded": workloads, "findings": [asdict(f) for f in ordered]}))
        return FINE if safe else UNSAFE
    for finding in ordered:
        print(finding.text(source), file=sys.stderr if finding.note and safe else sys.stdout)
    if not workloads:
        print(f"{source}: no workload has a sidecar; add the component, or a container named {NAME}")
    if safe:
        print(f"{source}: fine; guarded: {', '.join(workloads)}")
    return FINE if safe else UNSAFE


def listing(document: PolicyDocument, *, everything: bool) -> list[tuple[str, str, str]]:
    """Return (key path, value, where it comes from): what variables can set, or every value."""
    return every(document, None if everything else {path for path, _ in overridable(document)})


def overridable(document: PolicyDocument) -> list[tuple[str, str]]:
    """Return the key paths that the environment may set, each with its variable."""
    windows = {window: name for name, window in WINDOWS.items() if name in (PER_MINUTE, PER_HOUR)}
    limits = [
        (f"rate_limits[{index}].limit", windows[limit.window])
        for index, limit in enumerate(document.schema.rate_limits)
        if limit.per == "ip" and limit.counts == "chat" and limit.window in windows
    ]
    return [("cors.allowed_origins", ALLOWED_ORIGINS), *limits, ("sessions.max_age", SESSION_HOURS)]


def _print_columns(rows: list[tuple[str, str, str]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    for path, value, origin in rows:
        print(f"  {path:<{widths[0]}}  {value:<{min(widths[1], 40)}}  {origin}")


def _fine(document: PolicyDocument, listed: list[tuple[str, str, str]]) -> dict[str, Any]:
    shown = [{"path": path, "value": value, "origin": origin} for path, value, origin in listed]
    return {**fine(document), "values": shown}


def _as_json(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
