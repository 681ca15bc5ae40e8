"""Failures of backends, on demand: late answers, and errors that show their stack trace."""

from __future__ import annotations

import asyncio
import math
import traceback
from typing import Final

from aiohttp import web

LONGEST: Final = 600.0


async def slow(request: web.Request) -> web.Response:
    """Answer late: after `?seconds=` (default 5)."""
    try:
        seconds = float(request.query.get("seconds", "5"))
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= LONGEST:
        return web.json_response({"error": f"seconds must be a number from 0 to {LONGEST:.0f}"}, status=400)
    await asyncio.sleep(seconds)
    return web.json_response({"slept": seconds})


async def error(_: web.Request) -> web.Response:
    """Fail as a careless backend does: a 500 that shows a stack trace, paths included."""
    try:
        _read_configuration({})
    except KeyError:
        return web.Response(status=500, text=traceback.format_exc())
    raise AssertionError("an empty configuration has no database")


def _read_configuration(configuration: dict[str, str]) -> str:
    return configuration["postgres://chat:hunter2@db.internal/chat"]
