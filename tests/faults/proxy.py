"""A TCP proxy on loopback that cuts, delays and swallows what passes through it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit, urlunsplit


class Proxy:
    """Listens on a port of its own until it is closed. The server behind it may come and go."""

    def __init__(self) -> None:
        self.port = 0
        self.upstream_port = 0
        self.delay_s = 0.0
        self.swallows = False
        self.swallows_answers = False
        self._stranded_before = 0
        self._made = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        """Break every connection, and stop listening."""
        self.cut()
        if self._server:
            self._server.close()

    def cut(self) -> None:
        """Break every connection, also in the middle of a message."""
        for writer in list(self._writers):
            writer.transport.abort()

    def strand(self) -> None:
        """From now on present connections carry nothing, as after a failover. New ones work."""
        self._stranded_before = self._made

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            upstream = await asyncio.open_connection("127.0.0.1", self.upstream_port)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, upstream[1]}
        number, self._made = self._made, self._made + 1

        def held() -> bool:
            return self.swallows or number < self._stranded_before

        def answer_held() -> bool:
            return held() or self.swallows_answers

        await asyncio.gather(
            self._pipe(reader, upstream[1], held), self._pipe(upstream[0], writer, answer_held)
        )
        self._writers -= {writer, upstream[1]}

    async def _pipe(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        held: Callable[[], bool],
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                # Data that is held arrives late, also when its sender has gone.
                while held() and not writer.is_closing():
                    await asyncio.sleep(0.02)
                writer.write(data)
                await writer.drain()
        writer.transport.abort()


@asynccontextmanager
async def proxied(database_url: str) -> AsyncIterator[tuple[Proxy, str]]:
    """(a proxy in front of the database, its URL)."""
    proxy = Proxy()
    parts = urlsplit(database_url)
    proxy.upstream_port = parts.port or 0
    await proxy.start()
    user = parts.netloc.rsplit("@", 1)[0]
    yield proxy, urlunsplit(parts._replace(netloc=f"{user}@127.0.0.1:{proxy.port}"))
    proxy.close()
