"""Sales over months in a running house, and their replay by the command."""

import asyncio
import csv
import io
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
from typer.testing import CliRunner, Result

from service.cli.commands import app
from tests.builders import checkout_json, item_json, resident_id, serial
from tests.conftest import House

IN_FORCE = "nanhu-2025.yaml"
PERIOD = ("2025-06-18", "2025-12-31")
SUMS = ("lines", "granted", "refunded", "ended", "subsidy_fen", "booked", "booked_fen",
        "difference_fen", "more", "less")  # fmt: skip


@dataclass
class Replayed:
    """What one run of the command gave."""

    result: Result
    table: list[dict[str, str]]
    lines: list[dict[str, str]]
    files: dict[str, bytes]

    @property
    def output(self) -> str:
        return self.result.output

    def total(self, name: str) -> int:
        return sum(int(row[name]) for row in self.table)

    def refused(self) -> dict[str, int]:
        """Refused lines by reason, without those that are none."""
        names = [name for name in self.table[0] if name.startswith("refused_")]
        sums = {name.removeprefix("refused_"): self.total(name) for name in names}
        return {name: lines for name, lines in sums.items() if lines}

    def outcomes(self) -> list[tuple[str, int]]:
        return [(line["outcome"], int(line["subsidy_fen"])) for line in self.lines]


async def run(
    database_url: str, folder: Path, *more: str, file: str = IN_FORCE,
    period: tuple[str, str] = PERIOD, **settings: str,
) -> Result:  # fmt: skip
    """The command, whatever comes of it."""
    environment: dict[str, Any] = {"BUTIE_DATABASE_URL": database_url, **settings}
    arguments = ["policy", "replay", file, "--from", period[0], "--to", period[1], *more]
    return await asyncio.to_thread(CliRunner().invoke, app, arguments, env=environment)


async def replayed(database_url: str, folder: Path, *more: str, **options: Any) -> Replayed:
    """A replay that succeeds, with all its files."""
    paths = {kind: folder / f"replay.{kind}" for kind in ("table", "svg", "csv", "parquet")}
    wanted = [text for kind, path in paths.items() for text in (f"--{kind}", str(path))]
    result = await run(database_url, folder, *wanted, *more, **options)
    assert result.exit_code == 0, result.output
    files = {kind: path.read_bytes() for kind, path in paths.items()}
    return Replayed(result, rows(files["table"]), rows(files["csv"]), files)


def rows(text: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text.decode())))


def later(house: House, **step: float) -> None:
    """Move the business clock on."""
    ahead = house.service.clock.offset + timedelta(**step)
    object.__setattr__(house.service.clock, "offset", ahead)


async def sell(house: House, key: str, person: int, *items: dict[str, Any], **more: Any) -> str:
    """A claim of this moment that is granted; returns its id."""
    answer = await offer(house, key, person, *items, **more)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["claim_id"])


async def offer(
    house: House, key: str, person: int, *items: dict[str, Any], **more: Any
) -> httpx.Response:
    """A claim of this moment, whatever becomes of it."""
    body = checkout_json(
        order_no=key,
        consumer={"id_type": "resident_id", "id_number": resident_id(person)},
        items=[{**item, "line_no": at} for at, item in enumerate(items, start=1)],
        **{"sold_at": house.service.clock.now().isoformat(), **more},
    )
    async with house.client() as client:
        return await client.post("/v1/claims", json=body, headers={"Idempotency-Key": key})


def aircon(n: int, price_fen: int = 599_900, **more: Any) -> dict[str, Any]:
    """The n-th air conditioner."""
    return item_json(serial_no=serial(n), price_fen=price_fen, **more)


async def refund(house: House, claim_id: str, *lines: int) -> None:
    async with house.client() as client:
        answer = await client.post(
            f"/v1/claims/{claim_id}/refunds",
            json={"lines": list(lines), "reason": "returned"},
            headers={"Idempotency-Key": f"refund-{claim_id}-{lines}"},
        )
    assert answer.status_code in (200, 201), answer.text


async def end_hold(house: House, claim_id: str, how: str) -> None:
    async with house.client() as client:
        answer = await client.post(f"/v1/claims/{claim_id}/{how}")
    assert answer.status_code == 200, answer.text
