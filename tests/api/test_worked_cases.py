"""Every worked case of the policies, as a till meets it: quoted and claimed over HTTP."""

from typing import Any

import pytest

from service import sandbox
from tests.conftest import House
from tests.core.worked_cases import checkout, fen, worked_cases

pytestmark = pytest.mark.anyio


def told(line: dict[str, Any]) -> str | int:
    if line["reasons"]:
        return " ".join(reason["code"] for reason in line["reasons"])
    return int(line["subsidy_fen"])


def expected(case: dict[str, Any]) -> str | int:
    if "refused" in case:
        return " ".join(reason.partition("/")[0] for reason in case["refused"].split())
    return fen(case["subsidy"])


async def test_every_worked_case_is_quoted_and_claimed_as_written(house: House) -> None:
    cases = sorted((param.values for param in worked_cases()), key=lambda v: str(v[0]["sold_on"]))
    wrong = []
    for n, (case, policy) in enumerate(cases):
        sale = checkout(case, n)
        # The business clock stands at the moment of sale; it only runs forward, hence the order.
        offset = sale.sold_at - sandbox.real_now()
        object.__setattr__(house.service.clock, "offset", offset)
        async with house.client() as till:
            body = sale.model_dump_json(exclude_unset=True)
            quoted = (await till.post("/v1/quotes", content=body)).json()
            headers = {"Idempotency-Key": f"case-{n}"}
            claimed = await till.post("/v1/claims", content=body, headers=headers)
        answer = claimed.json()
        if claimed.status_code == 201:
            found: str | int = answer["subsidy_fen"]
            assert answer["policy"] == policy
        else:
            found = " ".join(reason["code"] for reason in answer["reasons"])
        if not told(quoted["lines"][0]) == found == expected(case):
            wrong.append((case["case"], expected(case), quoted["lines"][0], answer))
    assert len(cases) > 60
    assert wrong == []
