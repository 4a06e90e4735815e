"""A TCP proxy on loopback that cuts, delays and swallows what passes through it."""

import asyncio
from contextlib import suppress


class Proxy:
    """Listens on a port of its own for good; what is behind it may come and go."""

    def __init__(self) -> None:
        self.port = 0
        self.upstream_port = 0
        self.delay_s = 0.0
        self.swallows = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        """Break every connection, in the middle of whatever it carries."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            upstream = await asyncio.open_connection("127.0.0.1", self.upstream_port)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, upstream[1]}
        await asyncio.gather(self._pipe(reader, upstream[1]), self._pipe(upstream[0], writer))
        self._writers -= {writer, upstream[1]}

    async def _pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                while self.swallows:
                    await asyncio.sleep(0.02)
                writer.write(data)
                await writer.drain()
        writer.transport.abort()
