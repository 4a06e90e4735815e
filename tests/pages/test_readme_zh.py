"""README.zh.md says in Chinese what README.md says: the same commands, tables and settings."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
ENGLISH = (ROOT / "README.md").read_text(encoding="utf-8")
CHINESE = (ROOT / "README.zh.md").read_text(encoding="utf-8")


def blocks(page: str) -> list[list[str]]:
    """The code blocks, line by line, without their comments."""
    found = re.findall(r"^```\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    return [[line.partition("  #")[0].rstrip() for line in text.splitlines()] for text in found]


def tables(page: str) -> list[list[str]]:
    """The first column of each table, heading aside: what both languages write alike."""
    found = re.findall(r"^\|.*\|\n\|[-|]+\|\n((?:\|.*\|\n)+)", page, re.MULTILINE)
    return [[row.split("|")[1].strip() for row in rows.splitlines()] for rows in found]


def code_in(cells: list[str]) -> list[list[str]]:
    return [re.findall(r"`[^`]+`", cell) for cell in cells]


def test_both_have_the_same_code_blocks() -> None:
    assert len(blocks(ENGLISH)) == 5
    assert blocks(CHINESE) == blocks(ENGLISH)


def test_both_have_the_same_tables() -> None:
    english, chinese = tables(ENGLISH), tables(CHINESE)
    assert [len(table) for table in chinese] == [len(table) for table in english]
    for ours, theirs in zip(chinese, english, strict=True):
        assert code_in(ours) == code_in(theirs)


def test_both_name_the_same_commands_settings_and_pages() -> None:
    for pattern in (r"\bbutie [a-z]+", r"BUTIE_[A-Z_]+", r"OTEL_[A-Z_]+", r"\]\(([^)]+)\)"):
        english, chinese = (set(re.findall(pattern, page)) for page in (ENGLISH, CHINESE))
        assert chinese - {"README.md"} == english - {"README.zh.md"}


def test_both_have_the_same_sections_in_their_order() -> None:
    assert CHINESE.count("\n## ") == ENGLISH.count("\n## ")
