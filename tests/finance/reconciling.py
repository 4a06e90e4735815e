"""A file of finance's own, sent to be reconciled, and what must hold of each summary."""

import asyncio
import io
from collections.abc import AsyncIterator
from typing import Any

from service.finance.reconcile.ledger_units import ReconcileScope
from service.finance.reconcile.mapping import ColumnMapping
from service.finance.reconcile.run import ReconcileItem, ReconcileRun, ReconcileSummary
from tests.conftest import House
from tests.finance.books import PLACE, TODAY

SCOPE = ReconcileScope(PLACE, TODAY, TODAY)

DAY = {"from": "2025-06-18", "to": "2025-06-18"}
COLUMNS = {"claim_id": "单号", "amount": "补贴", "state": "状态"}
WORDS = {"states": "成功:confirmed,已退款:refunded"}
HEADING = "单号,补贴,状态"


async def ended(house: House, path: str) -> dict[str, Any]:
    async with house.client("finance") as client, asyncio.timeout(200):
        while True:
            answer = await client.get(path)
            if answer.status_code == 503:  # on a busy machine, as any client meets it
                await asyncio.sleep(1)
                continue
            shown = dict(answer.json())
            if shown["state"] != "running":
                return shown
            assert 0 <= shown["progress_percent"] <= 100
            await asyncio.sleep(0.05)


def counts(shown: dict[str, Any]) -> dict[str, int]:
    assert shown["state"] == "done", shown
    findings = shown["summary"]["findings"]
    return {name: part["count"] for name, part in findings.items() if part["count"]}


def ties_of(summary: ReconcileSummary) -> None:
    findings = summary.findings
    of_the_file = [part for name, part in findings.items() if name != "missing_there"]
    assert sum(part.count for part in of_the_file) == summary.rows - summary.bad_rows
    assert sum(part.there_fen for part in of_the_file) == summary.there_fen
    here = sum(part.here_fen for part in findings.values())
    assert here == summary.here_fen + summary.other_days.here_fen
    paired = [part for name, part in findings.items() if name not in ("missing_here", "duplicate")]
    assert sum(part.count for part in paired) >= summary.units


def movement_ties_of(summary: ReconcileSummary) -> None:
    """As `ties_of`, where rows and units may match only when they are added up."""
    findings = summary.findings
    of_the_file = [part for name, part in findings.items() if name != "missing_there"]
    paired = sum(part.count for part in of_the_file)
    assert paired == summary.rows - summary.bad_rows - summary.unmoved_rows
    assert sum(part.there_fen for part in findings.values()) == summary.there_fen
    assert sum(part.here_fen for part in findings.values()) == summary.here_fen
    matched, differing = findings["matched"], findings["amount_differs"]
    assert matched.here_fen == matched.there_fen
    with_unit = matched.count + differing.count - summary.joint_rows + summary.joint_units
    unpaid = findings["state_differs"]
    assert with_unit + unpaid.count + findings["missing_there"].count == summary.units
    assert unpaid.there_fen == summary.other_days.count == 0
    assert summary.rows_accounted == summary.rows_in_file


class StubLedger:
    """Stands for the ledger: gives these units, in this order."""

    def __init__(self, units: list[tuple[Any, ...]]) -> None:
        self._units = units

    async def execute(self, statement: str) -> None:
        pass

    async def cursor(self, *_: Any, **__: Any) -> AsyncIterator[tuple[Any, ...]]:
        for unit in self._units:
            yield unit


async def no_progress(share: float) -> None:
    assert 0 <= share <= 1


def staged(
    body: bytes, mapping: ColumnMapping, units: list[tuple[Any, ...]]
) -> tuple[ReconcileSummary, list[ReconcileItem]]:
    """(the result of the file with these units of the ledger, what has to be looked at)"""

    async def run() -> tuple[ReconcileSummary, list[ReconcileItem]]:
        reconciling = ReconcileRun(SCOPE, mapping, no_progress)
        try:
            await reconciling.stage_file(io.BytesIO(body))
            await reconciling.stage_books(StubLedger(units), 1)  # type: ignore[arg-type]
            items = [item async for item in reconciling.items(with_matched=False)]
            return reconciling.summary, items
        finally:
            reconciling.close()

    summary, items = asyncio.run(run())
    ties_of(summary)
    return summary, items
