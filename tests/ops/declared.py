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
    """The declared metrics by their scraped name; a histogram's is without `_bucket`."""
    metrics_by_name = {}
    for metric in vars(metrics).values():
        if isinstance(metric, Counter):
            metrics_by_name[f"{metric._name}_total"] = Declared(metric._labelnames, "counter")
        elif isinstance(metric, Gauge | Histogram):
            metrics_by_name[metric._name] = Declared(metric._labelnames, metric._type)
        elif isinstance(metric, metrics.AtScrape):
            metrics_by_name[metric.name] = Declared(metric.labels, metric.kind)
    return metrics_by_name


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
