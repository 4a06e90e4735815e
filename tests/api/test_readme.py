"""The claim that README.md shows, as a stranger sends it to a sandbox that has just begun."""

import json
import re
from datetime import datetime
from pathlib import Path

import pytest

from tests.conftest import House

pytestmark = pytest.mark.anyio

README = (Path(__file__).parents[2] / "README.md").read_text()
BEGINS = re.search(r"`BUTIE_CLOCK` \| (\S+) ", README)
# Which claim it is, and when it was made.
OWN = ("claim_id", "created_at")


async def test_the_claim_of_the_readme_is_granted_as_it_says(house: House) -> None:
    section = README.split("## A claim", 1)[1]
    request, answer = (
        json.loads(text) for text in re.findall(r"^\n(\{.*?\})\n```", section, re.DOTALL | re.M)[:2]
    )
    assert BEGINS is not None
    assert datetime.fromisoformat(request["sold_at"]) <= datetime.fromisoformat(BEGINS[1])
    async with house.client() as till:
        granted = await till.post("/v1/claims", json=request, headers={"Idempotency-Key": "k"})
    assert granted.status_code == 201
    told = granted.json()
    assert {**told, **{name: answer[name] for name in OWN}} == answer
