"""Two hundred faults of fourteen kinds, and every answer still stands in the books."""

from pathlib import Path

import pytest

from tests.faults.checker import breaches
from tests.faults.storm import Storm

FAULTS, SEED, KINDS_MIN = 200, 20250618, 8


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_nothing_is_lost_or_paid_twice_in_a_storm(tmp_path: Path) -> None:
    storm = Storm(tmp_path, SEED)
    with storm.up():
        report = storm.run(FAULTS)
    found = breaches(report.history, report.books)
    print(report.table(len(found)))
    assert found == []
    assert report.faults.total() == FAULTS
    assert len(report.faults) >= KINDS_MIN
    assert report.history.counts.granted > 0
