"""Changes of single values in a policy file's tree, before it is validated.

A value is named by its path in the file, `schemes.appliances.cap_fen`; elements of a list count
from 1. A category may be named without its group: `schemes.appliances.air_conditioner.quota.limit`.
"""

import difflib
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

from service.core.yaml_lines import Path, read

# Names and sources are no rules.
_NO_RULES = ("id", "zh", "en", "jurisdiction", "includes", "sources")


def change(root: Any, changes: Mapping[str, str]) -> list[str]:
    """Write the values, by path, into the tree. Returns a sentence for each that cannot be used."""
    places = {name: place for path, place in _places(root, ()) for name in _names(path)}
    faults = []
    for name, text in changes.items():
        new = read(text)
        if name not in places:
            near = difflib.get_close_matches(name, places, n=1, cutoff=0)
            nearest = f"; the nearest is {near[0]}" if near else ""
            faults.append(f"{name}: the policy has no such value{nearest}")
        elif new.problems:
            faults.append(f"{name}={text}: {new.problems[0][1]}")
        elif not isinstance(new.value, str | int | date):
            faults.append(f"{name}={text}: a single value, please")
        else:
            mapping, key = places[name]
            mapping[key] = new.value
    return faults


def _places(raw: Any, path: Path) -> Iterator[tuple[Path, tuple[dict[str, Any], str]]]:
    """Each value's path, with the mapping that has it and its key there."""
    if isinstance(raw, tuple):
        for number, child in enumerate(raw, start=1):
            yield from _places(child, (*path, number))
    elif isinstance(raw, dict):
        if "value" in raw:
            yield path, (raw, "value")
            return
        for key, child in raw.items():
            if key in _NO_RULES:
                continue
            if isinstance(child, dict | tuple):
                yield from _places(child, (*path, key))
            else:
                yield (*path, key), (raw, key)


def _names(path: Path) -> Iterator[str]:
    yield ".".join(map(str, path))
    if path[2:3] == ("groups",) and path[4:5] == ("categories",):
        yield ".".join(map(str, (*path[:2], *path[5:])))
