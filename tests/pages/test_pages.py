"""Pages keep their size and shape, and name only what exists."""

import re
import tomllib
from pathlib import Path

import pytest

from tests.pages.prose import PAGES, ROOT

DECISIONS = sorted((ROOT / "docs/decisions").glob("*.md"))
PARTS = ["Context.", "Decision.", "Alternatives.", "What would change our mind."]
# Where a page's paths begin: at the repository's root, in the package, or next to the page.
FOLDERS = (ROOT, ROOT / "service")
# Files that a command makes, or that a reader writes.
MADE = re.compile(r"\.butie/|\.venv/|loadtests/results/|results/NAME|deploy/secrets/|deploy/\.env")


def test_the_architecture_fits_on_two_pages() -> None:
    lines = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 150
    assert [line for line in lines if len(line) > 100] == []


@pytest.mark.parametrize("path", DECISIONS, ids=lambda path: path.stem)
def test_a_decision_is_one_page_with_its_alternatives(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith(f"# {int(path.name[:4])}. ")
    assert re.findall(r"^\*\*(.+?)\*\*", text, re.MULTILINE) == PARTS
    assert len(text.splitlines()) <= 50


def test_the_decisions_are_numbered_without_gaps() -> None:
    numbers = [int(path.name[:4]) for path in DECISIONS]
    assert numbers == list(range(1, len(numbers) + 1))


def test_the_changelog_has_a_dated_section_for_this_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## {re.escape(version)} \(\d{{4}}-\d\d-\d\d\)$", changelog, re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_names_only_files_that_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = [link.split("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text)]
    for link in links:
        assert not link or link.startswith("https://") or (page.parent / link).exists(), link
    code = re.findall(r"`([\w.-]+(?:/[\w.-]+)+/?)`", re.sub(r"```.*?```", "", text, flags=re.S))
    for path in code:
        exists = any((folder / path).exists() for folder in (*FOLDERS, page.parent))
        assert exists or MADE.search(path), path
