"""A real service of two workers under load, while its parts are killed, stopped and cut off.

The driver runs in the main thread, since the kernel ends the engines with the thread that started
them; the proxies and the tills have a loop in a thread of their own.
"""

import asyncio
import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import psutil

from service.db.acts import Office
from service.db.engine import connect, make_engine, migrate
from service.finance.budgets import Allocation, allocate
from service.retailers.enrol import NewStore, add_retailer, add_stores
from service.retailers.issue import create_key
from service.wiring import CLAIM_CONNECTIONS
from tests.builders import item_json, uscc
from tests.faults.books import Books, read_books
from tests.faults.engines import Postgres, Valkey
from tests.faults.history import History
from tests.faults.proxy import Proxy
from tests.faults.tills import Till, serials

TILLS = 24
WORKERS = 2
# Small enough to run out and be refunded again and again.
BUDGET_FEN = 150_000_000
QUIET_S = 60


# `make_engine`'s default.
ENGINE_CONNECTIONS = 10


def checkout_of(key: str) -> dict[str, Any]:
    """A checkout of now that no other key shares anything with."""
    return {
        "store_id": "S1",
        "order_no": key,
        "sold_at": datetime.now(UTC).isoformat(),
        "consumer": {"id_type": "passport", "id_number": f"P{zlib.crc32(key.encode()):010d}"},
        "items": [item_json(serial_no=key)],
    }


@dataclass
class Report:
    """What the storm was, and what it left behind."""

    seed: int
    faults: Counter[str]
    history: History
    books: Books
    seconds: float

    def table(self, lost: int) -> str:
        lines = [f"{kind:<28}{count:>6}" for kind, count in sorted(self.faults.items())]
        counts = self.history.counts
        lines += [
            f"{'faults':<28}{self.faults.total():>6}",
            f"{'requests answered':<28}{counts.answered:>6}",
            f"{'claims granted':<28}{counts.granted:>6}",
            f"{'claims refused':<28}{counts.refused:>6}",
            f"{'requests retried':<28}{counts.retried:>6}",
            f"{'breaches (lost and others)':<28}{lost:>6}",
        ]
        return "\n".join([f"seed {self.seed}, {self.seconds:.0f} s", *lines])


class Storm:
    """Brings everything up in `folder`, and takes it down."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder = folder
        self._seed = seed
        self._random = random.Random(seed)
        self.postgres = Postgres(folder / "postgres-home")
        self.valkey = Valkey(folder / "valkey-home")
        self.ledger_proxy, self.gate_proxy = Proxy(), Proxy()
        self.loop = asyncio.new_event_loop()
        self.history = History()
        self.faults: Counter[str] = Counter()
        self._key = ""

    # --- the house ----------------------------------------------------------------------

    @contextmanager
    def up(self) -> Iterator[None]:
        with ExitStack() as stack:
            self._stack = stack
            threading.Thread(target=self.loop.run_forever, daemon=True).start()
            self._in_loop(self.ledger_proxy.start())
            self._in_loop(self.gate_proxy.start())
            stack.callback(self.postgres.stop)
            self._start_postgres()
            stack.callback(self.valkey.kill)
            self._start_valkey()
            migrate(self.database_url)
            self._key = asyncio.run(self._enrol())
            self._serve(stack)
            yield

    @property
    def database_url(self) -> str:
        """Past the proxy."""
        return f"postgresql://butie:{self.postgres.password}@127.0.0.1:{self.postgres.port}/butie"

    def _start_postgres(self) -> None:
        self.postgres.start()
        self.ledger_proxy.upstream_port = self.postgres.port

    def _start_valkey(self) -> None:
        self.valkey.start()
        self.gate_proxy.upstream_port = self.valkey.port

    async def _enrol(self) -> str:
        engine = make_engine(self.database_url)
        async with connect(engine, within_s=10) as connection:
            office = Office(connection, "330402", "storm", datetime.now(UTC))
            await add_retailer(office, retailer_id="r1", uscc_number=uscc(1), name="风暴")
            await add_stores(office, "r1", [NewStore("S1", "店", None)])
            for name in ("appliances", "cars", "digital", "home", "ebike", "elderly"):
                budget = Allocation(name, BUDGET_FEN, "STORM", "storm")
                await allocate(connection, "330402", budget, office.now)
            key = await create_key(office, role="pos", retailer_id="r1", label="storm")
        await engine.dispose()
        return key.secret

    def _serve(self, stack: ExitStack) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
        log = stack.enter_context((self._folder / "service.log").open("wb"))
        user = f"butie:{self.postgres.password}"
        environment = {name: text for name, text in os.environ.items() if "BUTIE" not in name} | {
            "BUTIE_DATABASE_URL": f"postgresql://{user}@127.0.0.1:{self.ledger_proxy.port}/butie",
            "BUTIE_REDIS_URL": f"redis://127.0.0.1:{self.gate_proxy.port}/0",
            "BUTIE_PII_KEY": "storm-key-for-made-up-people-only-0000",
            "BUTIE_PORT": str(self.port),
            "BUTIE_WORKERS": str(WORKERS),
        }
        self.service = subprocess.Popen(
            [sys.executable, "-m", "service", "serve"],
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        stack.callback(self._stop_service)
        self._until_ready()

    def serve_again(self) -> None:
        """After it has ended by itself."""
        self._serve(self._stack)

    def sell_one(self, key: str, *, body: bytes | None = None) -> httpx.Response:
        """One claim of a fresh serial; the key names it."""
        return httpx.post(
            f"http://127.0.0.1:{self.port}/v1/claims",
            content=body or json.dumps(checkout_of(key)).encode(),
            headers={"Authorization": f"Bearer {self._key}", "Idempotency-Key": key},
            timeout=30,
        )

    def sell_many(self, count: int) -> Callable[[], list[httpx.Response | None]]:
        """Claims all at once; call the answer for what came of them, None for no answer."""

        def sell(n: int) -> httpx.Response | None:
            try:
                return self.sell_one(f"many-{n}")
            except httpx.HTTPError:
                return None

        pool = ThreadPoolExecutor(count)
        answers = [pool.submit(sell, n) for n in range(count)]
        return lambda: [answer.result() for answer in answers]

    def connections(self) -> int:
        """How many the service has to PostgreSQL."""

        async def count() -> int:
            connection = await asyncpg.connect(self.database_url)
            found = await connection.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'butie'"
            )
            await connection.close()
            return int(found)

        return asyncio.run(count())

    def connections_max(self) -> int:
        return WORKERS * (CLAIM_CONNECTIONS + ENGINE_CONNECTIONS)

    def _stop_service(self) -> None:
        if self.service.poll() is not None:
            return
        for process in self.workers():
            with suppress(psutil.NoSuchProcess):
                process.resume()
        self.service.terminate()
        self.service.wait(30)

    def _until_ready(self) -> None:
        deadline = time.monotonic() + QUIET_S
        while time.monotonic() < deadline:
            with suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=2).close()
                return
            time.sleep(0.1)
        raise TimeoutError("the service does not get ready")

    def workers(self) -> list[psutil.Process]:
        return [
            process
            for process in psutil.Process(self.service.pid).children()
            if "spawn_main" in " ".join(process.cmdline())
        ]

    def _in_loop(self, work: object) -> object:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(QUIET_S)  # type: ignore[arg-type]

    # --- the faults ---------------------------------------------------------------------

    def kinds(self) -> dict[str, Callable[[], None]]:
        return {
            "worker killed": self._worker_killed,
            "worker stopped": self._worker_stopped,
            "valkey restarted, kept": lambda: self._valkey_restarted("kept"),
            "valkey restarted, empty": lambda: self._valkey_restarted("none"),
            "valkey restarted, older": lambda: self._valkey_restarted("older"),
            "valkey stopped": self._valkey_stopped,
            "postgres killed": self._postgres_killed,
            "postgres stopped": self._postgres_stopped,
            "ledger cut": lambda: self._cut(self.ledger_proxy),
            "ledger slow": lambda: self._slow(self.ledger_proxy),
            "ledger swallowed": lambda: self._swallowed(self.ledger_proxy),
            "gate cut": lambda: self._cut(self.gate_proxy),
            "gate slow": lambda: self._slow(self.gate_proxy),
            "gate swallowed": lambda: self._swallowed(self.gate_proxy),
        }

    def _a_while(self, low_s: float = 0.1, high_s: float = 0.9) -> None:
        time.sleep(self._random.uniform(low_s, high_s))

    def _worker_killed(self) -> None:
        if workers := self.workers():
            with suppress(psutil.NoSuchProcess):
                self._random.choice(workers).kill()

    def _worker_stopped(self) -> None:
        if workers := self.workers():
            worker = self._random.choice(workers)
            with suppress(psutil.NoSuchProcess):
                worker.suspend()
                self._a_while()
                worker.resume()

    def _valkey_restarted(self, data: str) -> None:
        self.valkey.restart(data=data)
        self.gate_proxy.upstream_port = self.valkey.port
        self._calmly(self.gate_proxy.cut)

    def _valkey_stopped(self) -> None:
        self.valkey.freeze(True)
        self._a_while()
        self.valkey.freeze(False)

    def _postgres_killed(self) -> None:
        self.postgres.kill()
        self._start_postgres()
        self._calmly(self.ledger_proxy.cut)

    def _postgres_stopped(self) -> None:
        self.postgres.freeze(True)
        self._a_while()
        self.postgres.freeze(False)

    def _cut(self, proxy: Proxy) -> None:
        self._calmly(proxy.cut)

    def _slow(self, proxy: Proxy) -> None:
        proxy.delay_s = self._random.uniform(0.01, 0.4)
        self._a_while()
        proxy.delay_s = 0.0

    def _swallowed(self, proxy: Proxy) -> None:
        proxy.swallows = True
        self._a_while()
        proxy.swallows = False

    def _calmly(self, act: Callable[[], None]) -> None:
        self.loop.call_soon_threadsafe(act)

    # --- the run ------------------------------------------------------------------------

    def run(self, faults: int) -> Report:
        """Sell while `faults` faults happen, heal, and read the books at rest."""
        started = time.monotonic()
        selling = asyncio.run_coroutine_threadsafe(self._sell(), self.loop)
        kinds = self.kinds()
        for n in range(faults):
            kind = self._random.choice(sorted(kinds))
            if n % 10 == 0:
                self.valkey.keep_copy()
            kinds[kind]()
            self.faults[kind] += 1
            self._a_while(0.1, 0.6)
        self._until_ready()
        self.loop.call_soon_threadsafe(self._enough.set)
        selling.result(QUIET_S)
        books = self._books_at_rest()
        seconds = time.monotonic() - started
        return Report(self._seed, self.faults, self.history, books, seconds)

    async def _sell(self) -> None:
        self._enough = asyncio.Event()
        numbers = serials(self._seed)
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{self.port}",
            headers={"Authorization": f"Bearer {self._key}"},
            limits=httpx.Limits(max_connections=TILLS * 2),
        ) as client:
            tills = [Till(n, self._seed, self.history, client, numbers) for n in range(TILLS)]
            await asyncio.gather(*(till.work(self._enough) for till in tills))

    def _books_at_rest(self) -> Books:
        """Once nothing is in flight any more; or as they are when that takes too long."""
        deadline = time.monotonic() + QUIET_S
        while True:
            time.sleep(1)  # two sweeps
            books = asyncio.run(read_books(self.database_url, self.valkey.client))
            if books.admissions == 0 or time.monotonic() > deadline:
                return books
