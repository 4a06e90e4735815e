"""The release before this one, unpacked from the project's history.

With each release, set FORMER to its commit and FORMER_REVISION to its newest migration.
"""

import shutil
import subprocess
from pathlib import Path

# The newest commit that others may run. An upgrade from it must lose nothing.
FORMER = "5e1d5654f407ffea3254cb487a1d33b1de6c7479"
# Its newest migration.
FORMER_REVISION = "0013"
# Migrations up to this one ran on empty tables. Every later one must let claims go on.
EMPTY_REVISION = "0005"

ROOT = Path(__file__).parents[2]
NOT_HERE = "needs git and a clone with the former release's commit (git fetch --unshallow)"


def in_history() -> bool:
    """False in a shallow clone and in a source archive, and where git is missing."""
    command = ["git", "-C", ROOT, "cat-file", "-e", f"{FORMER}^{{commit}}"]
    if shutil.which("git") is None:
        return False
    return subprocess.run(command, capture_output=True).returncode == 0


def unpack(folder: Path) -> Path:
    """The former release's code in `folder`, which must not exist yet."""
    folder.mkdir()
    archive = ["git", "-C", ROOT, "archive", FORMER, "service", "migrations"]
    tar = subprocess.run(archive, capture_output=True, check=True).stdout
    subprocess.run(["tar", "-x", "-C", folder], input=tar, check=True)
    return folder
