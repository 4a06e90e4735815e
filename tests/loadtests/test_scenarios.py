"""Each scenario still works: a tenth of its tills, some seconds, no limit on times."""

from dataclasses import replace

import pytest

from loadtests import scenario
from loadtests.scenarios import SCENARIOS, Stage

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_is_accepted(name: str) -> None:
    assert scenario.play(name, quick=True) == []


def test_an_answer_that_differs_from_the_ledger_is_not_accepted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The comparison with the ledger can fail: here a till's answer is a fen higher."""

    def one_fen_more(stage: Stage) -> list[str]:
        claim_id = next(iter(stage.outcome["granted"]))
        stage.outcome["granted"][claim_id] += 1
        return []

    changed = replace(SCENARIOS["gateway"], checks=one_fen_more)
    monkeypatch.setitem(scenario.SCENARIOS, "gateway", changed)
    (fault,) = scenario.play("gateway", quick=True)
    assert fault.startswith("a till got ")
