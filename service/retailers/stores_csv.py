"""Reads a retailer's stores from a CSV file: `store_id,name,town`, a store per line. The whole file
is checked before any store is enrolled."""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from service.retailers.enrol import GOOD_ID, ID_WORDS, NewStore

STORE_COLUMNS = ["store_id", "name", "town"]
PRINTABLE = re.compile(r"[^\x00-\x1f\x7f-\x9f]{1,120}")


class UnreadableFile(Exception):
    """The file as a whole cannot be used; the text says why."""


@dataclass(frozen=True, slots=True)
class BadStoreRow:
    """A line of the file that cannot be enrolled. Lines count from 1, the header included."""

    line: int
    why: str


def read_stores(path: Path) -> tuple[list[tuple[int, NewStore]], list[BadStoreRow]]:
    """(the good rows with their lines, the bad ones). Raises UnreadableFile."""
    good: list[tuple[int, NewStore]] = []
    bad: list[BadStoreRow] = []
    first_line: dict[str, int] = {}
    for line, row in _rows(path):
        why = _fault(row)
        if not why and row[0] in first_line:
            why = f"store_id {row[0]} is on line {first_line[row[0]]} already"
        if why:
            bad.append(BadStoreRow(line, why))
            continue
        first_line[row[0]] = line
        good.append((line, NewStore(row[0], row[1], row[2] or None)))
    return good, bad


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UnreadableFile(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise UnreadableFile(
            f"{path} is not UTF-8: save it as “CSV UTF-8” (Excel's plain CSV is GBK)."
        ) from None
    reader = csv.reader(text.splitlines(keepends=True), strict=True)
    try:
        header = next(reader, [])
        if [name.strip() for name in header] != STORE_COLUMNS:
            raise UnreadableFile(f"{path} must begin with the line {','.join(STORE_COLUMNS)}.")
        for row in reader:
            if row:
                yield reader.line_num, [field.strip() for field in row]
    except csv.Error as error:
        raise UnreadableFile(f"{path}, line {reader.line_num}: {error}.") from None


def _fault(row: list[str]) -> str:
    if len(row) != len(STORE_COLUMNS):
        columns = ", ".join(STORE_COLUMNS)
        return f"has {len(row)} fields and should have {len(STORE_COLUMNS)}: {columns}"
    store_id, name, town = row
    if not GOOD_ID.fullmatch(store_id):
        return f"store_id must be {ID_WORDS}"
    if not PRINTABLE.fullmatch(name):
        return "name must be 1 to 120 printable characters"
    if town and not PRINTABLE.fullmatch(town):
        return "town must be at most 120 printable characters"
    return ""
