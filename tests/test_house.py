"""The rooms of `service/`: each stands in an import contract, so none grows beside them."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_every_folder_of_the_service_stands_in_an_exhaustive_contract() -> None:
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    rooms = {
        f"{container}.{room.strip('() ')}"
        for contract in linter["contracts"]
        if contract["type"] == "layers" and contract.get("exhaustive")
        for container in contract["containers"]
        for layer in contract["layers"]
        for room in layer.replace("|", ":").split(":")
    }
    folders = {
        ".".join(file.parent.relative_to(ROOT).parts)
        for file in (ROOT / "service").rglob("*.py")
        if file.parent != ROOT / "service"
    }
    assert folders - rooms == set()


def test_no_file_of_tests_is_imported_by_another() -> None:
    """What two of them need stands in a module beside them, without the tests."""
    folders = (ROOT / "loadtests", ROOT / "tests")
    importing = {
        str(file.relative_to(ROOT))
        for folder in folders
        for file in folder.rglob("*.py")
        if re.search(r"^(?:from|import) tests\.(?:\w+\.)*test_", file.read_text(), re.M)
    }
    assert importing == set()
