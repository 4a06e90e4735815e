"""The values that no source gives, and which of them the operator has confirmed.

A confirmation is a line `nanhu-2025/rounding = down`. It holds for that value only: when
the policy changes the value, it has to be confirmed anew.
"""

import re
from dataclasses import dataclass

from service.core.policy import PolicyBook, facts_of

CONFIRMATION = re.compile(r"(?P<id>\S+)\s*=\s*(?P<value>\S+)")


class ConfirmationError(ValueError):
    """Confirmations that cannot be used. `problems` are sentences, `file:line: reason` each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class Assumption:
    """`value` as it is written in the policy file; `note` says what is not known."""

    id: str
    value: str
    note: str

    @property
    def confirmation(self) -> str:
        return f"{self.id} = {self.value}"


def assumptions(book: PolicyBook) -> tuple[Assumption, ...]:
    """Every assumed value of a jurisdiction's policies, once each, in their order."""
    by_id = {
        (policy.id, fact.id): Assumption(f"{policy.id}/{fact.id}", fact.text, fact.note or "")
        for policy in book.policies
        for fact in facts_of(policy)
        if fact.basis == "assumed"
    }
    return tuple(by_id.values())


def unconfirmed(
    book: PolicyBook, confirmations: str, file_name: str = "confirmations"
) -> list[Assumption]:
    """The assumed values that no line of `confirmations` confirms as they are now.

    Raises ConfirmationError: a line that is no confirmation, or names no assumed value.
    """
    assumed = assumptions(book)
    known = {assumption.id for assumption in assumed}
    confirmed: set[tuple[str, str]] = set()
    problems: list[str] = []
    for number, line in enumerate(confirmations.splitlines(), start=1):
        words = line.partition("#")[0].strip()
        match = CONFIRMATION.fullmatch(words)
        if match and match["id"] in known:
            confirmed.add((match["id"], match["value"]))
        elif match:
            problems.append(f"{file_name}:{number}: {match['id']} is no assumed value")
        elif words:
            problems.append(f"{file_name}:{number}: not of the form `policy/value = confirmed`")
    if problems:
        raise ConfirmationError(problems)
    return [
        assumption for assumption in assumed if (assumption.id, assumption.value) not in confirmed
    ]
