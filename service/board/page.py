"""The budget page as HTML."""

import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from service.board import form
from service.board.content import PageContent
from service.board.figures import BoardFigures
from service.board.words import BOARD_WORDS
from service.core.sentences import Language

if TYPE_CHECKING:
    import jinja2

BoardView = Literal["full", "public"]
Section = Literal["page", "figures"]

_HERE = Path(__file__).parent


def render(
    figures: BoardFigures | None,
    *,
    view: BoardView,
    section: Section,
    language: Language,
    stale: bool,
) -> bytes:
    """The whole page, or its figures alone. A notice says that figures are stale or missing."""
    words = {name: sentence.in_language(language) for name, sentence in BOARD_WORDS.items()}
    content = PageContent(figures, language, words) if figures else None
    template = _templates().get_template(f"{section}.html")
    notice = ""
    if figures is None:
        notice = words["nothing"]
    elif stale:
        notice = words["stale"].format(time=form.clock_time(figures.at))
    text: str = template.render(
        w=words,
        notice=notice,
        view=view,
        figures=figures,
        content=content,
        language=language,
        other="en" if language == "zh" else "zh",
        assets=assets_version(),
    )
    return text.encode()


@cache
def asset(name: str) -> bytes:
    """One of the page's own files."""
    return (_HERE / name).read_bytes()


@cache
def assets_version() -> str:
    """Changes with the page's files, so that a wall screen that stays open reloads."""
    files = sorted(path for path in _HERE.iterdir() if path.suffix in (".css", ".js", ".html"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:12]


@cache
def _templates() -> "jinja2.Environment":
    import jinja2  # on first use: many workers never show the page

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
