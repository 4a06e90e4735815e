"""The metrics that the code declares."""

import re
from dataclasses import dataclass

from prometheus_client import Counter, Gauge, Histogram

from service import metrics


@dataclass(frozen=True)
class Declared:
    labels: tuple[str, ...]
    kind: str


def declared() -> dict[str, Declared]:
    """By name, as it is scraped (a histogram without `_bucket`)."""
    found = {}
    for one in vars(metrics).values():
        if isinstance(one, Counter):
            found[f"{one._name}_total"] = Declared(one._labelnames, "counter")
        elif isinstance(one, Gauge | Histogram):
            found[one._name] = Declared(one._labelnames, one._type)
        elif isinstance(one, metrics.AtScrape):
            found[one.name] = Declared(one.labels, one.kind)
    return found


def names_in(query: str) -> set[str]:
    """The service's metrics that a query uses."""
    names = re.findall(r"\bbutie_[a-z0-9_]+", query)
    return {
        re.sub(
            r"_seconds_(bucket|sum|count)$",
            "_seconds",
            re.sub(r"_claims_(bucket|sum|count)$", "_claims", name),
        )
        for name in names
    }
