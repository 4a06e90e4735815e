"""A seeded ledger is one that its claims could have made."""

from datetime import date

import asyncpg
import pytest

from loadtests.seed import JURISDICTION, seed
from service.audit.invariant import Finding
from service.audit.run import audit
from service.finance.journal.verify import verify
from service.policies import read_book
from tests.conftest import NOW

pytestmark = pytest.mark.anyio

CLAIMS = 1_000
INDEXES = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1"
LEFT = "SELECT sum(allocated_fen - spent_fen) FROM pool"


async def test_its_books_tie_and_its_days_are_closed(empty_database_url: str) -> None:
    connection = await asyncpg.connect(empty_database_url)
    indexes = await connection.fetch(INDEXES)
    await seed(empty_database_url, CLAIMS, NOW, first=date(2025, 6, 10))
    assert await connection.fetch(INDEXES) == indexes
    assert await connection.fetchval("SELECT count(*) FROM claim") == CLAIMS
    assert await connection.fetchval(LEFT) == 0

    book = read_book(JURISDICTION)
    _, results = await audit(connection, JURISDICTION, book, None, NOW)
    findings = [result.finding for result in results if isinstance(result.finding, Finding)]
    assert len(findings) == 6 and not any(finding.breaches for finding in findings), findings
    days = [day async for day in verify(connection, JURISDICTION)]
    assert [day.day.day for day in days] == list(range(10, 18))
    assert not any(day.findings for day in days)
    await connection.close()


async def test_a_ledger_with_claims_is_left_alone(empty_database_url: str) -> None:
    await seed(empty_database_url, 10, NOW, first=date(2025, 6, 17), close=False)
    with pytest.raises(SystemExit, match="has claims already"):
        await seed(empty_database_url, 10, NOW)


async def test_days_must_lie_under_one_policy(empty_database_url: str) -> None:
    with pytest.raises(SystemExit, match="span of days"):
        await seed(empty_database_url, 10, NOW, first=date(2024, 12, 31))
