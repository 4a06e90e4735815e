"""The replayed lines as files: csv, and Parquet."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from service.config import Misconfigured
from service.core.reasons import ReasonCode
from service.finance.journal.columns import ExportColumn
from service.finance.journal.encoders import ParquetEncoder
from service.replay.price import LineKind

LINE_COLUMNS = (
    ExportColumn("claim_id", "补贴单号", "uuid", "the claim in the ledger"),
    ExportColumn("line_no", "行号", "smallint", "line of the claim"),
    ExportColumn("sold_on", "销售日", "date", "day of sale in Asia/Shanghai"),
    ExportColumn("retailer_id", "企业编号", "text", "who sold it"),
    ExportColumn("category", "品类", "word", "what was sold"),
    ExportColumn("energy_grade", "能效等级", "word", "as it was claimed"),
    ExportColumn("price_fen", "售价（分）", "bigint", "its price"),
    ExportColumn("state", "账上状态", "word", "the line's state in the ledger"),
    ExportColumn("booked_fen", "账上补贴（分）", "bigint", "what the ledger granted"),
    ExportColumn("scheme", "补贴类别", "word", "by the replayed policy, if it has the category"),
    ExportColumn("outcome", "推演结果", "word", "granted, refunded, ended or refused"),
    ExportColumn("reasons", "不予补贴原因", "word", "codes, the first one first"),
    ExportColumn("subsidy_fen", "推演补贴（分）", "bigint", "what the replayed policy grants"),
)
_HEADING = ",".join(column.name for column in LINE_COLUMNS).encode() + b"\n"


class LineFiles:
    """Writes each judged line to a csv and to a Parquet file, if there are such files."""

    def __init__(self, csv: BinaryIO | None = None, parquet: BinaryIO | None = None) -> None:
        self._csv = csv
        self._parquet = parquet
        self._encoder = ParquetEncoder(LINE_COLUMNS) if parquet else None
        self._rows: list[str] = []
        if csv:
            csv.write(_HEADING)

    @property
    def written(self) -> bool:
        return self._csv is not None or self._parquet is not None

    def add(
        self, text: str, kind: LineKind, reasons: tuple[ReasonCode, ...], subsidy_fen: int
    ) -> None:
        """`text`: the cells up to `booked_fen`."""
        if reasons:
            self._rows.append(f"{text},{kind.scheme},refused,{' '.join(reasons)},0\n")
        else:
            outcome = _OUTCOMES.get(kind.state, "granted")
            self._rows.append(f"{text},{kind.scheme},{outcome},,{subsidy_fen}\n")

    def end_slice(self) -> None:
        """Write the lines so far."""
        if not self._rows:
            return
        piece = "".join(self._rows).encode()
        self._rows.clear()
        if self._csv:
            # A retailer's id may begin with a hyphen: a spreadsheet would take it for a formula. No
            # other cell of a judged line does, amounts included.
            self._csv.write(piece.replace(b",-", b",'-"))
        if self._parquet and self._encoder:
            self._parquet.write(self._encoder.feed(piece))

    def finish(self) -> None:
        if self._parquet and self._encoder:
            self._parquet.write(self._encoder.finish())


_OUTCOMES = {"refunded": "refunded", "cancelled": "ended", "expired": "ended"}


@contextmanager
def draft(path: Path | None) -> Iterator[BinaryIO | None]:
    """A file that appears under its name only when it is complete. Raises Misconfigured."""
    if path is None:
        yield None
        return
    part = path.with_name(path.name + ".part")
    with _writing(path):
        file = part.open("wb")
    try:
        with file:
            yield file
            with _writing(path):
                file.flush()
                os.fsync(file.fileno())
        with _writing(path):
            part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Misconfigured(f"{path} cannot be written: {error.strerror}.") from None
