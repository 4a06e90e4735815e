"""The replay's sums as a csv: a row for each scheme, category, grade and month."""

from service.core.reasons import ReasonCode
from service.replay.tally import ReplayTally

_KEYS = ("scheme", "category", "energy_grade", "month")
_SUMS = (
    "lines",
    "granted",
    "refunded",
    "ended",
    "subsidy_fen",
    "sales_fen",
    "booked",
    "booked_fen",
    "booked_sales_fen",
    "difference_fen",
    "more",
    "less",
)


def table_csv(tally: ReplayTally) -> bytes:
    """In the order of the keys. Amounts in fen; each reason has a column of refused lines."""
    reasons = [f"refused_{code.value}" for code in ReasonCode]
    rows = [",".join((*_KEYS, *_SUMS, *reasons))]
    for key, cell in sorted(tally.cells.items()):
        rows.append(
            ",".join(
                (
                    key.scheme,
                    key.category,
                    key.grade,
                    f"{key.month:%Y-%m}",
                    *(str(getattr(cell, name)) for name in _SUMS),
                    *(str(cell.refused[code]) for code in ReasonCode),
                )
            )
        )
    return "\n".join(rows).encode() + b"\n"
