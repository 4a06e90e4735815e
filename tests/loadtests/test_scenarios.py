"""Each scenario still plays: a tenth of its tills, for seconds, with every check but the times."""

from dataclasses import replace

import pytest

from loadtests import scenario
from loadtests.scenarios import SCENARIOS, Stage

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_is_accepted(name: str) -> None:
    assert scenario.play(name, quick=True) == []


def test_what_the_ledger_has_otherwise_is_not_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison with the ledger can fail: here a till was told of a fen more."""

    def one_fen_more(stage: Stage) -> list[str]:
        claim_id = next(iter(stage.told["granted"]))
        stage.told["granted"][claim_id] += 1
        return []

    told_otherwise = replace(SCENARIOS["gateway"], also=one_fen_more)
    monkeypatch.setitem(scenario.SCENARIOS, "gateway", told_otherwise)
    (fault,) = scenario.play("gateway", quick=True)
    assert fault.startswith("a till was told of")
