"""Code and documents name the same metrics, with the same labels and types."""

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
    code = {name: (one.labels, one.kind) for name, one in declared().items()}
    assert documented == code


def test_names_tell_what_is_counted_and_its_unit() -> None:
    for name, one in declared().items():
        assert name.startswith("butie_")
        assert name.endswith("_total") == (one.kind == "counter"), name
