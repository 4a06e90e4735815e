"""Reads `/metrics` as numbers."""

from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import House

Scraped = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def scrape(house: House, app: Any = None) -> Scraped:
    worker = (app or house.app).state.service
    worker.figures._read_at = -1e9  # read the ledger again, also just after another scrape
    worker.figures._uninvoiced._ask_at = 0.0
    async with house.client(app=app) as anyone:
        answer = await anyone.get("/metrics")
    assert answer.status_code == 200, answer.text
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def value(scraped: Scraped, name: str, **labels: str) -> float:
    return scraped.get((name, frozenset(labels.items())), 0.0)
