"""One row of the bench: ours and something else, measured in turn for several rounds."""

import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(slots=True)
class Sample:
    """One run. `value` is in the row's unit. `cpu_s` has CPU seconds for 1,000 counted items, by
    program."""

    value: float
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    cpu_s: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class Row:
    """Two sides that are compared. The median ratio must be at least `bar`; with `at_most`, at most
    `bar`."""

    name: str
    unit: str
    ours: str
    other: str
    bar: float | None
    at_most: bool = False
    inverse: bool = False  # smaller values are better: the ratio is other / ours
    samples: dict[str, list[Sample]] = field(default_factory=lambda: {"ours": [], "other": []})
    remarks: list[str] = field(default_factory=list)

    def rounds(self, count: int, ours: Callable[[], Sample], other: Callable[[], Sample]) -> "Row":
        """Run both sides in each round. The order alternates from round to round."""
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
    values = [value for sample in samples if (value := getattr(sample, what)) is not None]
    return statistics.median(values) if values else None
