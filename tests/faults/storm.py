"""A real service of two workers under load, while processes and connections are killed or stopped.

The driver runs in the main thread, because the kernel ends the engines together with the thread
that started them. The proxies and the tills have an event loop in a thread of their own.
"""

import asyncio
import json
import os
import secrets
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
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import psutil

from service.claims.bundle import CLAIM_CONNECTIONS_MAX
from service.db.acts import ActContext
from service.db.engine import connect, make_engine, migrate
from service.pools.budgets import Allocation, allocate
from service.retailers.enrol import NewStore, add_retailer, add_stores
from service.retailers.issue import create_key
from tests.builders import item_json, uscc
from tests.faults.books import Books, read_books
from tests.faults.checker import breaches, count_lost, drift
from tests.faults.engines import Postgres, Valkey
from tests.faults.history import History
from tests.faults.proxy import Proxy
from tests.faults.tills import Till, serials
from tests.faults.weather import Fault, schedule

TILLS = 24
PII_KEY = "storm-key-for-made-up-people-only-0000"
WORKERS = 2
# So small that it runs out and is refunded again and again. About half of the time enough is left
# for its slices; otherwise its own row spends it.
BUDGET_FEN, SLICES = 150_000_000, 3
# Long, because a slow machine is no fault.
QUIET_S = 240
# The default of `make_engine`.
ENGINE_CONNECTIONS = 10


def checkout_of(key: str) -> dict[str, Any]:
    """A checkout with a present instant. No other key has the same person or serial number."""
    return {
        "store_id": "S1",
        "order_no": key,
        "sold_at": datetime.now(UTC).isoformat(),
        "consumer": {"id_type": "passport", "id_number": f"P{zlib.crc32(key.encode()):010d}"},
        "items": [item_json(serial_no=key)],
    }


@dataclass
class Report:
    """The faults of a storm, the tills' history, and the books at rest. `audit` is the output of
    `butie audit` if it found a breach."""

    seed: int
    faults: Counter[str]
    history: History
    books: Books
    audit: str
    seconds: float

    def breaches(self) -> list[str]:
        sentences = breaches(self.history, self.books)
        return [*sentences, f"butie audit: {self.audit}"] if self.audit else sentences

    def through_slices_fen(self) -> int:
        return sum(int(row["spent_fen"]) for row in self.books.slices)

    def table(self) -> str:
        counts, sentences = self.history.counts, self.breaches()
        rows = {
            **dict(sorted(self.faults.items())),
            "faults": self.faults.total(),
            "requests answered": counts.answered,
            "requests retried": counts.retried,
            "claims granted": counts.granted,
            "claims refused": counts.refused,
            "yuan through slices": self.through_slices_fen() // 100,
            "lost": count_lost(sentences),
            "other breaches": len(sentences) - count_lost(sentences),
        }
        title = f"seed {self.seed}, {self.seconds:.0f} s"
        return "\n".join([title, *(f"{name:<28}{count:>7}" for name, count in rows.items())])


class Storm:
    """Engines, proxies, a service and tills, with their data in `folder`."""

    def __init__(self, folder: Path, seed: int, **settings: str) -> None:
        self._folder = folder
        self._settings = settings
        self._seed = seed
        self.postgres = Postgres(folder / "postgres-home")
        self.valkey = Valkey(folder / "valkey-home", password=secrets.token_hex(16))
        self.ledger_proxy, self.gate_proxy = Proxy(), Proxy()
        self.loop = asyncio.new_event_loop()
        self.history = History()
        self.faults: Counter[str] = Counter()
        self.key = ""

    # --- the house ----------------------------------------------------------------------

    @contextmanager
    def up(self) -> Iterator[None]:
        with ExitStack() as stack:
            self._stack = stack
            threading.Thread(target=self.loop.run_forever, daemon=True).start()
            self.in_loop(self.ledger_proxy.start())
            self.in_loop(self.gate_proxy.start())
            stack.callback(self.postgres.stop)
            self.start_postgres()
            stack.callback(self.valkey.kill)
            self._start_valkey()
            migrate(self.database_url)
            self.key = asyncio.run(self._enrol())
            self._serve(stack)
            yield

    @property
    def database_url(self) -> str:
        """Past the proxy."""
        return f"postgresql://butie:{self.postgres.password}@127.0.0.1:{self.postgres.port}/butie"

    def gate_url(self, port: int) -> str:
        """Valkey's URL through this port: the proxy's, or Valkey's own."""
        return f"redis://:{self.valkey.password}@127.0.0.1:{port}/0"

    def start_postgres(self) -> None:
        self.postgres.start()
        self.ledger_proxy.upstream_port = self.postgres.port

    def _start_valkey(self) -> None:
        self.valkey.start()
        self.gate_proxy.upstream_port = self.valkey.port

    async def _enrol(self) -> str:
        engine = make_engine(self.database_url)
        async with connect(engine, within_s=10) as connection:
            context = ActContext(connection, "330402", "storm", datetime.now(UTC))
            await add_retailer(context, retailer_id="r1", uscc_number=uscc(1), name="风暴")
            await add_stores(context, "r1", [NewStore("S1", "店", None)])
            for name in ("appliances", "cars", "digital", "home", "ebike", "elderly"):
                budget = Allocation(name, BUDGET_FEN, "STORM", "storm")
                await allocate(connection, "330402", budget, context.now)
            key = await create_key(context, role="pos", retailer_id="r1", label="storm")
        await engine.dispose()
        return key.secret

    def _serve(self, stack: ExitStack) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
        log = stack.enter_context((self._folder / "service.log").open("ab"))
        user = f"butie:{self.postgres.password}"
        environment = {name: text for name, text in os.environ.items() if "BUTIE" not in name} | {
            "BUTIE_DATABASE_URL": f"postgresql://{user}@127.0.0.1:{self.ledger_proxy.port}/butie",
            "BUTIE_REDIS_URL": self.gate_url(self.gate_proxy.port),
            "BUTIE_PII_KEY": PII_KEY,
            "BUTIE_PORT": str(self.port),
            "BUTIE_WORKERS": str(WORKERS),
            "BUTIE_POOL_PARTS": str(SLICES),
            **self._settings,
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
        """Start a service after the first one has ended."""
        self._serve(self._stack)

    def sell_one(self, key: str, *, body: bytes | None = None) -> httpx.Response:
        """Send a claim whose serial number is `key`, or this body."""
        return httpx.post(
            f"http://127.0.0.1:{self.port}/v1/claims",
            content=body or json.dumps(checkout_of(key)).encode(),
            headers={"Authorization": f"Bearer {self.key}", "Idempotency-Key": key},
            timeout=30,
        )

    def sell_many(self, count: int) -> Callable[[], list[httpx.Response | None]]:
        """Send claims all at once. Call the result for their answers; None for no answer."""

        def sell(n: int) -> httpx.Response | None:
            try:
                return self.sell_one(f"many-{n}")
            except httpx.HTTPError:
                return None

        pool = ThreadPoolExecutor(count)
        answers = [pool.submit(sell, n) for n in range(count)]
        return lambda: [answer.result() for answer in answers]

    def connections(self) -> int:
        """The number of the service's connections to PostgreSQL."""

        async def count() -> int:
            connection = await asyncpg.connect(self.database_url)
            number = await connection.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'butie'"
            )
            await connection.close()
            return int(number)

        return asyncio.run(count())

    def connections_max(self) -> int:
        return WORKERS * (CLAIM_CONNECTIONS_MAX + ENGINE_CONNECTIONS)

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
            assert self.service.poll() is None, "the service has ended; its log says why"
            with suppress(OSError, HTTPException):
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=2).close()
                return
            time.sleep(0.1)
        raise TimeoutError("the service does not get ready")

    def workers(self) -> list[psutil.Process]:
        workers = []
        for process in psutil.Process(self.service.pid).children():
            with suppress(psutil.Error):  # it may be ending
                if "spawn_main" in " ".join(process.cmdline()):
                    workers.append(process)
        return workers

    def in_loop(self, work: object) -> object:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(QUIET_S)  # type: ignore[arg-type]

    # --- the faults ---------------------------------------------------------------------

    def strike(self, fault: Fault) -> None:
        """Cause the fault, and end it."""
        ways = {
            "worker killed": lambda: self._worker(fault, "kill"),
            "worker stopped": lambda: self._worker_stopped(fault),
            "worker restarted": lambda: self._worker(fault, "terminate"),
            "valkey restarted, kept": lambda: self.valkey_restarted("kept"),
            "valkey restarted, empty": lambda: self.valkey_restarted("none"),
            "valkey restarted, older": lambda: self.valkey_restarted("older"),
            "valkey stopped": lambda: self._while(fault, self.valkey.freeze),
            "postgres killed": lambda: self._postgres_restarted(self.postgres.kill),
            "postgres restarted": lambda: self._postgres_restarted(self.postgres.stop),
            "postgres stopped": lambda: self._while(fault, self.postgres.freeze),
            "both killed": self._both_killed,
        }
        for name, proxy in (("ledger", self.ledger_proxy), ("gate", self.gate_proxy)):
            ways |= {
                f"{name} cut": partial(self.calmly, proxy.cut),
                f"{name} stranded": partial(self.calmly, proxy.strand),
                f"{name} slow": partial(self._slow, fault, proxy),
                f"{name} swallowed": partial(self._while, fault, partial(_swallow, proxy)),
            }
        ways[fault.kind]()

    def _worker(self, fault: Fault, blow: str) -> None:
        if workers := self.workers():
            with suppress(psutil.NoSuchProcess):
                getattr(workers[int(fault.chance * len(workers))], blow)()

    def _worker_stopped(self, fault: Fault) -> None:
        if workers := self.workers():
            worker = workers[int(fault.chance * len(workers))]
            with suppress(psutil.NoSuchProcess):
                worker.suspend()
                time.sleep(fault.lasts_s)
                worker.resume()

    def valkey_restarted(self, data: str) -> None:
        self.valkey.restart(data=data)
        self.gate_proxy.upstream_port = self.valkey.port
        self.calmly(self.gate_proxy.cut)

    def _postgres_restarted(self, end: Callable[[], None]) -> None:
        end()
        self.start_postgres()
        self.calmly(self.ledger_proxy.cut)

    def _both_killed(self) -> None:
        self.postgres.kill()
        self.valkey_restarted("none")
        self.start_postgres()
        self.calmly(self.ledger_proxy.cut)

    def _slow(self, fault: Fault, proxy: Proxy) -> None:
        proxy.delay_s = 0.01 + 0.4 * fault.chance
        time.sleep(fault.lasts_s)
        proxy.delay_s = 0.0

    def _while(self, fault: Fault, hold: Callable[[bool], None]) -> None:
        hold(True)
        time.sleep(fault.lasts_s)
        hold(False)

    def calmly(self, act: Callable[[], None]) -> None:
        self.loop.call_soon_threadsafe(act)

    # --- the run ------------------------------------------------------------------------

    def run(self, faults: int, tell: Callable[[str], None] = lambda line: None) -> Report:
        """Sell while `faults` faults happen, then wait until the service is at rest and read the
        books. `tell` gets a line for each fault."""
        started = time.monotonic()
        selling = asyncio.run_coroutine_threadsafe(self._sell(), self.loop)
        for n, fault in enumerate(schedule(self._seed, faults)):
            if n % 10 == 0:
                self.valkey.keep_copy()
            tell(f"{n + 1:>5} {fault.kind}")
            self.strike(fault)
            self.faults[fault.kind] += 1
            time.sleep(fault.then_s)
        self._until_ready()
        self.loop.call_soon_threadsafe(self._enough.set)
        selling.result(QUIET_S)
        books = self._books_at_rest()
        self.history.strange += self.bugs()
        seconds = time.monotonic() - started
        return Report(self._seed, self.faults, self.history, books, self.audit(), seconds)

    async def _sell(self) -> None:
        self._enough = asyncio.Event()
        numbers = serials(self._seed)
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{self.port}",
            headers={"Authorization": f"Bearer {self.key}"},
            limits=httpx.Limits(max_connections=TILLS * 2),
        ) as client:
            tills = [Till(n, self._seed, self.history, client, numbers) for n in range(TILLS)]
            await asyncio.gather(*(till.work(self._enough) for till in tills))

    def _books_at_rest(self) -> Books:
        """The books once the gate equals the ledger, or after QUIET_S."""
        deadline = time.monotonic() + QUIET_S
        while True:
            books = asyncio.run(read_books(self.database_url, self.valkey.client))
            if not list(drift(books)) or time.monotonic() > deadline:
                return books
            time.sleep(0.5)

    def audit(self) -> str:
        """The output of `butie audit`; empty when every invariant holds."""
        environment = {**os.environ, "BUTIE_DATABASE_URL": self.database_url}
        environment["BUTIE_REDIS_URL"] = self.gate_url(self.valkey.port)
        answer = subprocess.run(
            [sys.executable, "-m", "service", "audit"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=QUIET_S,
        )
        return "" if answer.returncode == 0 else answer.stdout + answer.stderr

    def log(self) -> str:
        """The log of the service."""
        return (self._folder / "service.log").read_text()

    def bugs(self) -> list[str]:
        """The log lines in which the service reports a bug of its own."""
        log = self.log()
        events = ('"event": "bug"', '"event": "sweep_failed"')
        return [line for line in log.splitlines() if any(event in line for event in events)]


def _swallow(proxy: Proxy, yes: bool) -> None:
    proxy.swallows = yes
