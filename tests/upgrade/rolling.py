"""Two releases on one PostgreSQL and one Valkey: their processes, and a transport that spreads the
tills' requests over those that are up, as a load balancer does."""

import asyncio
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.faults.engines import Postgres, Valkey
from tests.faults.history import History
from tests.faults.tills import Till, serials

READY_WITHIN_S = 60
TILLS = 12
PII_KEY = "upgrade-key-for-made-up-people-only-0000"


@dataclass
class Release:
    """The code of a release in `tree`, and the engines that it runs on."""

    name: str
    tree: Path
    database_url: str
    redis_url: str
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        clean = {name: text for name, text in os.environ.items() if not name.startswith("BUTIE_")}
        ours = {
            "PYTHONPATH": str(self.tree),
            "BUTIE_DATABASE_URL": self.database_url,
            "BUTIE_REDIS_URL": self.redis_url,
            "BUTIE_PII_KEY": PII_KEY,
            # A busy machine is no fault of the release.
            "BUTIE_ANSWER_WITHIN_MS": "30000",
        }
        return clean | ours | self.settings

    def butie(self, *words: str) -> str:
        """Run a command of this release; returns its output. Raises AssertionError if it fails."""
        done = subprocess.run(
            [sys.executable, "-m", "service", *words],
            cwd=self.tree,
            env=self.environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @contextmanager
    def serve(self, folder: Path) -> Iterator["Served"]:
        """A service of this release that is ready. Its log is in `folder`."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = int(listener.getsockname()[1])
        with (folder / f"{self.name}-{port}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "service", "serve"],
                cwd=self.tree,
                env=self.environment | {"BUTIE_PORT": str(port)},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        served = Served(port, process)
        try:
            served.wait_until_ready()
            yield served
        finally:
            served.stop()


@dataclass
class Served:
    port: int
    process: "subprocess.Popen[bytes]"

    def ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5):
                return True
        except OSError:
            return False

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_WITHIN_S
        while not self.ready():
            assert self.process.poll() is None, "the service ended at its start"
            assert time.monotonic() < deadline, "the service does not get ready"
            time.sleep(0.1)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(30)


class Spread(httpx.AsyncBaseTransport):
    """Sends each request to a random one of `ports`, and counts the answers of each."""

    def __init__(self, *ports: int) -> None:
        self.ports = list(ports)
        self.answered: Counter[int] = Counter()
        self.moments: list[tuple[float, float]] = []  # (when answered, seconds it took)
        self._inner = httpx.AsyncHTTPTransport(limits=httpx.Limits(max_connections=64))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        port = random.choice(self.ports)
        request.url = request.url.copy_with(port=port)
        started = time.monotonic()
        response = await self._inner.handle_async_request(request)
        if response.status_code not in (429, 503):
            self.answered[port] += 1
            self.moments.append((time.monotonic(), time.monotonic() - started))
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()


@contextmanager
def engines(folder: Path) -> Iterator[tuple[Postgres, Valkey, str, str]]:
    """(PostgreSQL, Valkey, their URLs). Enter it in the main thread."""
    postgres, valkey = Postgres(folder / "postgres-home"), Valkey(folder / "valkey-home")
    postgres.start()
    valkey.start()
    try:
        database_url = f"postgresql://butie:{postgres.password}@127.0.0.1:{postgres.port}/butie"
        yield postgres, valkey, database_url, f"redis://127.0.0.1:{valkey.port}/0"
    finally:
        valkey.kill()
        postgres.stop()


def enrol(release: Release, folder: Path, uscc: str) -> str:
    """Enrol the tills' retailer and store, and fund the pools. Returns the secret of a key."""
    stores = folder / "stores.csv"
    stores.write_text("store_id,name,town\nS1,店,\n")
    release.butie(
        "retailer", "add", "r1", "--uscc", uscc, "--name", "升级", "--stores", str(stores)
    )
    for pool in ("appliances", "digital"):
        words = ("--fen", "150000000", "--document", "U", "--reason", "upgrade")
        release.butie("budget", "adjust", pool, *words)
    output = release.butie("key", "create", "--role", "pos", "--retailer", "r1", "--label", "tills")
    return next(word for word in output.split() if word.startswith("butie_"))


async def sell(spread: Spread, key: str, history: History, enough: asyncio.Event) -> None:
    """Let tills sell until `enough` is set, and record the answers in `history`."""
    numbers = serials(1)
    async with httpx.AsyncClient(
        base_url="http://127.0.0.1", transport=spread, headers={"Authorization": f"Bearer {key}"}
    ) as client:
        tills = [Till(n, 1, history, client, numbers) for n in range(TILLS)]
        await asyncio.gather(*(till.work(enough) for till in tills))


async def until(done: Callable[[], bool], selling: "asyncio.Task[None]") -> None:
    """Wait until `done` is true, while the tills go on."""
    while not done():
        assert not selling.done(), "the tills have stopped"
        await asyncio.sleep(0.05)
