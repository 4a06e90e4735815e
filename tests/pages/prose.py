"""Reads the prose of the project: pages, and the comments and docstrings of its source files."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = sorted(
    path for path in (ROOT / "service").rglob("*") if path.suffix in (".py", ".sql", ".lua")
)
# README.zh.md is no English prose.
PAGES = sorted(
    path
    for folder in (ROOT, ROOT / "docs", ROOT / "deploy", ROOT / "loadtests")
    for path in (folder.glob("*.md") if folder == ROOT else folder.rglob("*.md"))
    if path.name != "README.zh.md"
)


def names(path: Path) -> Iterator[tuple[int, str]]:
    """Every name in a Python file, with its line."""
    for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
        if token.type == tokenize.NAME:
            yield token.start[0], token.string


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """The passages of a file that are written for people, each with the line that it begins in.
    Code in backquotes is left out: it quotes names of the wire, of SQL and of settings."""
    text = path.read_text(encoding="utf-8")
    passages = {".py": python_prose, ".sql": dashed_prose, ".lua": dashed_prose, ".md": page_prose}[
        path.suffix
    ]
    for line, passage in passages(text):
        yield line, re.sub(r"\s+", " ", re.sub(r"`[^`]*`", "``", passage)).strip()


def python_prose(text: str) -> Iterator[tuple[int, str]]:
    """The comments, then the docstrings."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    yield from _joined(
        (token.start[0], token.string.lstrip("# "))
        for token in tokens
        if token.type == tokenize.COMMENT
    )
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node, clean=False)
            if docstring is not None:
                yield node.body[0].lineno, docstring


def dashed_prose(text: str) -> Iterator[tuple[int, str]]:
    """The comments of SQL and Lua."""
    yield from _joined(
        (number, line.partition("--")[2].strip("- "))
        for number, line in enumerate(text.splitlines(), 1)
        if "--" in line
    )


def _joined(comments: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Comments on lines that follow each other, as one passage."""
    first, last, lines = 0, 0, list[str]()
    for number, line in comments:
        if lines and number != last + 1:
            yield first, " ".join(lines)
            lines = []
        if not lines:
            first = number
        lines.append(line)
        last = number
    if lines:
        yield first, " ".join(lines)


def page_prose(text: str) -> Iterator[tuple[int, str]]:
    """Paragraphs and table rows, without code blocks and the addresses of links."""
    text = re.sub(r"^```.*?^```$", lambda code: "\n" * code[0].count("\n"), text, flags=re.M | re.S)
    number = 1
    for paragraph in re.split(r"(?<=\n)(?=\n|\|)", text):
        yield number, re.sub(r"\]\([^)]*\)", "]", paragraph)
        number += paragraph.count("\n")
