"""The encoders whose files must not depend on when and where they are made."""

from service.finance.journal.columns import EXPORT_COLUMNS
from service.finance.journal.encoders import Encoder, ParquetEncoder, SheetEncoder


def parquet() -> Encoder:
    return ParquetEncoder(EXPORT_COLUMNS)


def xlsx() -> Encoder:
    return SheetEncoder(EXPORT_COLUMNS, chinese_names=True)


ENCODERS = {"parquet": parquet, "xlsx": xlsx}


def encoded(encoder: Encoder, chunks: list[bytes]) -> bytes:
    return b"".join(encoder.feed(chunk) for chunk in chunks) + encoder.finish()
