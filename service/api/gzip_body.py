"""A request's body that may be compressed with gzip."""

import zlib
from collections.abc import AsyncIterator

from starlette.requests import Request

from service.api.edge import ENCODING, GZIP, BodyTooLarge, header

PIECE_BYTES = 1 << 20
# More would be empty ones, which cost time and give nothing.
MEMBERS_MAX = 1000
_GZIP_FORMAT = zlib.MAX_WBITS | 16


class BrokenGzip(Exception):
    """The body says that it is gzip, and is not, or is cut off."""


async def decoded(request: Request, body_max_bytes: int) -> AsyncIterator[bytes]:
    """The body in pieces, decompressed: never more than `body_max_bytes` in all. Raises
    BodyTooLarge or BrokenGzip."""
    if header(request, ENCODING).strip().lower().encode() != GZIP:
        async for chunk in request.stream():
            yield chunk
        return
    members, left, member = 1, body_max_bytes, zlib.decompressobj(_GZIP_FORMAT)
    try:
        async for chunk in request.stream():
            while chunk:
                if member.eof:  # a file may be several members in a row
                    members += 1
                    if members > MEMBERS_MAX:
                        raise BrokenGzip
                    member = zlib.decompressobj(_GZIP_FORMAT)
                piece = member.decompress(chunk, PIECE_BYTES)
                chunk = member.unused_data or member.unconsumed_tail
                left -= len(piece)
                if left < 0:
                    raise BodyTooLarge
                yield piece
    except zlib.error:
        raise BrokenGzip from None
    if not member.eof:
        raise BrokenGzip
