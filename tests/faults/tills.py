"""Tills that sell, retry until they have a definite answer, and record the answers."""

import asyncio
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx

from tests.builders import item_json, resident_id
from tests.faults.history import History, Sale

# A till waits this long for an answer, then sends the same request again.
PATIENCE_S = 3.0
RETRY_S = 0.15
# So few people that quotas run out.
PEOPLE = 4000
CATEGORIES = ("air_conditioner", "refrigerator", "television", "washing_machine")


class Till:
    """One cashier. `serials` yields serial numbers, mostly new ones."""

    def __init__(
        self,
        number: int,
        seed: int,
        history: History,
        client: httpx.AsyncClient,
        serials: Iterator[str],
    ) -> None:
        self._name = f"t{number}"
        self._random = random.Random(seed * 1000 + number)
        self._history = history
        self._client = client
        self._serials = serials
        self._count = 0

    async def work(self, until: asyncio.Event) -> None:
        while not until.is_set():
            await self._sell()
            await asyncio.sleep(self._random.uniform(0, 0.05))

    async def _sell(self) -> None:
        self._count += 1
        sale = Sale(f"{self._name}-{self._count}", self._checkout())
        self._history.sales.append(sale)
        answer = await self._until_definite("/v1/claims", sale.checkout, sale.key)
        if answer.status_code == 409:
            sale.refused = True
            self._history.counts.refused += 1
            return
        if not self._expected(answer, 201):
            return
        self._history.counts.granted += 1
        claim = answer.json()
        sale.granted.append(claim)
        path = f"/v1/claims/{claim['claim_id']}"
        if self._random.random() < 0.1:  # as if the answer had been lost
            again = await self._until_definite("/v1/claims", sale.checkout, sale.key)
            if self._expected(again, 201):
                sale.granted.append(again.json())
        if sale.checkout["hold"]:
            await self._end(sale, path)
        elif self._random.random() < 0.3:
            body = {"lines": [1], "reason": "returned"}
            answer = await self._until_definite(f"{path}/refunds", body, f"{sale.key}-refund")
            sale.refunded = self._expected(answer, 201)

    async def _end(self, sale: Sale, path: str) -> None:
        word, state = self._random.choice([("confirm", "confirmed"), ("cancel", "cancelled")])
        answer = await self._until_definite(f"{path}/{word}", None, sale.key)
        if self._expected(answer, 200):
            sale.ended = state

    def _checkout(self) -> dict[str, Any]:
        person = self._random.randrange(PEOPLE)
        return {
            "store_id": "S1",
            "order_no": f"{self._name}-{self._count}",
            "sold_at": datetime.now(UTC).isoformat(),
            "consumer": {"id_type": "resident_id", "id_number": resident_id(person)},
            "items": [
                item_json(
                    category=self._random.choice(CATEGORIES),
                    price_fen=self._random.randrange(50_000, 700_000),
                    serial_no=next(self._serials),
                )
            ],
            "hold": self._random.random() < 0.3,
        }

    async def _until_definite(self, path: str, body: Any, key: str) -> httpx.Response:
        while True:
            try:
                answer = await self._client.post(
                    path, json=body, headers={"Idempotency-Key": key}, timeout=PATIENCE_S
                )
                self._history.counts.answered += 1
                if answer.status_code not in (429, 503):
                    return answer
            except httpx.HTTPError:
                pass  # the outcome is unknown
            self._history.counts.retried += 1
            await asyncio.sleep(RETRY_S * self._random.uniform(0.5, 1.5))

    def _expected(self, answer: httpx.Response, status: int) -> bool:
        if answer.status_code == status:
            return True
        self._history.strange.append(
            f"{answer.request.url.path} was answered {answer.status_code}: {answer.text[:200]}"
        )
        return False


def serials(seed: int) -> Iterator[str]:
    """New serial numbers; one in twelve was used before."""
    chance = random.Random(seed)
    used: list[str] = []
    while True:
        if used and chance.random() < 1 / 12:
            yield chance.choice(used)
        else:
            used.append(f"F{len(used):08d}")
            yield used[-1]
