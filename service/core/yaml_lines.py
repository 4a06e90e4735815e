"""YAML text into plain values, with the line of each.

Narrower than YAML on purpose: money and dates must read the same to a person and to us.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import yaml

Path = tuple[str | int, ...]

KEY = re.compile(r"[a-z0-9][a-z0-9_-]*")
# YAML 1.1 would read 010 as eight and 1:30 as ninety.
WHOLE_NUMBER = re.compile(r"-?(0|[1-9][0-9_]*)")
TAG = "tag:yaml.org,2002:"


@dataclass(slots=True)
class Located:
    """`problems` are (line, reason). With any of them `value` must not be used."""

    value: Any = None
    lines: dict[Path, int] = field(default_factory=dict)
    problems: list[tuple[int, str]] = field(default_factory=list)

    def line_of(self, path: Path) -> int:
        """The line of the deepest part of a path that is in the text.

        Parts that are not in the text (a missing key, a validator's own name) are skipped.
        """
        known: Path = ()
        for step in path:
            if (*known, step) in self.lines:
                known = (*known, step)
        return self.lines.get(known, 1)


def read(text: str) -> Located:
    """One YAML document, with lists as tuples. Faults are in `problems`, never raised."""
    located = Located()
    try:
        located.problems.extend(_anchors(text))
        if not located.problems:
            node = yaml.compose(text, Loader=yaml.SafeLoader)
            if node is None:
                located.problems.append((1, "the file is empty"))
            else:
                located.value = _value(node, (), located)
    except yaml.MarkedYAMLError as fault:
        mark = fault.problem_mark
        located.problems.append((mark.line + 1 if mark else 1, f"not YAML: {fault.problem}"))
    except yaml.reader.ReaderError as fault:
        line = text.count("\n", 0, fault.position) + 1
        located.problems.append((line, "not YAML: a character that is not allowed"))
    return located


def _anchors(text: str) -> Iterator[tuple[int, str]]:
    # With aliases a value would be in two places, and a file could contain itself.
    for token in yaml.scan(text, Loader=yaml.SafeLoader):
        if isinstance(token, yaml.AnchorToken | yaml.AliasToken):
            yield token.start_mark.line + 1, "anchors and aliases (& and *) are not used here"


def _value(node: yaml.Node, path: Path, located: Located) -> Any:
    located.lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode) and node.tag == TAG + "map":
        return _mapping(node, path, located)
    if isinstance(node, yaml.SequenceNode) and node.tag == TAG + "seq":
        return tuple(_value(child, (*path, n), located) for n, child in enumerate(node.value))
    try:
        return _scalar(node.tag.removeprefix(TAG), node.value)
    except ValueError as fault:
        located.problems.append((node.start_mark.line + 1, str(fault)))
        return None


def _mapping(node: yaml.MappingNode, path: Path, located: Located) -> Mapping[str, Any]:
    mapping: dict[str, Any] = {}
    for key_node, child in node.value:
        line, key = key_node.start_mark.line + 1, key_node.value
        if key_node.tag != TAG + "str" or not KEY.fullmatch(key):
            located.problems.append((line, f"{key!r} is not a key; a number needs quotes"))
        elif key in mapping:
            located.problems.append((line, f"{key} stands here twice"))
        else:
            located.lines[*path, key] = line
            mapping[key] = _value(child, (*path, key), located)
    return mapping


def _scalar(tag: str, text: str) -> str | int | bool | date:
    match tag:
        case "str":
            return text
        case "int" if WHOLE_NUMBER.fullmatch(text):
            return int(text)
        case "bool" if text in ("true", "false"):
            return text == "true"
        case "timestamp" if len(text) == len("2025-01-01"):
            return date.fromisoformat(text)
        case "float":
            raise ValueError(f"{text}: only whole numbers, in fen or basis points")
        case "null":
            raise ValueError("a value is missing")
    raise ValueError(f"{text}: write a text, a whole number, true, false or a day")
