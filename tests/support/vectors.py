"""The project's own vectors, read as rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent.parent / "vectors"


def rows(name: str) -> list[dict[str, Any]]:
    """Return the rows of `tests/vectors/NAME.jsonl`."""
    with (FOLDER / f"{name}.jsonl").open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]
