"""Verifies that closed days are unchanged: recomputes each day from the journal's rows."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

import asyncpg

JournalFault = Literal[
    "changed", "dropped", "added", "missing_day", "broken_digest", "broken_chain"
]

_SENTENCES: dict[JournalFault, str] = {
    "changed": "is not as it was when the day closed",
    "dropped": "was in the day when it closed, and is gone",
    "added": "was not in the day when it closed",
    "missing_day": "the day itself is gone from journal_day",
    "broken_digest": "the entries do not give the day's digest",
    "broken_chain": "does not name the digest of the day before",
}

_DAYS_SQL = "SELECT * FROM journal_day WHERE jurisdiction = $1 ORDER BY day"
_ROWS_SQL = """
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
# From the day's row and the journal, without the seals: _ROWS_SQL checks those.
_DIGEST_SQL = """
    SELECT journal_day_digest($3, $1, $2, $4, $5,
        coalesce(string_agg(journal_leaf(e), ''::bytea ORDER BY entry_no), ''))
    FROM journal_funded AS e WHERE jurisdiction = $1 AND booked_on = $2
"""
# Entries without a seal, booked before the first closed day.
_BEFORE_SQL = """
    SELECT entry_no, booked_on FROM journal AS e
    WHERE jurisdiction = $1 AND booked_on < $2 AND NOT EXISTS (
        SELECT FROM journal_seal AS s
        WHERE s.jurisdiction = $1 AND s.entry_no = e.entry_no)
"""
_SEALED_SQL = "SELECT min(day), max(day) FROM journal_seal WHERE jurisdiction = $1"


@dataclass(frozen=True, slots=True)
class JournalFinding:
    """A difference between a day now and the day as it was closed."""

    day: date
    fault: JournalFault
    entry_no: int | None = None

    def __str__(self) -> str:
        entry = "" if self.entry_no is None else f" entry {self.entry_no}"
        return f"{self.day}{entry}: {self.fault}: {_SENTENCES[self.fault]}"


@dataclass(frozen=True, slots=True)
class CheckedDay:
    """A closed day. Without findings it is unchanged."""

    day: date
    entries: int
    sum_fen: int
    digest: str
    findings: tuple[JournalFinding, ...]


async def verify(connection: asyncpg.Connection, jurisdiction: str) -> AsyncIterator[CheckedDay]:
    """Every closed day, oldest first, with its findings. Raises asyncpg's errors."""
    previous: asyncpg.Record | None = None
    days = await connection.fetch(_DAYS_SQL, jurisdiction)
    missing = _at_the_ends(await connection.fetchrow(_SEALED_SQL, jurisdiction), days)
    for row in days:
        findings = [*_gap(previous, row)]
        if previous is None:
            before = await connection.fetch(_BEFORE_SQL, jurisdiction, row["day"])
            findings += [
                JournalFinding(entry["booked_on"], "added", entry["entry_no"]) for entry in before
            ]
        findings += await _day_findings(connection, jurisdiction, row)
        yield CheckedDay(
            row["day"], row["entries"], row["sum_fen"], row["digest"].hex(), tuple(findings)
        )
        previous = row
    for day in missing:
        yield CheckedDay(day, 0, 0, "", (JournalFinding(day, "missing_day"),))


def _at_the_ends(sealed: asyncpg.Record, days: list[asyncpg.Record]) -> list[date]:
    """Days with seals before the first row of `journal_day` or after the last one. `_gap` finds
    the missing days in between."""
    first, last = sealed
    if first is None:
        return []
    span = (first + timedelta(days=n) for n in range((last - first).days + 1))
    return [day for day in span if not days or not days[0]["day"] <= day <= days[-1]["day"]]


def _gap(previous: asyncpg.Record | None, row: asyncpg.Record) -> list[JournalFinding]:
    findings = []
    if previous is not None:
        missing = previous["day"] + timedelta(days=1)
        while missing < row["day"]:
            findings.append(JournalFinding(missing, "missing_day"))
            missing += timedelta(days=1)
    if row["previous_digest"] != (previous["digest"] if previous is not None else b""):
        findings.append(JournalFinding(row["day"], "broken_chain"))
    return findings


async def _day_findings(
    connection: asyncpg.Connection, jurisdiction: str, row: asyncpg.Record
) -> list[JournalFinding]:
    day = row["day"]
    rows = await connection.fetch(_ROWS_SQL, jurisdiction, day)
    findings = [JournalFinding(day, entry["fault"], entry["entry_no"]) for entry in rows]
    head = row["previous_digest"], row["entries"], row["sum_fen"]
    digest = await connection.fetchval(_DIGEST_SQL, jurisdiction, day, *head)
    if digest != row["digest"]:
        findings.append(JournalFinding(day, "broken_digest"))
    return findings
