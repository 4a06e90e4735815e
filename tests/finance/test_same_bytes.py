"""A file's bytes depend on its entries alone: on no clock, no process, no network."""

import hashlib
import os
import random
import subprocess
import sys
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest

from service.finance.settlements.statement import Statement, pdf_file, xlsx_file
from tests.finance.encoding import ENCODERS, encoded
from tests.finance.statements import SETTLEMENT

LINE = "{},2025-06-18,grant,sandbox,NH0001,{},1,digital,phone,nanhu-2025,15000,\n"
LINES = "".join(LINE.format(n, UUID(int=n**9)) for n in range(1, 4000)).encode()
FEW = LINES[: LINES.index(b"\n10,") + 1]
IN_ANOTHER_PROCESS = """
import hashlib
from tests.finance.encoding import ENCODERS, encoded
print(hashlib.sha256(encoded(ENCODERS[{name!r}](), [{lines!r}])).hexdigest())
"""


class _AlsoTheReal(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, datetime)


class YearsLater(datetime, metaclass=_AlsoTheReal):
    @classmethod
    def now(cls, tz: Any = None) -> datetime:
        return datetime(2031, 2, 3, 4, 5, 6, tzinfo=tz)


@pytest.fixture
def years_later(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Every clock that a file could tell the time from, turned when the test calls it."""
    monkeypatch.setattr("xlsxwriter.core.datetime", YearsLater)
    monkeypatch.setattr("time.time", lambda: 1_927_000_000.0)
    return monkeypatch


@pytest.mark.parametrize("name", ENCODERS)
def test_neither_the_clock_nor_the_process_is_in_the_file(
    name: str, years_later: pytest.MonkeyPatch
) -> None:
    later = encoded(ENCODERS[name](), [FEW])
    years_later.undo()
    assert encoded(ENCODERS[name](), [FEW]) == later
    result = subprocess.run(
        [sys.executable, "-c", IN_ANOTHER_PROCESS.format(name=name, lines=FEW)],
        env={**os.environ, "TZ": "America/New_York", "PYTHONHASHSEED": "5", "LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip() == hashlib.sha256(later).hexdigest()


@pytest.mark.parametrize("make", [xlsx_file, pdf_file])
def test_a_statement_is_the_same_on_another_day(make: Any, years_later: pytest.MonkeyPatch) -> None:
    statement = Statement(SETTLEMENT, "新商贸", "91330402MA00000058", [])
    later = make(statement)
    years_later.undo()
    assert make(statement) == later


@pytest.mark.parametrize("name", ENCODERS)
def test_how_the_rows_came_over_the_wire_is_not_in_the_file(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.finance.journal.encoders.BLOCK_BYTES", 20_000)  # many row groups
    whole = encoded(ENCODERS[name](), [LINES])
    dice = random.Random(7)
    chunks, rest = [], LINES
    while rest:
        size = dice.randint(1, 9000)
        chunks.append(rest[:size])
        rest = rest[size:]
    assert encoded(ENCODERS[name](), chunks) == whole
