"""What models have cost, by day and organization: replicas add to the same rows."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from sidecar.vault.models import is_organization

if TYPE_CHECKING:
    from sidecar.vault.database import Database, Row, Write

MAX_ORGANIZATIONS: Final = 500
"""Organizations with a row of their own, each day; the others are counted together in one row without a name."""

OTHERS: Final = ""
NOBODY: Final = " "
"""The name of no organization."""

OF_DAYS: Final = "SELECT * FROM costs WHERE day >= ?"
DEAREST: Final = (
    "SELECT organization FROM costs WHERE day >= ? AND organization <> '' GROUP BY organization "
    "ORDER BY SUM(nano) DESC, SUM(given) DESC, organization LIMIT ?"
)
# PostgreSQL's sums of whole numbers are decimal ones.
SUMS: Final = (
    "SELECT day, '' AS organization, CAST(SUM(requests) AS BIGINT) AS requests, CAST(SUM(given) AS BIGINT) AS given, "
    "CAST(SUM(made) AS BIGINT) AS made, CAST(SUM(nano) AS BIGINT) AS nano, CAST(SUM(unpriced) AS BIGINT) AS unpriced "
    "FROM costs WHERE day >= ?"
)
TURN: Final = 200
"""Rows that are read in before others get their turn of the loop."""

DayAndOrganization: TypeAlias = tuple[str, str]
"""A day in UTC (`2026-01-31`) and an organization."""


@dataclass(slots=True)
class Cost:
    """What an organization has used on one day; a sum that grows.

    given, made  tokens of input and of output
    nano         nano-dollars
    unpriced     tokens of models without a price: they are not in `nano`
    """

    requests: int = 0
    given: int = 0
    made: int = 0
    nano: int = 0
    unpriced: int = 0

    def add(self, other: Cost) -> None:
        """Add another sum to this one."""
        self.requests += other.requests
        self.given += other.given
        self.made += other.made
        self.nano += other.nano
        self.unpriced += other.unpriced


class Costs:
    """The table of costs. Every method raises StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, costs: Mapping[DayAndOrganization, Cost], oldest: str) -> None:
        """Add sums to those of all replicas, and delete days before `oldest`: all of it, or nothing."""
        async with self._database.write() as write:
            await write.run("DELETE FROM costs WHERE day < ?", oldest)
            for day in sorted({day for day, _ in costs}):
                rows = await write.rows("SELECT organization FROM costs WHERE day = ?", day)
                known = {row["organization"] for row in rows}
                for (of, name), cost in costs.items():
                    if of == day:
                        await _add(write, day, _row_of(name, known), cost)

    async def read(self, since: str, organization: str | None, most: int) -> dict[DayAndOrganization, Cost]:
        """Return the sums of the days from `since` on: of one organization, or (None) of the `most` that cost most.

        The others are summed up under no name, each day.
        """
        if organization is not None and not is_organization(organization):
            return {}
        if organization is not None:
            rows = await self._database.rows(f"{OF_DAYS} AND organization = ?", since, organization)
            return await _by_day(rows)
        dearest = await self._database.rows(DEAREST, since, most)
        names = [row["organization"] for row in dearest]
        names = names or [NOBODY]  # a list in SQL is not empty
        marks = ", ".join("?" * len(names))
        rows = await self._database.rows(f"{OF_DAYS} AND organization IN ({marks})", since, *names)
        others = await self._database.rows(f"{SUMS} AND NOT organization IN ({marks}) GROUP BY day", since, *names)
        return await _by_day([*rows, *others])

    async def forget(self, organization: str) -> int:
        """Delete the rows of an organization; return how many there were."""
        if not is_organization(organization):
            return 0
        async with self._database.write() as write:
            return await write.run("DELETE FROM costs WHERE organization = ?", organization)


def named(organization: str) -> str:
    """Return the name under which an organization is counted: its own, if it may stand in the table."""
    return organization if is_organization(organization) else OTHERS


def _row_of(organization: str, known: set[str]) -> str:
    if organization in known:
        return organization
    if len(known - {OTHERS}) >= MAX_ORGANIZATIONS:
        return OTHERS
    known.add(organization)
    return organization


async def _add(write: Write, day: str, organization: str, cost: Cost) -> None:
    values: Sequence[int] = astuple(cost)
    await write.run(
        "INSERT INTO costs (day, organization, requests, given, made, nano, unpriced) VALUES (?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (day, organization) DO UPDATE SET requests = costs.requests + excluded.requests, "
        "given = costs.given + excluded.given, made = costs.made + excluded.made, "
        "nano = costs.nano + excluded.nano, unpriced = costs.unpriced + excluded.unpriced",
        day,
        organization,
        *values,
    )


async def _by_day(rows: Sequence[Row]) -> dict[DayAndOrganization, Cost]:
    found = {}
    for number, row in enumerate(rows):
        found[row["day"], row["organization"]] = _cost(row)
        if number % TURN == TURN - 1:
            await asyncio.sleep(0)
    return found


def _cost(row: Row) -> Cost:
    return Cost(row["requests"], row["given"], row["made"], row["nano"], row["unpriced"])
