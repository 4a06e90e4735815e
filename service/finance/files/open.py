"""Which reader a file needs, by its first bytes."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from service.finance.files.archive import GZIP, NAMES_SHOWN, ZIP, unpacked
from service.finance.files.csv_text import CsvTable
from service.finance.files.faults import BadFile
from service.finance.files.profiles import PROFILES
from service.finance.files.profiles.profile import ProfileUse
from service.finance.files.table import Table
from service.finance.files.workbook import WorkbookTable, is_old_workbook


@contextmanager
def opened_table(
    file: BinaryIO, sheet: str | None = None, use: ProfileUse | None = None
) -> Iterator[Table]:
    """The table of a csv file or a workbook, or of an archive that has one of them. With `use` the
    table of a platform's file, or of an archive with its parts. Raises BadFile."""
    with unpacked(file) as members:
        if use is not None:
            yield PROFILES[use.profile].open(members, use)
            return
        if len(members) > 1:
            names = ", ".join(list(members)[:NAMES_SHOWN])
            raise BadFile("which_member", members=names)
        (member,) = members.values()
        yield open_table(member, sheet)


def open_table(file: BinaryIO, sheet: str | None = None) -> Table:
    """The table of a csv file or a workbook. `sheet` names one of a workbook's. Raises BadFile."""
    file.seek(0)
    head = file.read(4)
    size = file.seek(0, 2)
    file.seek(0)
    if head == ZIP:
        return WorkbookTable(file, sheet)
    if is_old_workbook(head):
        raise BadFile("old_workbook")
    if sheet is not None:
        raise BadFile("no_sheets")
    return CsvTable(file, size)


def is_packed(file: BinaryIO) -> bool:
    """Whether the file is a workbook or an archive, so that its table has to be unpacked."""
    head = file.read(4)
    file.seek(0)
    return head == ZIP or head.startswith(GZIP)
