"""The rules as data. Policy files are read here and nowhere else."""

from functools import lru_cache
from pathlib import Path

from service.core.policy import PolicyBook
from service.core.policy_file import PolicyFileError, parse_book

SHIPPED = Path(__file__).parent


def read_book(jurisdiction: str, folder: Path | None = None) -> PolicyBook:
    """The policies of a jurisdiction, from a folder of YAML files or as shipped.

    Raises PolicyFileError when there is none, or when any file of the folder has a fault.
    """
    folder = folder or SHIPPED
    try:
        files = sorted(path for path in folder.iterdir() if path.suffix in (".yaml", ".yml"))
        texts = {path.name: path.read_text(encoding="utf-8") for path in files}
    except (OSError, UnicodeDecodeError) as fault:
        raise PolicyFileError([f"{folder} cannot be read: {fault}"]) from fault
    return _parsed(jurisdiction, tuple(texts.items()))


@lru_cache(maxsize=4)
def _parsed(jurisdiction: str, texts: tuple[tuple[str, str], ...]) -> PolicyBook:
    # Reading the same texts again would take longer than all the rest of a start.
    return parse_book(jurisdiction, dict(texts))
