"""The claim path's connections while the server comes and goes."""

import asyncio

import pytest

from service.db.engine import NeverSent, driver, make_engine

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        # ErrorResponse 57P03: the server begins or ends.
        b"E\x00\x00\x00\x27SFATAL\x00C57P03\x00Mit is shutting down\x00\x00",
    ],
    ids=["closed", "refused"],
)
async def test_a_server_that_ends_a_connection_that_begins_was_sent_nothing(answer: bytes) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        engine = make_engine(f"postgresql://x:y@127.0.0.1:{port}/z?sslmode=disable")
        with pytest.raises(NeverSent):
            async with driver(engine):
                raise AssertionError("It has a connection.")
        await engine.dispose()
