"""Retired words stay retired: one word per idea, and plain technical English.

ARCHITECTURE.md has the words that are used instead. A name of the wire, of SQL, of a metric or of a
setting is no prose and no name of ours: in backquotes a page may quote it.
"""

import re
from collections import defaultdict
from pathlib import Path

import pytest

from tests.pages.prose import PAGES, ROOT, SOURCES, names, prose, python_prose

Passage = tuple[str, int, str]  # the file, the line, the text

# Names in the code, and what to call the thing instead.
NAMES = {
    "Asked": "ReconcileRequest",
    "Closer": "DayCloser",
    "Closing": "ShutdownBudget",
    "Kept": "Reconciliations",
    "LOOKS_MAX": "TRIES_MAX",
    "LOOK_AGAIN_S": "RETRY_S",
    "Look": "GateView or BudgetView",
    "Office": "ActContext",
    "Passes": "Loop",
    "RightUse": "QuotaBooking",
    "Shown": "a name with Response, or PageContent",
    "Till": "SellerStanding",
    "UNSEEN_MODELS": "nothing: takes(Model) registers what it takes",
    "WantedLine": "LineDemand",
    "_looks": "_standing_batcher",
    "found": "the noun: row, claim, record",
    "made": "the noun: run, settlement, file",
    "office": "context",
    "office_of": "act_context",
    "said": "the noun: output, answer, sentence",
    "told": "the noun: answer, info, row",
    "wanted": "the noun: selection, filter, demand",
}

# Files, and what their successors are called.
FILES = {
    "escrow.py": "slices.py",
    "forget.sql": "drop_former_digests.sql",
    "here.py": "ledger_units.py",
    "kept.py": "reconciliations.py",
    "look.lua": "view.lua",
    "office.py": "act_context.py",
    "settlement_sql.py": "a .sql file per statement",
    "shown.py": "content.py",
}

# Words and turns of prose, as patterns, and what to say instead.
PROSE = {
    r"\bwhoever\b": "the caller, the reader, anyone who",
    r"\bnobody\b": "no one, no caller; or say it the other way round",
    r"\bfor good\b": "permanently, irreversibly",
    r", too\b": "also",
    r"\bof which\b": "two sentences",
    r"\bmend(s|ed|ing)?\b": "fix, correct, change",
    r"\bbeside\b": "next to, with, in addition to",
    r"\btold\b": "gets, learns, is answered",
    r"\bstands? (in|on|at|there|twice)\b(?! for)": "is, exists, occurs",
    r"\b(as|where) (it|they|things|each) stands?\b": "its present state",
    r"(^|[.:] )[Oo]f (a|an|the|all|each|its|these|those|what|one)\b": "the subject first",
    r"\bparts? of (a|the|each|every|its) pools?\b": "slice",
    r"\b(pool's|pools') parts\b": "slices",
    r"\brights\b": "quotas",
}


def uses(pattern: str, passages: list[Passage]) -> list[str]:
    """Where a turn occurs, with a few words around it."""
    return [
        f"{name}:{line}: …{text[max(0, match.start() - 40) : match.end() + 40]}…"
        for name, line, text in passages
        for match in re.finditer(pattern, text, re.IGNORECASE if pattern[0] == "\\" else 0)
    ]


def passages(paths: list[Path]) -> list[Passage]:
    return [(str(path.relative_to(ROOT)), *passage) for path in paths for passage in prose(path)]


@pytest.fixture(scope="module")
def pages() -> list[Passage]:
    return passages(PAGES)


@pytest.fixture(scope="module")
def sources() -> list[Passage]:
    return passages(SOURCES)


@pytest.mark.parametrize("pattern", PROSE)
def test_a_retired_turn_is_in_no_page(pattern: str, pages: list[Passage]) -> None:
    assert uses(pattern, pages) == [], f"say: {PROSE[pattern]}"


@pytest.mark.parametrize("pattern", PROSE)
def test_a_retired_turn_is_in_no_comment(pattern: str, sources: list[Passage]) -> None:
    assert uses(pattern, sources) == [], f"say: {PROSE[pattern]}"


def test_a_retired_name_is_in_no_source() -> None:
    places = defaultdict(list)
    for path in SOURCES:
        for line, name in names(path) if path.suffix == ".py" else ():
            if name in NAMES:
                places[name].append(f"{path.relative_to(ROOT)}:{line}")
    assert not places, {name: (NAMES[name], where) for name, where in places.items()}


def test_a_retired_file_does_not_come_back() -> None:
    files = {path.name for path in SOURCES} & FILES.keys()
    assert files == set(), [FILES[name] for name in files]


def test_a_retired_name_is_in_no_page() -> None:
    retired = re.compile(rf"`({'|'.join([*NAMES, *map(re.escape, FILES)])})`")
    for path in PAGES:
        if path.name != "CHANGELOG.md":
            assert retired.findall(path.read_text(encoding="utf-8")) == [], path


def test_the_words_of_comments_and_pages_are_read() -> None:
    """A turn is seen in a docstring, in a comment over two lines, in SQL and in a page."""
    assert uses(r"\btold\b", [("x", 1, "Whoever is told")]) == ["x:1: …Whoever is told…"]
    text = '"""What a till is told."""\n# gone for\n# good\n\nx = 1  # `told`\n'
    assert [passage for _, passage in python_prose(text)] == [
        "gone for good", "`told`", "What a till is told."
    ]  # fmt: skip
