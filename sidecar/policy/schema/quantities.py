"""Numbers, durations and sizes, each with its bounds: read from YAML, written back for people."""

from __future__ import annotations

import re
from typing import Any, Final

from sidecar.policy.schema.base_model import Read, refuse

KIB: Final = 1024
MIB: Final = 1024 * 1024
MINUTE: Final = 60.0
HOUR: Final = 3600.0
DAY: Final = 86400.0

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZES: Final = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "TiB": 1024**4}
DURATION: Final = r"^\d+(\.\d+)?(ms|s|m|h|d)$"
SIZE: Final = r"^\d+(B|KiB|MiB|GiB|TiB)$"
_LONGEST: Final = 24


def span(least: str, most: str) -> Read:
    """Read a duration into seconds (float)."""
    low, high = seconds(least), seconds(most)

    def read(value: Any) -> float:
        if isinstance(value, int | float) and not isinstance(value, bool):
            refuse("has no unit", f"write a duration like {_near(value, 's', least)}")
        if not isinstance(value, str) or len(value) > _LONGEST or not re.match(DURATION, value):
            refuse("is not a duration", f"write a number and one of ms, s, m, h, d, like {_meant_time(value, most)}")
        result = seconds(value)
        if not low <= result <= high:
            refuse(f"is out of range ({value})", f"write {least} to {most}")
        return result

    return Read(read, {"type": "string", "pattern": DURATION, "description": f"{least} to {most}"})


def size(least: str, most: str) -> Read:
    """Read a size into bytes (int)."""
    low, high = octets(least), octets(most)

    def read(value: Any) -> int:
        if isinstance(value, int) and not isinstance(value, bool):
            refuse("has no unit", f"write a size like {_near(value, 'B', least)}")
        if not isinstance(value, str) or len(value) > _LONGEST or not re.match(SIZE, value):
            refuse(
                "is not a size", f"write a whole number and one of B, KiB, MiB, GiB, like {_meant_size(value, most)}"
            )
        result = octets(value)
        if not low <= result <= high:
            refuse(f"is out of range ({value})", f"write {least} to {most}")
        return result

    return Read(read, {"type": "string", "pattern": SIZE, "description": f"{least} to {most}"})


def whole(least: int, most: int) -> Read:
    """Read a whole number; a quoted one, a fraction and `true` are none."""

    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            refuse("is not a whole number", f"write {least} to {most}, without quotes or unit")
        if not least <= value <= most:
            refuse("is out of range", f"write {least} to {most}")
        return value

    return Read(read, {"type": "integer", "minimum": least, "maximum": most})


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        refuse("is neither true nor false", "write true or false (YAML 1.2 has no yes, no, on, off)")
    return value


FLAG: Final = Read(_flag, {"type": "boolean"})


def seconds(text: str) -> float:
    """Return what `500ms`, `30s`, `5m`, `24h` or `7d` is in seconds."""
    unit = text.lstrip("0123456789.")
    return float(text.removesuffix(unit)) * _UNITS[unit]


def octets(text: str) -> int:
    """Return what `64KiB` is in bytes."""
    unit = text.lstrip("0123456789")
    return int(text.removesuffix(unit)) * _SIZES[unit]


def as_duration(value: float) -> str:
    """Write seconds as an operator would: `1.5s`, `5m`, `24h`, `90d`."""
    for unit in ("d", "h", "m", "s"):
        if value >= _UNITS[unit] and value % _UNITS[unit] == 0 and not (unit == "d" and value <= 86400):
            return f"{int(value / _UNITS[unit])}{unit}"
    return f"{value:g}s" if value >= 1 else f"{value * 1000:g}ms"


def as_size(value: int) -> str:
    """Write bytes as an operator would: `64KiB`."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if value >= _SIZES[unit] and value % _SIZES[unit] == 0:
            return f"{value // _SIZES[unit]}{unit}"
    return f"{value}B"


def _meant_time(value: Any, otherwise: str) -> str:
    """Return `5m` for `5 min`."""
    found = re.match(r"(\d{1,9})\s*(ms|[smhd])", value, re.IGNORECASE) if isinstance(value, str) else None
    return f"{found[1]}{found[2].lower()}" if found else otherwise


def _meant_size(value: Any, otherwise: str) -> str:
    """Return `1MiB` for `1 MB`: which of two megabytes was meant is not guessed silently."""
    found = re.match(r"(\d{1,9})\s*([kmg])", value, re.IGNORECASE) if isinstance(value, str) else None
    return f"{found[1]}{found[2].upper()}iB" if found else otherwise


def _near(value: float, unit: str, otherwise: str) -> str:
    """Return the number with a unit, if a person may have meant that."""
    return f"{value:g}{unit}" if 0 < value < 1_000_000 else otherwise
