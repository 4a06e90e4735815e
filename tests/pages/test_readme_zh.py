"""README.zh.md says in Chinese what README.md says: the same commands, tables and settings."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ENGLISH = (ROOT / "README.md").read_text(encoding="utf-8")
CHINESE = (ROOT / "README.zh.md").read_text(encoding="utf-8")


def blocks(page: str) -> list[list[str]]:
    """The code blocks, line by line, without their comments."""
    texts = re.findall(r"^```\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    return [[line.partition("  #")[0].rstrip() for line in text.splitlines()] for text in texts]


def tables(page: str) -> list[list[list[str]]]:
    """The cells of each table, row by row, without the heading."""
    bodies = re.findall(r"^\|.*\|\n\|[-|]+\|\n((?:\|.*\|\n)+)", page, re.MULTILINE)
    return [
        [[cell.strip() for cell in row.split("|")[1:-1]] for row in body.splitlines()]
        for body in bodies
    ]


def untranslated(cell: str) -> list[str]:
    """What a cell says alike in both languages: code, and numbers outside it."""
    code = r"`[^`]*`"
    return [*re.findall(code, cell), *re.findall(r"\d[\d.:+T-]*", re.sub(code, "", cell))]


def settings(page: str) -> list[list[str]]:
    (table,) = (rows for rows in tables(page) if any("`BUTIE_CLOCK`" in row[0] for row in rows))
    return table


def test_both_have_the_same_code_blocks() -> None:
    assert len(blocks(ENGLISH)) == 6
    assert blocks(CHINESE) == blocks(ENGLISH)


def test_both_have_the_same_rows_in_each_table() -> None:
    assert len(tables(ENGLISH)) == 4
    first_cells = [
        [[untranslated(row[0]) for row in rows] for rows in tables(page)]
        for page in (CHINESE, ENGLISH)
    ]
    assert first_cells[0] == first_cells[1]


def test_both_give_each_setting_the_same_default() -> None:
    chinese, english = (
        [(row[0], untranslated(row[1])) for row in settings(page)] for page in (CHINESE, ENGLISH)
    )
    assert chinese == english


@pytest.mark.parametrize(
    "pattern",
    [r"\bbutie [a-z]+", r"\bmake [a-z-]+", r"BUTIE_[A-Z_]+", r"OTEL_[A-Z_]+", r"/v1/[a-z]+",
     r"Butie-[A-Za-z-]+", r"\]\(([^)]+)\)"],
    ids=["commands", "targets", "settings", "standard variables", "addresses", "headers", "links"],
)  # fmt: skip
def test_both_name_the_same(pattern: str) -> None:
    chinese, english = (set(re.findall(pattern, page)) for page in (CHINESE, ENGLISH))
    assert chinese - {"README.md"} == english - {"README.zh.md"} != set()


def test_both_have_the_same_headings_in_number_and_level() -> None:
    chinese, english = (re.findall(r"^(#+) ", page, re.MULTILINE) for page in (CHINESE, ENGLISH))
    assert chinese == english
