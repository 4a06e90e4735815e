"""The fixture that ends what a test has started."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.embedded.owners import Owner, begin


@pytest.fixture
def own() -> Iterator[Callable[..., Owner]]:
    """`own(folder, *options)` starts a service on the folder; it ends with the test."""
    owners: list[Owner] = []

    def start(folder: Path, *options: str) -> Owner:
        owner = Owner(begin(folder, *options))
        owners.append(owner)
        owner.first_line = owner.next_line()
        return owner

    yield start
    for owner in owners:
        owner.leave()
