"""A client that drops its export over a real socket frees its connection, and alarms nobody."""

import asyncio
import gc
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import uvicorn

from service.api.app import make_app
from service.config import Settings
from service.server import protocol
from service.server.protocol import GuardedProtocol
from tests.conftest import House
from tests.finance.books import many_entries

pytestmark = pytest.mark.anyio

# Closing then sends a reset: what a plug that is pulled, or a killed curl, looks like.
RESET = struct.pack("ii", 1, 0)
READING = """
    SELECT count(*) FROM pg_stat_activity
    WHERE application_name = 'butie reports' AND datname = current_database() AND state <> 'idle'
"""
BLOCKED = f"{READING} AND wait_event = 'ClientWrite'"


@contextmanager
def served(settings: Settings) -> Iterator[int]:
    """A worker as it is served, with an event loop of its own; at the end all its work is."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)  # else it takes megabytes
    options: dict[str, Any] = {"http": GuardedProtocol, "log_config": None, "access_log": False}
    server = uvicorn.Server(uvicorn.Config(make_app(settings), **options))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


def ask(port: int, key: str, path: str) -> socket.socket:
    """Ask, and read no more than the first bytes."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(60)
    client.connect(("127.0.0.1", port))
    head = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\r\n"
    client.sendall(head.encode())
    assert client.recv(1024).startswith(b"HTTP/1.1 200")
    return client


async def until_read(house: House, sql: str, expected: int) -> None:
    async with asyncio.timeout(30):
        while (await house.sql(sql))[0][0] != expected:
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("reset", [True, False])
async def test_a_dropped_export_frees_its_connection_and_leaves_no_traceback(
    house: House,
    reset: bool,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await many_entries(house, 60_000)
    gc.collect()  # what earlier tests left behind is not this one's
    monkeypatch.setattr(sys, "unraisablehook", sys.__unraisablehook__)
    capfd.readouterr()
    days = "/v1/exports/journal?from=2025-06-18&to=2025-06-18"
    with served(house.settings) as port:
        for more in ("csv", "csv&compress=gzip", "ndjson", "parquet", "xlsx"):
            path = f"{days}&format={more}"
            client = await asyncio.to_thread(ask, port, house.keys["finance"], path)
            if more == "ndjson":  # the largest: all waits for the client, back to PostgreSQL
                for _ in range(5):
                    await until_read(house, BLOCKED, 1)
            if reset:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            client.close()
            await until_read(house, READING, 0)
    gc.collect()
    stderr = capfd.readouterr().err
    assert stderr == ""


async def test_a_client_that_takes_nothing_more_is_hung_up_on(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A laptop that was shut in the middle of its download does not keep the place of the next."""
    monkeypatch.setattr(protocol, "UNREAD_S", 0.5)
    await many_entries(house, 60_000)
    path = "/v1/exports/journal?from=2025-06-18&to=2025-06-18&format=ndjson"
    with (
        served(house.settings) as port,
        await asyncio.to_thread(ask, port, house.keys["finance"], path),
    ):
        await until_read(house, READING, 0)


async def test_a_client_that_takes_its_export_slowly_gets_all_of_it(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each piece takes longer than a client may take nothing."""
    monkeypatch.setattr(protocol, "UNREAD_S", 1)
    await many_entries(house, 6_000)
    path = "/v1/exports/journal?from=2025-06-18&to=2025-06-18&format=csv"

    def slowly(port: int) -> None:
        with ask(port, house.keys["finance"], path) as client:
            end = b""
            while end != b"\r\n0\r\n\r\n":
                more = client.recv(4096)
                assert more, "cut off"
                end = (end + more)[-7:]
                time.sleep(0.03)

    with served(house.settings) as port:
        await asyncio.to_thread(slowly, port)
