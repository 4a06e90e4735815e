"""A zip or gz with tables in it, as platforms send their bills."""

import gzip
import lzma
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, BinaryIO

from service.finance.files.faults import BadFile
from service.finance.files.workbook import is_workbook

# What unpacks to more is no bill but an attack.
UNPACKED_MAX_BYTES = 512 << 20
MEMBERS_MAX = 50
PIECE_BYTES = 1 << 20
NAMES_SHOWN = 10

ZIP, GZIP = b"PK\x03\x04", b"\x1f\x8b"
_UTF8_NAME = 0x800
_BROKEN = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError,
    NotImplementedError, RuntimeError,
)  # fmt: skip


@contextmanager
def unpacked(file: BinaryIO) -> Iterator[dict[str, BinaryIO]]:
    """The files of an archive by name, unpacked into temporary ones; without a name the file
    itself where it is no archive. Raises BadFile."""
    head = file.read(4)
    file.seek(0)
    opened: dict[str, BinaryIO] = {}
    try:
        if head.startswith(GZIP):
            opened[""] = _copied(gzip.GzipFile(fileobj=file), UNPACKED_MAX_BYTES)
            _refuse_nested(opened[""])
        elif head == ZIP:
            _unpack(file, opened)
        if not opened:
            opened[""] = file
        yield opened
    finally:
        for member in opened.values():
            if member is not file:
                member.close()
        if not file.closed:
            file.seek(0)


def _unpack(file: BinaryIO, opened: dict[str, BinaryIO]) -> None:
    """Open the members. A workbook, which is a zip of its own, has none. Raises BadFile."""
    try:
        with zipfile.ZipFile(file) as archive:
            if is_workbook(archive):
                return
            left = UNPACKED_MAX_BYTES
            for info in _tables(archive):
                if _name(info) in opened:
                    raise BadFile("members_alike", member=_name(info))
                with archive.open(info) as part:
                    member = opened[_name(info)] = _copied(part, left)
                left -= member.seek(0, 2)
                member.seek(0)
                _refuse_nested(member)
    except _BROKEN:
        raise BadFile("unreadable", line="1") from None


def _tables(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    members = [info for info in archive.infolist() if not _is_furniture(info)]
    if not members:
        raise BadFile("empty_archive")
    if len(members) > MEMBERS_MAX:
        names = ", ".join(map(_name, members[:NAMES_SHOWN]))
        raise BadFile("which_member", members=f"{names}, …")
    return members


def _is_furniture(member: zipfile.ZipInfo) -> bool:
    """What a Mac adds to an archive: never a table."""
    folder, _, name = member.filename.rpartition("/")
    return member.is_dir() or name == ".DS_Store" or ("__MACOSX" in folder and name[:2] == "._")


def _name(member: zipfile.ZipInfo) -> str:
    """Platforms write names in GBK and do not say so."""
    if member.flag_bits & _UTF8_NAME:
        return member.filename
    try:
        return member.filename.encode("cp437").decode("gb18030")
    except UnicodeError:
        return member.filename


def _copied(part: IO[bytes] | gzip.GzipFile, bytes_max: int) -> BinaryIO:
    copy = tempfile.TemporaryFile()  # noqa: SIM115 - `unpacked` closes it
    try:
        while piece := part.read(PIECE_BYTES):
            bytes_max -= len(piece)
            if bytes_max < 0:
                raise BadFile("unpacks_too_large")
            copy.write(piece)
    except BadFile:
        copy.close()
        raise
    except _BROKEN:
        copy.close()
        raise BadFile("unreadable", line="1") from None
    copy.seek(0)
    return copy


def _refuse_nested(member: BinaryIO) -> None:
    head = member.read(4)
    member.seek(0)
    if head.startswith(GZIP):
        raise BadFile("nested_archive")
    if head == ZIP:
        try:
            with zipfile.ZipFile(member) as inner:
                nested = not is_workbook(inner)
        except _BROKEN:
            raise BadFile("unreadable", line="1") from None
        if nested:
            raise BadFile("nested_archive")
        member.seek(0)
