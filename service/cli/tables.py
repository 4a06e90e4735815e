"""Tables on the command line."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from service.core.calendar import SHANGHAI

# The width of a table in a file or a pipe, which have no screen.
WIDTH_ELSEWHERE = 180


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, title: str = "") -> None:
    """Print rows under their columns; instants in Asia/Shanghai."""
    table = Table(title=title or None, title_justify="left")
    for name in columns:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*map(_cell, row))
    console = Console()
    Console(width=None if console.is_terminal else WIDTH_ELSEWHERE).print(table)


def _cell(value: Any) -> str:
    if isinstance(value, datetime):
        return f"{value.astimezone(SHANGHAI):%Y-%m-%d %H:%M:%S}"
    if isinstance(value, list):
        return " ".join(value)
    if isinstance(value, dict):
        return escape(", ".join(f"{name}: {_cell(item)}" for name, item in value.items()))
    return "" if value is None else escape(str(value))
