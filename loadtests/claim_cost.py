"""What a durable claim costs beside a route with no I/O: `python -m loadtests.claim_cost`.

Both servers run in turn, one worker each, over several rounds; the load comes from this same
machine, so read the ratio, not the rates.
"""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from tests.builders import checkout_json, item_json, resident_id, serial

CONNECTIONS = 64
SECONDS = 4.0
ROUNDS = 3
PORTS = {"claims": 18431, "no_io": 18432}

_numbers = count()


def request_bytes(sold_at: str, key: str) -> bytes:
    """One claim by a person of their own, for goods of their own: all are granted."""
    n = next(_numbers)
    body = json.dumps(
        checkout_json(
            sold_at=sold_at,
            order_no=f"L{n}",
            consumer={"id_type": "resident_id", "id_number": resident_id(n)},
            # A subsidy of 2 yuan: the sandbox's budget lasts for 10 million claims.
            items=[item_json(serial_no=serial(n), price_fen=1_000)],
        )
    ).encode()
    head = (
        "POST /v1/claims HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {key}\r\nIdempotency-Key: L{n}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def one_connection(port: int, until: float, sold_at: str, key: str) -> list[float]:
    """Claims one after another; returns the seconds that each took."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    took = []
    while (began := time.perf_counter()) < until:
        writer.write(request_bytes(sold_at, key))
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        body = await reader.readexactly(length)
        assert head.startswith(b"HTTP/1.1 201"), body
        took.append(time.perf_counter() - began)
    writer.close()
    return took


async def load(port: int, sold_at: str, key: str) -> tuple[float, list[float]]:
    """(claims a second, seconds of each claim) over SECONDS."""
    until = time.perf_counter() + SECONDS
    runs = (one_connection(port, until, sold_at, key) for _ in range(CONNECTIONS))
    took = [seconds for run in await asyncio.gather(*runs) for seconds in run]
    return len(took) / SECONDS, took


@contextmanager
def serving(name: str, folder: Path) -> Iterator[tuple[int, str, str]]:
    """(port, time of sale, key) of a fresh server process."""
    port = PORTS[name]
    no_io = [sys.executable, "-m", "uvicorn", "loadtests.apps.no_io:app", "--port", str(port)]
    command = (
        [*no_io, "--no-access-log"]
        if name == "no_io"
        else [sys.executable, "-m", "service", "serve"]
    )
    environment = os.environ | {
        "BUTIE_DATA_DIR": str(folder),
        "BUTIE_PORT": str(port),
        "BUTIE_LOG_LEVEL": "warning",
    }
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_until_up(port, process)
        known = {"clock": "2025-06-18T10:15:00+08:00", "keys": {"pos": "none"}}
        if name == "claims":
            known = json.loads((folder / "sandbox.json").read_text())
        yield port, known["clock"], known["keys"]["pos"]
    finally:
        process.terminate()
        process.wait(30)


def wait_until_up(port: int, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(300):
        assert process.poll() is None, "the server did not start"
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/openapi.json").close()
            return
        except OSError:
            time.sleep(0.1)
    raise TimeoutError("the server did not come up")


def main() -> None:
    rates: dict[str, list[float]] = {"claims": [], "no_io": []}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(1, ROUNDS + 1):
            for name, known in rates.items():
                with serving(name, Path(folder)) as served:
                    rate, took = asyncio.run(load(*served))
                known.append(rate)
                p50, p99 = (statistics.quantiles(took, n=100)[at] * 1000 for at in (49, 98))
                print(
                    f"round {number} {name:>6}: {rate:7.0f}/s  p50 {p50:6.1f} ms  p99 {p99:6.1f} ms"
                )
    ratios = [a / b for a, b in zip(rates["claims"], rates["no_io"], strict=True)]
    print("claims / no_io by round:", " ".join(f"{ratio:.2f}" for ratio in ratios))


if __name__ == "__main__":
    main()
