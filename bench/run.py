"""Measure the sidecar beside a plain nginx, on this machine, and print it against the targets.

    python bench/run.py [--rounds 5] [--seconds 2] [--all] [--json] [--out FOLDER] [--assert]

Compare ratios within one run: the microseconds of two runs on a shared machine tell little.
With --all the parts' own benchmarks follow. With --assert the exit code is 1 if a target is missed by more
than a quarter, which noise does not do.
"""

# ruff: noqa: E402  # the path is set before our own modules are found
from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
# In place of this folder, where `limits` would be the wrong module: the project's root.
sys.path[0] = str(HERE.parent)

from bench.proxy import Figure, measure
from bench.support.chart import chart

PARTS = ("budgets.py", "flatness.py", "limits.py", "messages.py", "redaction.py")
NOISE = 1.25


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2, help="how long one round of requests lasts")
    parser.add_argument("--all", action="store_true", help="the benchmarks of the parts too")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--out", type=Path, help="write figures.json and figures.svg into this folder, too")
    parser.add_argument("--assert", dest="strict", action="store_true", help="fail when a target is missed by far")
    arguments = parser.parse_args()
    load, figures = measure(arguments.rounds, arguments.seconds)
    if arguments.out is not None:
        arguments.out.mkdir(parents=True, exist_ok=True)
        (arguments.out / "figures.json").write_text(
            json.dumps({each.name: as_plain(each) for each in figures}, indent=2)
        )
        (arguments.out / "figures.svg").write_text(chart(figures))
    if arguments.json:
        print(json.dumps({each.name: as_plain(each) for each in figures}))
    else:
        print(f"load: {load}\n\n{'':40}{'sidecar':>14}{'nginx':>12}{'ratio':>9}   target")
        print("\n".join(each.line() for each in figures))
    if arguments.all:
        for part in PARTS:
            print(f"\n--- {part}", flush=True)
            subprocess.run([sys.executable, str(HERE / part)], check=True)
    missed = [each.name for each in figures if each.judged > each.target * NOISE]
    if missed and arguments.strict:
        print(f"missed by far: {', '.join(missed)}", file=sys.stderr)
        return 1
    return 0


def as_plain(figure: Figure) -> dict[str, object]:
    return {"value": figure.value, "unit": figure.unit, "nginx": figure.nginx, "target": figure.target}


if __name__ == "__main__":
    raise SystemExit(main())
