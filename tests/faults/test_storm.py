"""After two hundred faults of every kind, every answered claim is in the books."""

from pathlib import Path

import pytest

from tests.faults.storm import Storm
from tests.faults.weather import KINDS, schedule

FAULTS, SEED = 200, 20250618


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_nothing_is_lost_or_paid_twice_in_a_storm(tmp_path: Path) -> None:
    storm = Storm(tmp_path, SEED)
    with storm.up():
        report = storm.run(FAULTS)
    print(report.table())
    assert report.breaches() == []
    assert report.faults.total() == FAULTS
    assert report.faults.keys() == set(KINDS)
    assert report.history.counts.granted > 0
    assert report.through_slices_fen() > 0


def test_a_seed_replays_its_schedule() -> None:
    assert schedule(7, 300) == schedule(7, 300)
    assert schedule(7, 300) != schedule(8, 300)
    assert {fault.kind for fault in schedule(7, len(KINDS))} == set(KINDS)
