"""`butie retailer`, `store`, `key`, `acts` and `budget`, as the operator types them."""

import asyncio
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from service.cli.commands import app
from tests.builders import uscc
from tests.conftest import House

pytestmark = pytest.mark.anyio


async def butie(house: House, *words: str) -> Result:
    environment = {"BUTIE_DATABASE_URL": str(house.settings.database_url)}
    return await asyncio.to_thread(CliRunner().invoke, app, words, env=environment)


async def counts(house: House) -> tuple[int, int, int]:
    row = await house.sql(
        "SELECT (SELECT count(*) FROM retailer), (SELECT count(*) FROM store),"
        " (SELECT count(*) FROM admin_act)"
    )
    return tuple(row[0])


def stores_csv(folder: Path, *lines: str, encoding: str = "utf-8-sig") -> str:
    path = folder / "stores.csv"
    path.write_text("\n".join(("store_id,name,town", *lines)), encoding=encoding)
    return str(path)


ADD = ("retailer", "add", "r1", "--uscc", uscc(7), "--name", "新商贸", "--stores")


async def test_a_retailer_with_three_thousand_stores_is_enrolled(
    house: House, tmp_path: Path
) -> None:
    before = await counts(house)
    file = stores_csv(tmp_path, *(f"Q{n:05d},门店{n},新嘉街道" for n in range(3000)))
    dry = await butie(house, *ADD, file, "--dry-run")
    assert dry.exit_code == 0
    assert "3000 stores" in dry.output
    assert await counts(house) == before
    done = await butie(house, *ADD, file)
    assert done.exit_code == 0, done.output
    after = await counts(house)
    assert after == (before[0] + 1, before[1] + 3000, before[2] + 3001)
    listed = await butie(house, "store", "list", "--retailer", "r1")
    assert listed.output.count("门店") == 3000


async def test_every_bad_row_is_listed_and_nothing_enrolled(house: House, tmp_path: Path) -> None:
    before = await counts(house)
    file = stores_csv(
        tmp_path, "NH0001,taken,", "A B,x,", "Q1,,", "Q2,x", "Q3,good,", "Q3,twice,", 'Q4,"a\tb",'
    )
    for more in ((), ("--dry-run",)):
        answer = await butie(house, *ADD, file, *more)
        assert answer.exit_code == 1
        lines = [line.strip()[:7] for line in answer.output.splitlines() if "  line" in line]
        assert lines == ["line 2:", "line 3:", "line 4:", "line 5:", "line 7:", "line 8:"]
    assert await counts(house) == before


@pytest.mark.parametrize(
    ("encoding", "lines", "sentence"),
    [("gbk", ["Q1,门店,"], "not UTF-8"), ("utf-8", ['Q1,"open,'], "line 2")],
)
async def test_a_file_that_cannot_be_read_gets_one_sentence(
    house: House, tmp_path: Path, encoding: str, lines: list[str], sentence: str
) -> None:
    before = await counts(house)
    answer = await butie(house, *ADD, stores_csv(tmp_path, *lines, encoding=encoding))
    assert answer.exit_code == 1
    assert sentence in answer.output
    assert await counts(house) == before


async def test_a_key_is_made_rotated_and_revoked(house: House) -> None:
    created = await butie(house, "key", "create", "--role", "bureau", "--label", "screen")
    key_id, secret = created.output.split(";")[0], created.output.split()[-1]
    house.keys["screen"] = secret
    async with house.client("screen") as client:
        assert (await client.get("/v1/budgets")).status_code == 200
    assert secret not in (await butie(house, "key", "list")).output
    assert (await butie(house, "key", "rotate", key_id)).exit_code == 0
    assert (await butie(house, "key", "revoke", key_id, "--reason", "lost")).exit_code == 0
    acts = (await butie(house, "acts")).output
    assert all(word in acts for word in ("key.create", "key.rotate", "key.revoke", "cli:"))


async def test_budgets_are_adjusted_and_released_in_tranches(house: House) -> None:
    adjusted = await butie(
        house, "budget", "adjust", "ebike", "--fen", "-100", "--document", "D", "--reason", "less"
    )
    assert "1,499,999.00" in adjusted.output
    tranche = ("budget", "tranche", "add", "ebike", "--fen", "500", "--document", "D2", "--at")
    planned = await butie(house, *tranche, "2099-07-01T00:00+08:00")
    assert planned.exit_code == 0, planned.output
    tranche_id = planned.output.split()[0]
    assert "5.00" in (await butie(house, "budget", "list")).output
    assert tranche_id in (await butie(house, "budget", "tranche", "list")).output
    for _ in range(2):
        ended = await butie(house, "budget", "tranche", "withdraw", "ebike", tranche_id)
        assert ended.exit_code == 0
    assert (await butie(house, *tranche, "tomorrow")).exit_code == 1


@pytest.mark.parametrize(
    "words",
    [
        ("retailer", "add", "r1", "--uscc", "91330402MA0000000A", "--name", "x"),
        ("retailer", "suspend", "nobody", "--reason", "x"),
        ("retailer", "add", "r 1", "--uscc", uscc(8), "--name", "x"),
        ("store", "add", "S1", "--retailer", "nobody", "--name", "x"),
        ("store", "add", "店 1", "--retailer", "other", "--name", "x"),
        ("store", "add", "S1", "--retailer", "other", "--name", "x", "--town", " "),
        ("key", "create", "--role", "root", "--label", "x"),
        ("key", "create", "--role", "pos", "--label", "x"),
        ("key", "revoke", "nothing", "--reason", "x"),
        ("budget", "adjust", "cash", "--fen", "1", "--document", "D", "--reason", "x"),
        ("budget", "adjust", "ebike", "--fen", "0", "--document", "D", "--reason", "x"),
        ("budget", "adjust", "ebike", "--fen", "1", "--document", "D\n9", "--reason", "x"),
        ("budget", "adjust", "ebike", "--fen", "1", "--document", "D", "--reason", "\x1b[31m"),
        (
            "budget",
            "tranche",
            "add",
            "ebike",
            "--at",
            "2099-07-01T00:00+08:00",
            "--fen",
            "1",
            "--document",
            " ",
        ),
    ],
)
async def test_what_cannot_be_done_gets_one_sentence(house: House, words: tuple[str, ...]) -> None:
    before = await counts(house)
    answer = await butie(house, *words)
    assert answer.exit_code == 1
    assert len(answer.output.strip().splitlines()) == 1
    assert "Traceback" not in answer.output
    assert await counts(house) == before
