"""Lets organizations in at the hours that another service says; asked about the head of each request."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from functools import partial

from pydantic import Field

from sidecar.extend import Block, Request, Section, Verdict


class BusinessHoursSettings(Section):
    """What is under `guards.business-hours.settings`."""

    service: str = Field(description='a URL that answers {"open": true} for an organization')


class BusinessHours:
    """Waits for another service: off the loop, within the timeout that the policy gives it."""

    description = "asks a service whether an organization may chat now"
    stage = "head"
    Settings = BusinessHoursSettings

    def __init__(self, settings: BusinessHoursSettings) -> None:
        self._service = settings.service

    async def check(self, request: Request) -> Verdict:
        is_open = await asyncio.to_thread(partial(_ask, f"{self._service}?org={request.organization}"))
        return None if is_open else Block("closed at this hour", code="FORBIDDEN")


def _ask(url: str) -> bool:
    with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - the policy's own URL
        return bool(json.load(answer)["open"])
