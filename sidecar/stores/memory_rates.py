"""Sliding windows in this process."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from sidecar.limit import Ask, Limit, Take, Takes
from sidecar.stores.sliding_window import SLACK, SPAN, Row, add, empty, expire, frees, width_of

CELLS: Final = 1024
"""Windows of one limit that are shared by the subjects for whom the table had no room."""

KNOWN: Final = 4096
"""Limits whose table is remembered by identity: some reloads' worth."""


@dataclass(frozen=True)
class Spent:
    """What one subject was admitted under one limit: pairs of (seconds ago, how many)."""

    limit: Limit
    subject: str
    counts: tuple[tuple[float, int], ...]


class Table:
    """The windows of one limit. `rows` is ordered by newest bucket, so that expired rows are in front."""

    __slots__ = ("crowd", "current", "empties", "limit", "rows", "until", "width")

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self.width = width_of(limit.window)
        self.rows: OrderedDict[str, Row] = OrderedDict()
        self.crowd: dict[int, Row] = {}
        self.current = -1
        self.until = 0.0
        self.empties = 0.0

    def turn(self, now: float) -> None:
        """Begin the bucket of the time `now`."""
        self.current = int(now // self.width)
        self.until = (self.current + 1) * self.width
        self.empties = (self.current + SPAN) * self.width + SLACK

    def turned(self, now: float) -> Table:
        """Return the table, standing at `now`."""
        if now >= self.until:
            self.turn(now)
        return self

    def sweep(self, most: int) -> int:
        """Drop up to `most` expired rows; return how many."""
        rows, oldest, gone = self.rows, self.current - SPAN, 0
        while gone < most and rows:
            subject = next(iter(rows))
            if rows[subject][-2] > oldest:
                break
            del rows[subject]
            gone += 1
        return gone

    def thin(self) -> None:
        """Drop the shared windows that are empty again."""
        oldest = self.current - SPAN
        self.crowd = {cell: row for cell, row in self.crowd.items() if row[-2] > oldest}

    def row(self, subject: str) -> Row | None:
        """Return the row of a subject: its own, else the shared one of its cell."""
        row = self.rows.get(subject)
        if row is None and self.crowd:
            row = self.crowd.get(hash(subject) % CELLS)
        if row is not None and row[1] < self.current - SPAN + 1:
            expire(row, self.current)
        return row


class MemoryRateStore:
    """Answer at once, from at most `max_keys` windows (and 1024 shared ones a limit).

    When all are taken and none has expired, no counted subject loses its window. A new subject is then
    counted in one of the limit's 1024 shared windows, chosen by a hash that
    differs from process to process: it may be refused because of others there, and never gets more than
    its limit; when it gets a window of its own again, what the shared one held counts on.

    `now` may be any clock that the caller keeps to; a limit whose window's length a reload changes
    starts afresh.
    """

    def __init__(self, max_keys: int = 100_000) -> None:
        self.room = max_keys
        self._tables: dict[tuple[str, str, float], Table] = {}
        self._known: dict[int, tuple[Limit, Table]] = {}
        self._full_until = 0.0  # no window expires before, and all are taken

    def __len__(self) -> int:
        """Return how many windows are held."""
        return sum(len(table.rows) + len(table.crowd) for table in self._tables.values())

    def take(self, asks: Sequence[Ask], now: float) -> Takes:  # noqa: C901  # in line: it runs for every request
        """Consume one request of every counted ask, or none."""
        known = self._known
        found = []
        allowed = True
        for ask in asks:
            limit = ask.limit
            entry = known.get(id(limit))
            table = entry[1] if entry is not None else self._table(limit)
            if now >= table.until:
                table.turn(now)
            row = table.rows.get(ask.subject)
            if row is None:
                if table.crowd:
                    row = table.row(ask.subject)
            elif row[1] < table.current - 60:
                expire(row, table.current)
            if ask.counted and (row[0] if row is not None else 0) >= limit.limit:
                allowed = False
            found.append((limit.limit, ask.subject, table, row, ask.counted))
        make = tuple.__new__
        if not allowed:
            return tuple([_state(limit, table, row, now) for limit, _, table, row, _ in found])
        takes = []
        for most, subject, table, row, counted in found:
            if not counted:
                takes.append(_state(most, table, row, now))
                continue
            current = table.current
            if row is None or (table.crowd and subject not in table.rows):
                row = self._admit(table, subject, now)  # noqa: PLW2901  # the row that it got just now
            elif row[-2] == current:
                row[0] += 1
                row[-1] += 1
            elif add(row, current):
                table.rows.move_to_end(subject)
            remaining = most - row[0]
            retry = 0.0 if remaining > 0 else (frees(row, most) + SPAN) * table.width + SLACK - now
            takes.append(make(Take, (True, remaining, retry, table.empties - now)))
        return tuple(takes)

    def peek(self, asks: Sequence[Ask], now: float) -> Takes:
        """Answer like `take`, consuming nothing."""
        takes = []
        for ask in asks:
            table = self._turned(ask.limit, now)
            takes.append(_state(ask.limit.limit, table, table.row(ask.subject), now))
        return tuple(takes)

    def record(self, asks: Sequence[Ask], now: float) -> None:
        """Count a request that another store admitted, whatever the limits say."""
        for ask in asks:
            if not ask.counted:
                continue
            table = self._turned(ask.limit, now)
            row = table.rows.get(ask.subject)
            if row is None:
                self._admit(table, ask.subject, now)
                continue
            if row[1] < table.current - 60:
                expire(row, table.current)
            if add(row, table.current):
                table.rows.move_to_end(ask.subject)

    async def reset(self, per: str, subject: str) -> int:
        """Forget every window of one subject; a shared window, which others count on, stays."""
        self._full_until = 0.0
        tables = [table for table in self._tables.values() if table.limit.per == per]
        return sum([table.rows.pop(subject, None) is not None for table in tables])

    def spent(self, now: float) -> Iterator[Spent]:
        """Yield what every subject was admitted in its window, for another store; nothing may be taken meanwhile."""
        for table in self._tables.values():
            table.turned(now)
            for subject in list(table.rows):
                row = table.row(subject)
                if row is not None and row[0]:
                    pairs = zip(row[1::2], row[2::2], strict=True)
                    counts = tuple((max(0.0, now - bucket * table.width), count) for bucket, count in pairs)
                    yield Spent(table.limit, subject, counts)

    def settled(self, spent: Sequence[Spent]) -> None:
        """Drop what another store counts now."""
        self._full_until = 0.0
        for each in spent:
            table = self._tables.get((each.limit.name, each.limit.per, each.limit.window))
            if table is not None:
                table.rows.pop(each.subject, None)

    def cleanup(self, now: float, most: int = 1000) -> int:
        """Drop up to `most` expired windows of each limit, and limits that have none; return how many went."""
        self._full_until = 0.0
        gone = 0
        for key, table in list(self._tables.items()):
            gone += table.turned(now).sweep(most)
            table.thin()
            if not table.rows and not table.crowd:
                del self._tables[key]
                self._known = {number: entry for number, entry in self._known.items() if entry[1] is not table}
        return gone

    def _turned(self, limit: Limit, now: float) -> Table:
        entry = self._known.get(id(limit))
        return (entry[1] if entry is not None else self._table(limit)).turned(now)

    def _table(self, limit: Limit) -> Table:
        """Find or make a limit's table. The limit itself is kept beside it: its id cannot be used anew meanwhile."""
        table = self._tables.setdefault((limit.name, limit.per, limit.window), Table(limit))
        if len(self._known) >= KNOWN:
            self._known.clear()
        self._known[id(limit)] = (limit, table)
        return table

    def _admit(self, table: Table, subject: str, now: float) -> Row:
        """Count one request of a subject without a window, or while there are shared ones; return its row."""
        row = table.rows.get(subject)
        if row is None:
            cell = hash(subject) % CELLS
            shared = table.crowd.get(cell)
            if self._has_room(table, now):
                row = table.rows[subject] = shared[:] if shared is not None else empty(table.current)
            else:
                row = shared if shared is not None else table.crowd.setdefault(cell, empty(table.current))
                add(row, table.current)
                return row
        add(row, table.current)
        table.rows.move_to_end(subject)
        return row

    def _has_room(self, table: Table, now: float) -> bool:
        """Give up two expired windows for each new one, so that cleaning never makes a pause."""
        if now < self._full_until:
            return False
        table.sweep(2)
        if sum([len(other.rows) for other in self._tables.values()]) < self.room:
            return True
        if any(other.turned(now).sweep(2) for other in self._tables.values()):
            return True
        # Windows expire when a bucket begins.
        self._full_until = min([other.until for other in self._tables.values()])
        return False


def _state(most: int, table: Table, row: Row | None, now: float) -> Take:
    """Return the state of a window; nothing is consumed."""
    if row is None or not row[0]:
        return Take(most > 0, most, 0.0 if most > 0 else table.limit.window, 0.0)
    remaining = max(0, most - row[0])
    retry = 0.0 if remaining else (frees(row, most) + SPAN) * table.width + SLACK - now
    return Take(remaining > 0, remaining, retry, (row[-2] + SPAN) * table.width + SLACK - now)
