"""Whether closed days are as they were closed: recomputed from the journal, row by row."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

import asyncpg

Fault = Literal["changed", "dropped", "added", "missing_day", "broken_digest", "broken_chain"]

SENTENCES: dict[Fault, str] = {
    "changed": "is not as it was when the day closed",
    "dropped": "was in the day when it closed, and is gone",
    "added": "was not in the day when it closed",
    "missing_day": "the day itself is gone from journal_day",
    "broken_digest": "the entries do not give the day's digest",
    "broken_chain": "does not name the digest of the day before",
}

DAYS = "SELECT * FROM journal_day WHERE jurisdiction = $1 ORDER BY day"
ROWS = """
    SELECT s.entry_no, CASE WHEN e.entry_no IS NULL THEN 'dropped' ELSE 'changed' END AS fault
    FROM journal_seal AS s
    LEFT JOIN journal_funded AS e USING (jurisdiction, entry_no)
    WHERE s.jurisdiction = $1 AND s.day = $2
        AND (e.entry_no IS NULL OR journal_leaf(e) <> s.leaf)
    UNION ALL
    SELECT e.entry_no, 'added' FROM journal AS e
    WHERE e.jurisdiction = $1 AND e.booked_on = $2 AND NOT EXISTS (
        SELECT FROM journal_seal AS s
        WHERE s.jurisdiction = $1 AND s.entry_no = e.entry_no)
    ORDER BY 1
"""
# From the day's head and the journal itself: that the seals agree with it is another question.
DIGEST = """
    SELECT journal_day_digest($3, $1, $2, $4, $5,
        coalesce(string_agg(journal_leaf(e), ''::bytea ORDER BY entry_no), ''))
    FROM journal_funded AS e WHERE jurisdiction = $1 AND booked_on = $2
"""
# Entries in no day at all, booked before the first that was closed.
BEFORE = """
    SELECT entry_no, booked_on FROM journal AS e
    WHERE jurisdiction = $1 AND booked_on < $2 AND NOT EXISTS (
        SELECT FROM journal_seal AS s
        WHERE s.jurisdiction = $1 AND s.entry_no = e.entry_no)
"""
SEALED = "SELECT min(day), max(day) FROM journal_seal WHERE jurisdiction = $1"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it was closed."""

    day: date
    fault: Fault
    entry_no: int | None = None

    def __str__(self) -> str:
        entry = "" if self.entry_no is None else f" entry {self.entry_no}"
        return f"{self.day}{entry}: {self.fault}: {SENTENCES[self.fault]}"


@dataclass(frozen=True, slots=True)
class CheckedDay:
    """A closed day; without findings it is as it was closed."""

    day: date
    entries: int
    sum_fen: int
    digest: str
    findings: tuple[Finding, ...]


async def verify(connection: asyncpg.Connection, jurisdiction: str) -> AsyncIterator[CheckedDay]:
    """Every closed day, oldest first, with what is wrong about it."""
    previous: asyncpg.Record | None = None
    days = await connection.fetch(DAYS, jurisdiction)
    missing = _at_the_ends(await connection.fetchrow(SEALED, jurisdiction), days)
    for row in days:
        findings = [*_gap(previous, row)]
        if previous is None:
            before = await connection.fetch(BEFORE, jurisdiction, row["day"])
            findings += [Finding(one["booked_on"], "added", one["entry_no"]) for one in before]
        findings += await _day_findings(connection, jurisdiction, row)
        yield CheckedDay(
            row["day"], row["entries"], row["sum_fen"], row["digest"].hex(), tuple(findings)
        )
        previous = row
    for day in missing:
        yield CheckedDay(day, 0, 0, "", (Finding(day, "missing_day"),))


def _at_the_ends(sealed: asyncpg.Record, days: list[asyncpg.Record]) -> list[date]:
    """Days whose entries have seals, before the first that is there or after the last; `_gap`
    finds those between."""
    first, last = sealed
    if first is None:
        return []
    span = (first + timedelta(days=n) for n in range((last - first).days + 1))
    return [day for day in span if not days or not days[0]["day"] <= day <= days[-1]["day"]]


def _gap(previous: asyncpg.Record | None, row: asyncpg.Record) -> list[Finding]:
    found = []
    if previous is not None:
        missing = previous["day"] + timedelta(days=1)
        while missing < row["day"]:
            found.append(Finding(missing, "missing_day"))
            missing += timedelta(days=1)
    if row["previous_digest"] != (previous["digest"] if previous is not None else b""):
        found.append(Finding(row["day"], "broken_chain"))
    return found


async def _day_findings(
    connection: asyncpg.Connection, jurisdiction: str, row: asyncpg.Record
) -> list[Finding]:
    day = row["day"]
    rows = await connection.fetch(ROWS, jurisdiction, day)
    findings = [Finding(day, one["fault"], one["entry_no"]) for one in rows]
    head = row["previous_digest"], row["entries"], row["sum_fen"]
    digest = await connection.fetchval(DIGEST, jurisdiction, day, *head)
    if digest != row["digest"]:
        findings.append(Finding(day, "broken_digest"))
    return findings
