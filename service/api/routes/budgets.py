"""Budgets, for the commerce bureau: read from the ledger, so exact."""

from fastapi import APIRouter, Depends

from service.api.auth import Refusal, ServiceOf, allowed
from service.api.models import Budgets
from service.api.problems import documented
from service.db.engine import connect
from service.finance.budgets import Budget, read_budgets

router = APIRouter(
    prefix="/v1/budgets",
    tags=["budgets"],
    dependencies=[Depends(allowed("budgets:read"))],
    responses=documented("unauthorized", "missing_scope", "ledger_unavailable"),
)


@router.get("")
async def list_budgets(service: ServiceOf) -> Budgets:
    """What each pool was allocated, what of it is confirmed and reserved, and what is left."""
    async with connect(service.engine) as connection:
        return Budgets(await read_budgets(connection, service.settings.jurisdiction))


@router.get("/{pool}", responses=documented("not_found"))
async def read_budget(service: ServiceOf, pool: str) -> Budget:
    """One pool."""
    async with connect(service.engine) as connection:
        budgets = await read_budgets(connection, service.settings.jurisdiction)
    # A name from outside never reaches a statement: not every text is one to PostgreSQL (NUL).
    for budget in budgets:
        if budget.pool == pool:
            return budget
    raise Refusal("not_found")
