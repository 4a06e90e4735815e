"""Prices a slice of the ledger's lines under the replayed policy, as a till's quote would be."""

import json
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

from service.core.calendar import business_day
from service.core.identifiers import folded_serial
from service.core.policy import Policy, PolicyBook
from service.core.quote import LineQuote, QuotaUse, quotas_of, quote
from service.core.reasons import ReasonCode
from service.core.value import value
from service.replay.counts import hash_of
from service.replay.period import ReplayPeriod
from service.replay.sold import checkout_of

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

# "judged": a sale of the period. "booked": another sale among them, which keeps what the ledger
# gave it. "history": a claim from before the period, whose quotas alone count.
LineRole = Literal["judged", "booked", "history"]
_ENDED = ("cancelled", "expired")


@value
class LineKind:
    """What lines of a slice have in common. An amount of `quotas` in fen is 0: it is the line's
    subsidy. `month`: the first day. `reasons`: those of the rules."""

    role: LineRole
    scheme: str
    category: str
    grade: str
    month: date
    state: str
    pool: str
    quotas: tuple[QuotaUse, ...]
    reasons: tuple[ReasonCode, ...]
    age_unproved: bool

    @property
    def ended(self) -> bool:
        """A hold that came to nothing."""
        return self.state in _ENDED


@dataclass(slots=True)
class PricedSlice:
    """Lines in the order of their claims, a column an array, because millions of tuples would take
    longer to hand over than to price. Instants in microseconds since 1970; 0 where there is none.
    """

    kinds: list[LineKind] = field(default_factory=list)
    retailers: list[str] = field(default_factory=list)
    kind_nos: "array[int]" = field(default_factory=lambda: array("I"))
    retailer_nos: "array[int]" = field(default_factory=lambda: array("I"))
    persons: "array[int]" = field(default_factory=lambda: array("Q"))
    vehicles: "array[int]" = field(default_factory=lambda: array("Q"))
    claimed_us: "array[int]" = field(default_factory=lambda: array("q"))
    refunded_us: "array[int]" = field(default_factory=lambda: array("q"))
    price_fen: "array[int]" = field(default_factory=lambda: array("q"))
    subsidy_fen: "array[int]" = field(default_factory=lambda: array("q"))
    booked_fen: "array[int]" = field(default_factory=lambda: array("q"))
    # The first cells of each judged line of the csv, if it is written.
    texts: list[str] = field(default_factory=list)
    claims: int = 0

    def lines(self) -> Iterator[tuple[int, int, int, int, int, int, int, int, int]]:
        """The columns line by line, from `kind_nos` to `booked_fen`."""
        return zip(
            self.kind_nos,
            self.retailer_nos,
            self.persons,
            self.vehicles,
            self.claimed_us,
            self.refunded_us,
            self.price_fen,
            self.subsidy_fen,
            self.booked_fen,
            strict=True,
        )


# The lowest age that a policy of the ledger asked for, by policy and category.
AgesProved = Mapping[tuple[str, str], int]


def ages_proved(book: PolicyBook) -> dict[tuple[str, str], int]:
    return {
        (policy.id, category.id): category.age_min.value
        for policy in book.policies
        for category in policy.categories.values()
        if category.age_min
    }


class Pricer:
    """`texts`: whether the lines are written to a file."""

    def __init__(
        self, policy: Policy, period: ReplayPeriod, ages: AgesProved, *, texts: bool
    ) -> None:
        self._replayed = PolicyBook(policy.jurisdiction, (policy,))
        self._policy = policy
        self._period = period
        self._texts = texts
        self._ages = ages
        self._days: dict[date, timedelta] = {}

    def price(self, rows: Sequence[Any], *, history: bool) -> PricedSlice:
        """The lines of whole claims, rows of `read.LINES`."""
        build = _SliceBuilder(self._policy, self._ages, texts=self._texts)
        start = 0
        while start < len(rows):
            claim_id, end = rows[start][0], start + 1
            while end < len(rows) and rows[end][0] == claim_id:
                end += 1
            self._price_claim(build, rows[start:end], history=history)
            start = end
        return build.slice

    def _price_claim(self, build: "_SliceBuilder", lines: Sequence[Any], *, history: bool) -> None:
        head = lines[0]
        sold_at: datetime = head["sold_at"]
        sold_on = business_day(sold_at)
        build.slice.claims += 1
        if history or not self._period.covers(sold_on):
            day = self._period.moved(sold_on)
            for row in lines:
                build.add_as_booked(row, "history" if history else "booked", sold_on, day)
            return
        moved_by = self._days.get(sold_on)
        if moved_by is None:
            moved_by = self._days[sold_on] = self._period.moved(sold_on) - sold_on
        checkout = checkout_of(lines, sold_at + moved_by, head["id_type"], self._period)
        priced = quote(self._replayed, checkout, head["created_at"] + moved_by)
        for row, line in zip(lines, priced.lines, strict=True):
            build.add_judged(row, line, sold_on)


class _SliceBuilder:
    def __init__(self, policy: Policy, ages: AgesProved, *, texts: bool) -> None:
        self.slice = PricedSlice()
        self._policy = policy
        self._ages = ages
        self._texts = texts
        self._kind_nos: dict[tuple[object, ...], int] = {}
        self._retailer_nos: dict[str, int] = {}

    def add_judged(self, row: Any, line: LineQuote, sold_on: date) -> None:
        codes = tuple([reason.code for reason in line.reasons])
        key = (
            row["category"], row["energy_grade"], sold_on.year, sold_on.month, row["state"], codes,
            row["policy"], row["scheme"],
        )  # fmt: skip
        kind_no = self._kind_nos.get(key)
        if kind_no is None:
            kind_no = self._kind_nos[key] = len(self.slice.kinds)
            self.slice.kinds.append(
                LineKind(
                    role="judged",
                    scheme=line.scheme or row["scheme"],
                    category=row["category"],
                    grade=row["energy_grade"] or "",
                    month=sold_on.replace(day=1),
                    state=row["state"],
                    pool=line.pool or "",
                    quotas=_without_sums(line.quotas),
                    reasons=codes,
                    age_unproved=self._age_unproved(row["policy"], row["category"]),
                )
            )
        self._add(row, kind_no, line.subsidy_fen)
        if self._texts:
            self.slice.texts.append(_text(row, sold_on))

    def add_as_booked(self, row: Any, role: LineRole, sold_on: date, moved_on: date) -> None:
        """A line that takes what the ledger gave it."""
        key = (role, row["category"], moved_on.year, row["state"], row["pool"])
        kind_no = self._kind_nos.get(key)
        if kind_no is None:
            kind_no = self._kind_nos[key] = len(self.slice.kinds)
            category = self._policy.categories.get(row["category"])
            uses = quotas_of(self._policy, category, moved_on, 0) if category else ()
            self.slice.kinds.append(
                LineKind(
                    role=role,
                    scheme=row["scheme"],
                    category=row["category"],
                    grade="",
                    month=sold_on.replace(day=1),
                    state=row["state"],
                    pool=row["pool"],
                    quotas=_without_sums(uses),
                    reasons=(),
                    age_unproved=False,
                )
            )
        self._add(row, kind_no, row["subsidy_fen"])

    def _add(self, row: Any, kind_no: int, subsidy_fen: int) -> None:
        to, retailer = self.slice, row["retailer_id"]
        retailer_no = self._retailer_nos.get(retailer)
        if retailer_no is None:
            retailer_no = self._retailer_nos[retailer] = len(to.retailers)
            to.retailers.append(retailer)
        to.kind_nos.append(kind_no)
        to.retailer_nos.append(retailer_no)
        to.persons.append(int.from_bytes(row["person"][-8:]))
        to.vehicles.append(_vehicle(row) if row["trade_in"] else 0)
        to.claimed_us.append(microseconds(row["created_at"]))
        refunded_at = row["refunded_at"]
        to.refunded_us.append(microseconds(refunded_at) if refunded_at else 0)
        to.price_fen.append(row["price_fen"])
        to.subsidy_fen.append(subsidy_fen)
        to.booked_fen.append(row["subsidy_fen"])

    def _age_unproved(self, policy_id: str, category_id: str) -> bool:
        """Whether the policy asks for an age that the ledger's own did not."""
        category = self._policy.categories.get(category_id)
        if category is None or category.age_min is None:
            return False
        return category.age_min.value > self._ages.get((policy_id, category_id), 0)


def microseconds(instant: datetime) -> int:
    """Since 1970."""
    return (instant - _EPOCH) // _MICROSECOND


def _without_sums(uses: tuple[QuotaUse, ...]) -> tuple[QuotaUse, ...]:
    return tuple(replace(use, amount=0) if use.unit == "fen" else use for use in uses)


def _vehicle(row: Any) -> int:
    """The old vehicle's digest, or its number's hash if the ledger's policy had no quota for it."""
    if row["vehicle"] is not None:
        return int.from_bytes(row["vehicle"][-8:])
    return hash_of(folded_serial(json.loads(row["trade_in"])["serial_no"]))


def _text(row: Any, sold_on: date) -> str:
    return (
        f"{row['claim_id']},{row['line_no']},{sold_on},{row['retailer_id']},{row['category']},"
        f"{row['energy_grade'] or ''},{row['price_fen']},{row['state']},{row['subsidy_fen']}"
    )
