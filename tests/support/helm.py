"""Render the chart with Helm's own engine, which lives in the clients' environment (`helm-python-sdk`)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

CHART = Path(__file__).parents[2] / "deploy/helm/chat-sidecar"


class Refused(Exception):
    """Helm does not render the chart with these values; says why."""


def render(values: dict[str, Any], chart: Path = CHART) -> list[dict[str, Any]]:
    """Return every object of the chart, as an install would apply them."""
    import yaml

    from tests.support.clients import PYTHON, need_clients

    need_clients(PYTHON)
    done = subprocess.run(
        [str(PYTHON), __file__, str(chart)],
        input=json.dumps(values), capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    if "refused" in said:
        raise Refused(said["refused"])
    texts = [text for name, text in sorted(said["files"].items()) if not name.endswith(".txt")]
    return [document for text in texts for document in yaml.safe_load_all(text) if document]


def _main() -> None:
    """Run in the clients' environment: values as JSON on stdin, files or a refusal as JSON on stdout."""
    import helm_python  # type: ignore[import-not-found]  # only in the clients' environment

    values = json.load(sys.stdin)
    with helm_python.Chart.load(sys.argv[1]) as chart:
        try:
            chart.validate_schema(values)
            said: dict[str, Any] = {"files": chart.render(values, name="demo", namespace="prod")}
        except helm_python.HelmError as error:
            said = {"refused": str(error)}
    print(json.dumps(said))


if __name__ == "__main__":
    # This file is run by path: what it imports of the tests is not on that path, and not needed there.
    _main()
