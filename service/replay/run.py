"""The pass over all lines in the order of their claims: quotas and budgets as they would have been
used.

A line that is refused is left out of its sale, as the till is asked to do, and the other lines are
claimed. What a refund gave back comes back at its moment. A hold that came to nothing takes
nothing: the ledger does not keep when it was cancelled, and it lasts a quarter of an hour.

Under the policy that was in force nothing may be refused that the ledger granted. A claim is
stamped when it begins and committed up to seconds later, when a refund or an allocation with a
later stamp may already be in. So money and quotas come back EARLY before their stamp.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from heapq import heappop, heappush

from service.claims.claim import LineDemand, QuotaBooking
from service.claims.ledger.standing import Standing
from service.core.calendar import business_day
from service.core.quote import QuotaUse
from service.core.reasons import ReasonCode
from service.replay.counts import QuotaCounts
from service.replay.lines import LineFiles
from service.replay.price import LineKind, PricedSlice, microseconds
from service.replay.read import LedgerPlan
from service.replay.tally import Cell, CellKey, PoolTally, ReplayTally, RetailerTally

# Longer than a claim may wait in its queues and for its statement.
EARLY = timedelta(seconds=10)
_EARLY_US = EARLY // timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, order=True)
class _Return:
    """Money and quotas that come back, or are taken, at a moment."""

    at_us: int
    number: int
    pool: str
    amount_fen: int
    quotas: tuple[QuotaBooking, ...]
    allocation: bool = False


class ReplayPass:
    """`budgets_fen`: a budget instead of the ledger's, by pool; it pays for the sales of the period
    alone. `slots`: the size of the table of quotas."""

    def __init__(
        self,
        plan: LedgerPlan,
        pools: Iterable[str],
        budgets_fen: Mapping[str, int],
        files: LineFiles,
        *,
        slots: int,
    ) -> None:
        left = {**dict.fromkeys(sorted(pools), 0), **plan.opening_fen, **budgets_fen}
        self.counts = QuotaCounts(slots)
        self.tally = ReplayTally()
        self._standing = Standing({}, self.counts, left, {})
        self._given = budgets_fen
        self._files = files
        self._returns: list[_Return] = []
        self._number = 0
        self._pools = {pool: PoolTally(left[pool]) for pool in sorted(pools)}
        for movement in plan.movements:
            if movement.pool in budgets_fen:
                continue
            early = _EARLY_US if movement.amount_fen > 0 else 0
            at_us = microseconds(movement.at) - early
            self._come_back(
                at_us, movement.pool, movement.amount_fen, allocation=movement.allocation
            )

    def take(self, part: PricedSlice) -> None:
        """The next slice."""
        targets = [self._target(kind) for kind in part.kinds]
        retailers = [
            self.tally.retailers.setdefault(name, RetailerTally()) for name in part.retailers
        ]
        texts = iter(part.texts)
        for line in part.lines():
            kind_no, retailer_no, person, vehicle, at_us, refunded_us, price, subsidy, booked = line
            kind, cell = targets[kind_no]
            if self._returns and self._returns[0].at_us <= at_us:
                self._take_back(at_us)
            if kind.role != "judged":
                self._book(kind, person, vehicle, at_us, refunded_us, booked)
                continue
            reasons: tuple[ReasonCode, ...] = kind.reasons
            if not reasons and not kind.ended:
                demand = LineDemand(
                    1, kind.pool, subsidy, (), _bookings(kind.quotas, person, vehicle, subsidy)
                )
                if against := self._standing.take("", demand):
                    reasons = tuple([reason.code for reason in against])
                    if ReasonCode.BUDGET_EXHAUSTED in reasons:
                        self._short(kind.pool, at_us, subsidy)
                elif refunded_us:
                    self._refund(at_us, refunded_us, demand)
            _count(cell, retailers[retailer_no], kind, reasons, price, subsidy, booked)
            if texts:
                self._files.add(next(texts, ""), kind, reasons, subsidy)
        self.tally.claims += part.claims
        self._files.end_slice()

    def finish(self, until: datetime) -> ReplayTally:
        """The sums, when every slice was taken. The pools have what is left at this moment."""
        self._take_back(microseconds(until) - 1)
        for pool, tally in self._pools.items():
            tally.left_fen = self._standing.left_fen[pool]
        self.tally.pools = self._pools
        return self.tally

    # --- what comes back ----------------------------------------------------------------

    def _come_back(
        self,
        at_us: int,
        pool: str,
        amount_fen: int,
        quotas: tuple[QuotaBooking, ...] = (),
        *,
        allocation: bool = False,
    ) -> None:
        self._number += 1
        heappush(self._returns, _Return(at_us, self._number, pool, amount_fen, quotas, allocation))

    def _take_back(self, until_us: int) -> None:
        """Do all that is due up to this moment."""
        while self._returns and self._returns[0].at_us <= until_us:
            due = heappop(self._returns)
            self._give_back(due.pool, due.amount_fen, due.quotas)
            if due.allocation and due.pool in self._pools:
                self._pools[due.pool].budget_fen += due.amount_fen

    def _give_back(self, pool: str, amount_fen: int, quotas: tuple[QuotaBooking, ...]) -> None:
        left = self._standing.left_fen
        left[pool] = left.get(pool, 0) + amount_fen
        for quota in quotas:
            self.counts[quota.key] = self.counts.get(quota.key) - quota.amount

    def _refund(self, at_us: int, refunded_us: int, demand: LineDemand) -> None:
        restored = tuple([quota for quota in demand.quotas if quota.restored])
        back_us = max(refunded_us - _EARLY_US, at_us + 1)
        self._come_back(back_us, demand.pool, demand.subsidy_fen, restored)

    # --- lines --------------------------------------------------------------------------

    def _book(
        self, kind: LineKind, person: int, vehicle: int, at_us: int, refunded_us: int, fen: int
    ) -> None:
        """A line that keeps what the ledger gave it, whatever the policy says."""
        if kind.ended:
            return
        # The money of earlier claims is in the opening sums and the movements.
        ours = kind.role == "booked" and kind.pool not in self._given
        demand = LineDemand(
            1, kind.pool, fen if ours else 0, (), _bookings(kind.quotas, person, vehicle, fen)
        )
        left = self._standing.left_fen
        left[kind.pool] = left.get(kind.pool, 0) - demand.subsidy_fen
        for quota in demand.quotas:
            self.counts[quota.key] = self.counts.get(quota.key) + quota.amount
        if refunded_us:
            self._refund(at_us, refunded_us, demand)

    def _short(self, pool: str, at_us: int, fen: int) -> None:
        day = _day(at_us)
        tally = self._pools[pool]
        tally.refused += 1
        tally.refused_fen += fen
        tally.ran_out_on = tally.ran_out_on or day
        tally.last_refused_on = day

    def _target(self, kind: LineKind) -> tuple[LineKind, Cell]:
        if kind.role != "judged":
            return kind, Cell()
        key = CellKey(kind.scheme, kind.category, kind.grade, kind.month)
        return kind, self.tally.cells.setdefault(key, Cell())


def _bookings(
    uses: tuple[QuotaUse, ...], person: int, vehicle: int, fen: int
) -> tuple[QuotaBooking, ...]:
    return tuple(
        [
            QuotaBooking(
                (person if use.subject == "person" else vehicle).to_bytes(8),
                use.subject,
                use.quota,
                use.period,
                use.amount or fen,
                use.limit,
                use.unit,
                use.restored,
            )
            for use in uses
        ]
    )


def _count(
    cell: Cell,
    retailer: RetailerTally,
    kind: LineKind,
    reasons: tuple[ReasonCode, ...],
    price_fen: int,
    subsidy_fen: int,
    booked_fen: int,
) -> None:
    cell.lines += 1
    if kind.ended:
        cell.ended += 1
        return
    cell.booked += 1
    if reasons:
        cell.refused[reasons[0]] += 1
        subsidy_fen = 0
    else:
        cell.granted += 1
        cell.age_unproved += kind.age_unproved
    if kind.state == "refunded":
        cell.refunded += not reasons
        return
    cell.booked_fen += booked_fen
    cell.booked_sales_fen += price_fen
    retailer.booked_fen += booked_fen
    if not reasons:
        cell.subsidy_fen += subsidy_fen
        cell.sales_fen += price_fen
        retailer.subsidy_fen += subsidy_fen
    if subsidy_fen > booked_fen:
        cell.more += 1
    elif subsidy_fen < booked_fen:
        cell.less += 1


def _day(at_us: int) -> date:
    return business_day(datetime.fromtimestamp(at_us // 1_000_000, tz=UTC))
