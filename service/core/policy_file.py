"""The strict reader of policy files: text into a `Policy`, or every fault with its line."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from pydantic import ValidationError

from service.core.policy import Policy, PolicyBook
from service.core.policy_changes import change
from service.core.policy_checks import faults_in
from service.core.policy_layout import PolicyLayout, policy_of
from service.core.yaml_lines import Located, Path, read


class PolicyFileError(ValueError):
    """Policy files that cannot be used. `problems` are sentences, `file:line: reason` each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


def parse_policy(text: str, file_name: str, changes: Mapping[str, str] | None = None) -> Policy:
    """One policy from the text of its file, with other values by path (`policy_changes`). Raises
    PolicyFileError with every fault found."""
    return _parse(text, file_name, changes or {})[0]


def parse_book(jurisdiction: str, texts: Mapping[str, str]) -> PolicyBook:
    """The policies of a jurisdiction, from file names and texts; other files are only checked.

    Raises PolicyFileError: a fault in any file, two policies for one day, or none at all.
    """
    problems: list[str] = []
    ours: list[tuple[Policy, str, Located]] = []
    for file_name, text in texts.items():
        try:
            policy, located = _parse(text, file_name, {})
        except PolicyFileError as error:
            problems.extend(error.problems)
        else:
            if policy.jurisdiction == jurisdiction:
                ours.append((policy, file_name, located))
    ours.sort(key=lambda entry: entry[0].in_force.from_on.value)
    problems.extend(_clashes(ours))
    if not ours and not problems:
        problems.append(f"no policy file is for the jurisdiction {jurisdiction}")
    if problems:
        raise PolicyFileError(problems)
    return PolicyBook(jurisdiction, tuple(policy for policy, _, _ in ours))


def _clashes(by_date: Sequence[tuple[Policy, str, Located]]) -> Iterator[str]:
    for (earlier, _, _), (later, file_name, located) in pairwise(by_date):
        if earlier.in_force.to_on.value >= later.in_force.from_on.value:
            line = located.line_of(("in_force", "from_on"))
            yield (
                f"{file_name}:{line}: {earlier.id} is in force until "
                f"{earlier.in_force.to_on.value}; policies must not overlap"
            )
    seen: set[str] = set()
    for policy, file_name, located in by_date:
        if policy.id in seen:
            yield f"{file_name}:{located.line_of(('id',))}: another policy is {policy.id} too"
        seen.add(policy.id)


def _parse(text: str, file_name: str, changes: Mapping[str, str]) -> tuple[Policy, Located]:
    located = read(text)
    problems = list(located.problems)
    if not problems:
        if faults_in_changes := change(located.value, changes):
            raise PolicyFileError(faults_in_changes)
        places = _give_ids(located.value)
        try:
            layout = PolicyLayout.model_validate(located.value)
        except ValidationError as error:
            faults = _faults_of(error)
        else:
            faults = [
                (places[place] if isinstance(place, str) else place, reason)
                for place, reason in faults_in(layout)
            ]
            if not faults:
                return policy_of(layout), located
        problems = [(located.line_of(path), _sentence(path, reason)) for path, reason in faults]
    # A fault of a scheme appears in each of its categories: report it once.
    raise PolicyFileError([f"{file_name}:{line}: {what}" for line, what in sorted(set(problems))])


def _give_ids(root: Any) -> dict[str, Path]:
    """Write its id, such as `appliances/cap_fen`, into each fact. Returns the path of each id."""
    places: dict[str, Path] = {}

    def give(raw: Any, path: Path, id_path: Path) -> None:
        if isinstance(raw, tuple):
            for index, child in enumerate(raw):
                give(child, (*path, index), (*id_path, index + 1))
        elif isinstance(raw, dict):
            for key, child in raw.items():
                plain = key in ("schemes", "groups", "categories")
                give(child, (*path, key), id_path if plain else (*id_path, key))
            if "value" in raw:
                raw["@id"] = "/".join(map(str, id_path))
                places[raw["@id"]] = path

    give(root, (), ())
    return places


def _faults_of(error: ValidationError) -> list[tuple[Path, str]]:
    return [
        (fault["loc"], fault["msg"])
        for fault in error.errors(include_url=False, include_context=False)
        # A fact without a value has got no id either; to say so once is enough.
        if fault["loc"][-1:] != ("@id",)
    ]


def _sentence(path: Path, reason: str) -> str:
    return f"{'.'.join(map(str, path))}: {reason}" if path else reason
