"""One row of the bench: ours beside something else, in turn, round after round."""

import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(slots=True)
class Sample:
    """One run. `value` in the row's unit; times in milliseconds; CPU seconds for 1,000 of what was
    counted, by part."""

    value: float
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    cpu_s: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class Row:
    """`bar`: what the ratio of the medians' pairs must reach (`at_most`: must not pass)."""

    name: str
    unit: str
    ours: str
    other: str
    bar: float | None
    at_most: bool = False
    inverse: bool = False  # a smaller value is the better one: the ratio is other / ours
    samples: dict[str, list[Sample]] = field(default_factory=lambda: {"ours": [], "other": []})
    remarks: list[str] = field(default_factory=list)

    def rounds(self, count: int, ours: Callable[[], Sample], other: Callable[[], Sample]) -> "Row":
        """Run both in turn; which of them comes first changes from round to round."""
        for number in range(count):
            pair = [("ours", ours), ("other", other)]
            for side, run in pair if number % 2 == 0 else reversed(pair):
                self.samples[side].append(run())
        return self

    @property
    def ratios(self) -> list[float]:
        pairs = zip(self.samples["ours"], self.samples["other"], strict=True)
        if self.inverse:
            return [other.value / ours.value for ours, other in pairs]
        return [ours.value / other.value for ours, other in pairs]

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)

    @property
    def reached(self) -> bool | None:
        if self.bar is None:
            return None
        return self.ratio <= self.bar if self.at_most else self.ratio >= self.bar

    def as_json(self) -> dict[str, Any]:
        return {
            **asdict(self),
            "ratios": self.ratios,
            "ratio": self.ratio,
            "reached": self.reached,
        }


def median(samples: list[Sample], what: str) -> float | None:
    """The median of a field over the rounds; None where it was not measured."""
    values = [value for one in samples if (value := getattr(one, what)) is not None]
    return statistics.median(values) if values else None
