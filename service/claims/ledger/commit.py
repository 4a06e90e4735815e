"""Commits a batch of claims with one call (`commit_claims.sql`), and handles its failure.

If one claim of the batch violates a constraint, the call fails and nothing is kept. The
standing of every claim is then read. Claims that cannot commit are refused with their reasons. The
rest are tried once more together, and after that one by one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

import asyncpg
from pydantic_core import to_json

from service.claims.claim import LineDemand, PendingClaim
from service.claims.ledger.retry import retried
from service.claims.ledger.standing import read_standing
from service.claims.outcomes import LineReasons
from service.core.calendar import business_day
from service.core.checkout import Item, TradeIn
from service.pools.state import PoolState

_COMMIT_SQL = "SELECT left_out, pools FROM commit_claims($1, $2, $3, $4, $5, $6, $7)"


@dataclass(frozen=True, slots=True)
class Committed:
    """The claim is durable."""


@dataclass(frozen=True, slots=True)
class KeyTaken:
    """The key has a claim already, or this attempt is fenced."""


@dataclass(frozen=True, slots=True)
class Unfit:
    """The constraints do not allow the claim. No reasons: the obstacle has gone meanwhile."""

    reasons: LineReasons


@dataclass(frozen=True, slots=True)
class GivenUp:
    """The connection broke, and this attempt is fenced. A new attempt is safe."""


CommitVerdict = Committed | KeyTaken | Unfit | GivenUp

_COMMITTED, _KEY_TAKEN = Committed(), KeyTaken()


@dataclass(slots=True)
class Commit:
    """One batch on its way into the ledger. `verdicts`: those decided so far, by claim id. `pools`:
    the newest state of each pool row that it changed, by pool and slice."""

    jurisdiction: str
    bypassed: bool  # some claims have not passed the gate
    verdicts: dict[UUID, CommitVerdict] = field(default_factory=dict)
    pools: dict[tuple[str, int], PoolState] = field(default_factory=dict)
    _short: bool = False  # the last try failed because a pool's own row had too little money
    _connection: asyncpg.Connection = field(init=False)

    async def run(self, connection: asyncpg.Connection, batch: Sequence[PendingClaim]) -> None:
        """Give each claim its verdict. Raises asyncpg's errors: the outcome of the claims without a
        verdict is then unknown."""
        self._connection = connection
        waiting = list(batch)
        while waiting:
            together, waiting = split_collisions(waiting)
            await self._commit(together)

    async def _commit(self, claims: list[PendingClaim]) -> None:
        if await self._try(claims):
            return
        claims = await self._refuse_unfit(claims)
        if not claims or await self._try(claims, recall=self._short):
            return
        await self._commit_in_parts(claims)

    async def _commit_in_parts(self, claims: list[PendingClaim]) -> None:
        """Commit claims that failed together, by halves: few calls find those that cannot."""
        if len(claims) == 1:
            if not await self._try(claims, recall=True) and await self._refuse_unfit(claims):
                self.verdicts[claims[0].claim_id] = Unfit(())
            return
        middle = len(claims) // 2
        for half in (claims[:middle], claims[middle:]):
            fit = await self._refuse_unfit(half)
            if fit and not await self._try(fit, recall=True):
                await self._commit_in_parts(fit)

    async def _try(self, claims: list[PendingClaim], *, recall: bool = False) -> bool:
        """Commit all claims; False: none, because of a constraint. `recall`: first move the money
        that the pools' slices have left into the pools' own rows, and spend from these."""
        args = (self.jurisdiction, *commit_rows(claims), self.bypassed, recall)
        try:
            left_out, pools = await retried(lambda: commit_claims(self._connection, args))
        except asyncpg.IntegrityConstraintViolationError as error:
            self._short = error.constraint_name == "pool_not_overspent"
            return False
        for claim in claims:
            is_out = claim.claim_id in left_out
            self.verdicts[claim.claim_id] = _KEY_TAKEN if is_out else _COMMITTED
        for state in pools:
            self.pools[state.pool, state.slice_no] = state
        return True

    async def _refuse_unfit(self, claims: list[PendingClaim]) -> list[PendingClaim]:
        """Give the claims that cannot commit their verdict. Returns the others."""
        demands = (line for claim in claims for line in claim.lines)
        standing = await read_standing(self._connection, self.jurisdiction, demands)
        fit = []
        for claim in claims:
            reasons = standing.reasons_against(claim.seller.retailer_id, claim.lines)
            if reasons:
                self.verdicts[claim.claim_id] = Unfit(reasons)
            else:
                fit.append(claim)
        return fit


async def commit_claims(
    connection: asyncpg.Connection, arguments: Sequence[object]
) -> tuple[set[UUID], list[PoolState]]:
    """(ids of the claims that were left out, the rows of pools that have paid the others). Raises
    asyncpg's errors; nothing is kept then."""
    left_out, pools = await connection.fetchrow(_COMMIT_SQL, *arguments)
    return set(left_out or ()), [PoolState(*row) for row in pools or ()]


def split_collisions(
    claims: Sequence[PendingClaim],
) -> tuple[list[PendingClaim], list[PendingClaim]]:
    """(claims that share no key, serial or quota with an earlier claim, the others).

    Two claims of one call that need the same one would both fail. In a later call, the second finds
    what the first has left.
    """
    seen: set[object] = set()
    together: list[PendingClaim] = []
    later: list[PendingClaim] = []
    for claim in claims:
        contended = _contended(claim)
        (together if seen.isdisjoint(contended) else later).append(claim)
        seen.update(contended)
    return together, later


def _contended(claim: PendingClaim) -> list[object]:
    contended: list[object] = [(claim.seller.retailer_id, claim.idempotency_key)]
    for line in claim.lines:
        contended += line.serials
        contended += [quota.key for quota in line.quotas]
    return contended


def commit_rows(claims: Sequence[PendingClaim]) -> list[list[tuple[object, ...]]]:
    """What `commit_claims` takes: claims, lines, serials, quotas (migrations 0011 and 0014)."""
    lines = [(claim.claim_id, line) for claim in claims for line in claim.lines]
    return [
        [_claim_row(claim) for claim in claims],
        [row for claim in claims for row in _line_rows(claim)],
        [(claim_id, serial, line.line_no) for claim_id, line in lines for serial in line.serials],
        [
            (claim_id, *quota.key, quota.amount, quota.limit)
            for claim_id, line in lines
            for quota in line.quotas
        ],
    ]


def _claim_row(claim: PendingClaim) -> tuple[object, ...]:
    checkout, quote = claim.checkout, claim.quote
    return (
        claim.claim_id,
        claim.seller.retailer_id,
        claim.seller.store_id,
        claim.idempotency_key,
        claim.fingerprint,
        checkout.order_no,
        quote.policy,
        checkout.sold_at,
        claim.created_at,
        claim.expires_at,
        checkout.consumer.id_type,
        claim.consumer_digest,
        checkout.consumer.id_number[-4:],
        quote.price_fen,
        quote.subsidy_fen,
        checkout.invoice_no,
        checkout.delivery_region,
        business_day(claim.created_at),
    )


def _line_rows(claim: PendingClaim) -> list[tuple[object, ...]]:
    return [
        (
            claim.claim_id,
            line.line_no,
            line.category,
            line.scheme,
            line.pool,
            line.price_fen,
            line.rate_bp,
            line.cap_fen,
            line.subsidy_fen,
            item.energy_grade,
            item.serial_no,
            item.imei,
            item.barcode,
            item.brand,
            item.model,
            _trade_in_json(item.trade_in),
            _quotas_json(demand),
            _facts_json(item),
        )
        for line, item, demand in zip(
            claim.quote.lines, claim.checkout.items, claim.lines, strict=True
        )
    ]


def _trade_in_json(trade_in: TradeIn | None) -> str | None:
    return None if trade_in is None else trade_in.model_dump_json()


def _facts_json(item: Item) -> str | None:
    facts = item.facts()
    return to_json(facts).decode() if facts else None


def _quotas_json(line: LineDemand) -> str:
    uses = [
        {
            "subject": quota.subject.hex(),
            "quota": quota.quota,
            "period": quota.period,
            "amount": quota.amount,
            "restored": quota.restored,
        }
        for quota in line.quotas
    ]
    return to_json(uses).decode()
