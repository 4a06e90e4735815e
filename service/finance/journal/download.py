"""A running export: its snapshot, its pieces and its end."""

import asyncio
import hashlib
import json
import sys
import zlib
from collections.abc import AsyncIterator, Callable
from datetime import date
from typing import Literal, Protocol

import asyncpg

from service.finance.journal.encoders import Encoder, ParquetEncoder, SheetEncoder, sheet_row_sql
from service.finance.journal.export import (
    BOM,
    XLSX_ROWS_MAX,
    Layout,
    Size,
    Take,
    copy_csv,
    copy_ndjson,
    copy_rows,
    copy_texts,
    size_of,
)
from service.finance.journal.selection import Selection, with_span
from service.finance.journal.snapshot import Books

Compression = Literal["gzip", "zstd"]

# Large enough that a piece costs little, with few in the queue to save memory. All pieces but the
# last have this length, so that a compressor gives the same bytes each time.
PIECE_BYTES = 256 * 1024
PIECES_WAITING_MAX = 4

_FIRST_OPEN_SQL = "SELECT max(day) + 1 FROM journal_day WHERE jurisdiction = $1"


class TooManyRows(Exception):
    """The selection has more rows than a sheet."""


class NotAsAnnounced(Exception):
    """The file has other rows than announced: a row was added or deleted by hand."""


class Download:
    """One export. Call `open`, send the headers (`size`, `selection.until`, `open_from`), then
    iterate `pieces`. Always call `close`: it cancels the statement unless all pieces were read.
    `on_rows` is called with the number of further entries that were read."""

    size: Size
    selection: Selection
    open_from: date | None
    whole: bool  # all pieces were read

    def __init__(
        self,
        books: Books,
        selection: Selection,
        layout: Layout,
        compression: Compression | None = None,
        on_rows: Callable[[int], None] | None = None,
    ) -> None:
        self.selection = selection
        self._layout = layout
        self._compression = compression
        self._books = books
        self._connecting = books.connection()
        self._on_rows = on_rows
        self.whole = False
        self._making: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Take the snapshot. Raises LedgerAway, ReportsBusy, BookersHang, StandbyBehind
        or TooManyRows."""
        self._connection = await self._connecting.__aenter__()
        try:
            selection = await self._books.complete(self._connection, self.selection)
            await self._connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            self.selection = await with_span(self._connection, selection)
            self.size = await size_of(self._connection, self.selection)
            self.open_from = await _first_open(self._connection, self.selection)
            if self._layout.format == "xlsx" and self.size.rows > XLSX_ROWS_MAX:
                raise TooManyRows
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        if not self.whole:
            self._connection.terminate()
        if self._making is not None:
            self._making.cancel()
            # Its error, if any, no longer matters.
            await asyncio.gather(self._making, return_exceptions=True)
        await self._connecting.__aexit__(None, None, None)

    async def pieces(self) -> AsyncIterator[bytes]:
        """The file. If the iteration raises, the file is incomplete."""
        queue: asyncio.Queue[bytes | None] = asyncio.Queue(PIECES_WAITING_MAX)
        self._making = asyncio.create_task(self._make(queue))
        while (piece := await queue.get()) is not None:
            yield piece
        await self._making
        await self._connection.execute("COMMIT")
        self.whole = True

    async def _make(self, queue: "asyncio.Queue[bytes | None]") -> None:
        pending = bytearray()
        squeeze = _compressor(self._compression)

        async def take(chunk: bytes) -> None:
            pending.extend(chunk)
            while len(pending) >= PIECE_BYTES:
                await emit()

        async def emit() -> None:
            piece = bytes(pending[:PIECE_BYTES])
            del pending[:PIECE_BYTES]
            if squeeze is not None:
                piece = await asyncio.to_thread(squeeze.compress, piece)
            if piece:
                await queue.put(piece)

        try:
            await self._write(take)
            await emit()
            if squeeze is not None:
                await queue.put(squeeze.flush())
        finally:
            await queue.put(None)

    async def _write(self, take: Take) -> None:
        layout, columns = self._layout, self._layout.columns
        digest = hashlib.sha256()

        async def take_hashed(chunk: bytes) -> None:
            self._count(chunk)
            if layout.trailer:
                digest.update(chunk)
            await take(chunk)

        if layout.format == "csv":
            if layout.bom:
                await take_hashed(BOM)
            rows = await copy_csv(
                self._connection,
                self.selection,
                columns,
                take_hashed,
                chinese_names=layout.chinese_names,
            )
        elif layout.format == "ndjson":
            rows = await copy_ndjson(self._connection, self.selection, columns, take_hashed)
        else:
            rows = await self._encode(take)
        if rows != self.size.rows:  # without its end, the file is not taken for complete
            raise NotAsAnnounced(f"{rows} rows instead of {self.size.rows}")
        if layout.trailer:
            await take(self._trailer(digest.hexdigest()))

    async def _encode(self, take: Take) -> int:
        columns = self._layout.columns
        names = ", ".join(column.name for column in columns)
        encoder: Encoder
        if self._layout.format == "parquet":
            encoder = await asyncio.to_thread(ParquetEncoder, columns)
        else:
            encoder = await asyncio.to_thread(SheetEncoder, columns, self._layout.chinese_names)
        block = bytearray()

        async def feed(chunk: bytes) -> None:
            self._count(chunk)
            block.extend(chunk)
            while len(block) >= PIECE_BYTES:
                await flush()

        async def flush() -> None:
            piece = bytes(block[:PIECE_BYTES])
            del block[:PIECE_BYTES]
            await take(await asyncio.to_thread(encoder.feed, piece))

        if self._layout.format == "parquet":
            rows = await copy_rows(self._connection, self.selection, names, feed)
        else:
            row = sheet_row_sql(columns)
            rows = await copy_texts(self._connection, self.selection, names, row, feed)
        await flush()
        await take(await asyncio.to_thread(encoder.finish))
        return rows

    def _count(self, chunk: bytes) -> None:
        """Report the entries in a chunk. COPY sends one line per entry in every format."""
        if self._on_rows is not None:
            self._on_rows(chunk.count(b"\n"))

    def _trailer(self, sha256: str) -> bytes:
        rows, sum_fen = self.size
        if self._layout.format == "csv":
            filling = "," * (len(self._layout.columns) - 4)
            return f"#end,{rows},{sum_fen},{sha256}{filling}\r\n".encode()
        end = {"end": {"rows": rows, "sum_fen": sum_fen, "sha256": sha256}}
        return json.dumps(end).encode() + b"\n"


async def _first_open(connection: asyncpg.Connection, selection: Selection) -> date | None:
    """The first day of the selection that is still open. None: all are closed."""
    first: date | None = await connection.fetchval(_FIRST_OPEN_SQL, selection.jurisdiction)
    first = max(first or selection.from_on, selection.from_on)
    return first if first <= selection.to_on else None


class Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


def _compressor(compression: Compression | None) -> Compressor | None:
    if compression == "gzip":
        return zlib.compressobj(5, wbits=31)
    if compression == "zstd":
        if sys.version_info >= (3, 14):
            from compression.zstd import ZstdCompressor
        else:
            from backports.zstd import ZstdCompressor
        return ZstdCompressor(3)
    return None
