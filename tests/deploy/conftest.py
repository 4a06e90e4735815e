"""What the tests of deploy/ have in common: where its files are, and the tools that read them."""

import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


def tool(name: str, *folders: Path) -> str:
    """The path of a program, or the test is skipped; `make test-deploy` brings some."""
    places = [Path(sys.executable).parent, *folders]
    found = next((str(place / name) for place in places if (place / name).exists()), None)
    found = found or shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not here")
    return found
