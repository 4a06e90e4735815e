"""The code and `deploy/metrics.md` have the same metrics, labels and types."""

import re
from pathlib import Path

from tests.ops.declared import declared

DEPLOY = Path(__file__).parents[2] / "deploy"


def test_every_metric_is_documented_and_every_documented_one_exists() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \|([^|]*)\| (\w+) \|", (DEPLOY / "metrics.md").read_text(), re.MULTILINE
    )
    documented = {
        name: (tuple(filter(None, labels.strip().split(", "))), kind) for name, labels, kind in rows
    }
    code = {name: (metric.labels, metric.kind) for name, metric in declared().items()}
    assert documented == code


def test_names_begin_with_butie_and_only_those_of_counters_end_in_total() -> None:
    for name, metric in declared().items():
        assert name.startswith("butie_")
        assert name.endswith("_total") == (metric.kind == "counter"), name
