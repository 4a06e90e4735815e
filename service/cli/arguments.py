"""Checks of arguments, the same as the API's."""

import re

import typer

from service.config import Misconfigured

TEXT_MAX = 120

PLAIN_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def printable(text: str) -> str:
    """A text that goes on record. Raises Misconfigured."""
    if not text.strip() or not text.isprintable() or len(text) > TEXT_MAX:
        raise Misconfigured(f"{text!r}: 1 to {TEXT_MAX} printable characters, please.")
    return text


def plain_name(text: str | None) -> str | None:
    """An option's callback: the name of a retailer, store, pool or the like."""
    if text is not None and not PLAIN_NAME.fullmatch(text):
        raise typer.BadParameter("a name is 1 to 64 letters, digits, dots, - or _.")
    return text
