"""The lines of a text file, decoded and counted."""

import codecs
import io
from collections.abc import Iterator
from typing import BinaryIO

from service.finance.files.faults import BadFile

PIECE_BYTES = 1 << 20
LINE_MAX = 1 << 16

_BOMS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


class TextLines:
    """The lines that are not blank, without their line ends. `number` is the line that was given
    out last, `filled` the number of lines that were. Raises BadFile."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.number = 0
        self.filled = 0

    def __iter__(self) -> Iterator[str]:
        # Not "": a carriage return within a value would be a line end of its own.
        text = io.TextIOWrapper(self._file, encoding_of(self._file), newline="\n")
        try:
            while line := text.readline(LINE_MAX):
                self.number += 1
                if len(line) == LINE_MAX:
                    raise BadFile("unreadable", line=str(self.number))
                if not line.isspace():
                    self.filled += 1
                    yield line.rstrip("\r\n")
        except UnicodeDecodeError:
            line_no = broken_line(self._file, text.encoding)
            raise BadFile("bad_character", line=str(line_no)) from None
        finally:
            if not self._file.closed:  # as it is when lines are left in the middle for a fault
                text.detach()


def broken_line(file: BinaryIO, encoding: str) -> int:
    """The line of the first character that is not of the encoding. Text is decoded in pieces, so
    the lines that were given out end before it."""
    decoder = codecs.getincrementaldecoder(encoding)()
    line = 1
    file.seek(0)
    try:
        for piece in file:
            line += decoder.decode(piece).count("\n")
    except UnicodeDecodeError:
        pass
    return line


def encoding_of(file: BinaryIO) -> str:
    """UTF-8 if all of the file is; UTF-16 where it says so; else what a Chinese Excel or platform
    writes."""
    head = file.read(3)
    file.seek(0)
    if head[:2] in _BOMS:
        return "utf-16"
    decoder = codecs.getincrementaldecoder("utf-8")()
    is_ascii = True
    try:
        while piece := file.read(PIECE_BYTES):
            is_ascii &= decoder.decode(piece).isascii()
        if is_ascii:  # else its end alone can be wrong, where it was cut
            decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return "utf-8-sig" if head == codecs.BOM_UTF8 else "gb18030"
    finally:
        file.seek(0)
    return "utf-8-sig"
