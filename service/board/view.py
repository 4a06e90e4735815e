"""Turns a reading of the budgets into the figures of the page."""

from typing import Any

from service.board.figures import BoardFigures, PoolFigures
from service.core.calendar import SHANGHAI, business_day
from service.core.policy import Policy, PolicyBook
from service.core.sentences import Sentence
from service.pools.burn import PoolBurn
from service.pools.watch import BudgetView, PoolForecast


def figures_of(budgets: BudgetView, book: PolicyBook, *, sandbox: bool) -> BoardFigures:
    policy = book.on(business_day(budgets.at))
    usual = [
        outlook.forecast.daily_fen
        for outlook in budgets.forecasts.values()
        if outlook.forecast.days
    ]
    line: dict[Any, int] = {}
    for pool in budgets.pools:
        for burnt in pool.line:
            line[burnt.at] = line.get(burnt.at, 0) + burnt.fen
    return BoardFigures(
        at=budgets.at.astimezone(SHANGHAI),
        policy=Sentence(policy.zh, policy.en) if policy else None,
        pools=[
            _pool(pool, budgets.forecasts[pool.pool], _name(pool.pool, book, policy))
            for pool in sorted(budgets.pools, key=lambda pool: _order(pool.pool, policy))
        ],
        line=sorted(line.items()),
        usual_fen=sum(usual) if usual else None,
        claims_per_minute=budgets.claims_per_minute,
        sandbox=sandbox,
    )


def _order(pool: str, policy: Policy | None) -> tuple[int, str]:
    """The policy's order; pools that it does not have come last."""
    names = list(policy.schemes) if policy else []
    return next((at for at, name in enumerate(names) if name == pool), len(names)), pool


def _name(pool: str, book: PolicyBook, today: Policy | None) -> Sentence:
    """The name in today's policy, else in the newest that has the pool, else its id."""
    for policy in (today, *reversed(book.policies)):
        for name, scheme in policy.schemes.items() if policy else ():
            if name == pool:
                return Sentence(scheme.zh, scheme.en)
    return Sentence(pool, pool)


def _pool(pool: PoolBurn, outlook: PoolForecast, name: Sentence) -> PoolFigures:
    opening = pool.planned[0] if pool.planned else None
    return PoolFigures(
        pool=pool.pool,
        name=name,
        allocated_fen=pool.allocated_fen,
        remaining_fen=pool.remaining_fen,
        reserved_fen=pool.reserved_fen,
        today_fen=pool.today_fen,
        next_opens_at=opening.opens_at if opening else None,
        next_fen=opening.amount_fen if opening else 0,
        ends_on=outlook.ends_on,
        forecast=outlook.forecast,
    )
