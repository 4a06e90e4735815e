"""Real engines for every test: one PostgreSQL and one Valkey a test process, a fresh database
cloned from a furnished template for each test."""

import asyncio
import gc
import json
import os
import shutil
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
import redis as sync_redis

from service import sandbox
from service.api.app import make_app
from service.background import Loop
from service.config import Settings
from service.core.calendar import SHANGHAI
from service.db import engine as db_engine
from service.db.acts import ActContext
from service.db.engine import connect, driver, make_engine, migrate
from service.embedded import Engines, engines
from service.policies import read_book
from service.retailers.enrol import NewStore, add_retailer, add_stores
from service.retailers.issue import create_key
from service.wiring import Service
from tests.builders import checkout_json

NOW = datetime(2025, 6, 18, 10, 20, tzinfo=SHANGHAI)

OTHER_USCC = "91330402MA00000G1C"

# A connection that breaks while the driver negotiates TLS leaves a failed future behind, and the
# next test fails for it. The engines here have no TLS.
os.environ.setdefault("PGSSLMODE", "disable")

# On a slow machine a 503 is no fault. Tests of an engine that is away use production's timeouts
# (`hurried`).
HURRIED_S = db_engine.CONNECT_S, db_engine.ANSWER_S
db_engine.CONNECT_S = db_engine.ANSWER_S = 10


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


# A database has some 300 files, and the tests create hundreds of databases.
MEMORY = Path("/dev/shm")
MEMORY_BYTES_MIN = 8 * 2**30


def pytest_configure(config: pytest.Config) -> None:
    """Keep the tests' files in memory if there is enough. Those of long tests may be larger."""
    if config.option.markexpr != "not long" or not MEMORY.is_dir():
        return
    mount = os.statvfs(MEMORY)
    roomy = mount.f_bavail * mount.f_frsize >= MEMORY_BYTES_MIN
    if roomy and not mount.f_flag & os.ST_NOEXEC:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


# The files that take longest come first, so that no worker ends alone with one of them.
LONGEST = (
    "serve/test_restarts.py",
    "serve/test_serve.py",
    "finance/test_example.py",
    "api/test_schema.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not item.path.as_posix().endswith(LONGEST))


def pytest_collection_finish() -> None:
    """Exempt what is loaded by now from garbage collection, which takes a tenth of the time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def engine_urls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engines]:
    folder = tmp_path_factory.mktemp("engines")
    with engines(folder) as urls:
        migrate(urls.database_url)
        yield urls
    shutil.rmtree(folder)


@dataclass(frozen=True)
class Furnished:
    """A template database with the sandbox's retailer, a second one, and the file of their keys."""

    database: str
    keys: Path


@pytest.fixture(scope="session")
def furnished(engine_urls: Engines, tmp_path_factory: pytest.TempPathFactory) -> Furnished:
    folder = tmp_path_factory.mktemp("furnished")
    server = server_of(engine_urls)

    async def furnish() -> None:
        admin = await asyncpg.connect(f"{server}/postgres")
        await admin.execute("CREATE DATABASE furnished TEMPLATE butie")
        await admin.close()
        await _furnish(Settings(database_url=f"{server}/furnished"), folder)

    asyncio.run(furnish())
    return Furnished("furnished", folder / "sandbox.json")


class Clones:
    """Makes and drops the tests' databases, in a thread that keeps one connection for it.

    The next clone of the furnished template is made while a test runs on the last one. The other
    templates have tests that connect to them, and a template that is in use cannot be cloned.
    """

    def __init__(self, engine_urls: Engines, ahead_of: str) -> None:
        self.server = server_of(engine_urls)
        self.gate = sync_redis.from_url(engine_urls.redis_url)
        self._ahead_of = ahead_of
        self._loop = asyncio.new_event_loop()
        self._thread = ThreadPoolExecutor(1, "clones")
        self._admin = self._thread.submit(self._run, asyncpg.connect(f"{self.server}/postgres"))
        self._ahead: Future[str] | None = None
        self._dropped: list[Future[Any]] = []

    def take(self, template: str) -> "Future[str]":
        """The name of a database that is this caller's own until it calls `drop`."""
        if template != self._ahead_of:
            return self._thread.submit(self._make, template)
        taken = self._ahead or self._thread.submit(self._make, template)
        self._ahead = self._thread.submit(self._make, template)
        return taken

    def drop(self, name: str) -> None:
        """Returns at once. `close` raises if it fails."""
        self._dropped.append(
            self._thread.submit(self._execute, f"DROP DATABASE {name} WITH (FORCE)")
        )

    def close(self) -> None:
        if self._ahead is not None:
            self.drop(self._ahead.result())
        self._thread.submit(lambda: self._run(self._admin.result().close())).result()
        self._thread.shutdown()
        self._loop.close()
        self.gate.close()
        for dropped in self._dropped:
            dropped.result()

    def _make(self, template: str) -> str:
        name = f"test_{os.urandom(6).hex()}"
        self._execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def _execute(self, statement: str) -> None:
        self._run(self._admin.result().execute(statement))

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self._loop.run_until_complete(work)


@pytest.fixture(scope="session")
def clones(engine_urls: Engines, furnished: Furnished) -> Iterator[Clones]:
    clones = Clones(engine_urls, furnished.database)
    yield clones
    clones.close()


@pytest.fixture
async def database_url(
    clones: Clones, furnished: Furnished, tmp_path: Path, anyio_backend: str
) -> AsyncIterator[str]:
    """A furnished database of this test's own; its keys are in the test's folder, and the gate
    is empty."""
    shutil.copy(furnished.keys, tmp_path)
    async with cloned(clones, furnished.database) as url:
        yield url


@pytest.fixture
async def empty_database_url(clones: Clones, anyio_backend: str) -> AsyncIterator[str]:
    """A migrated database with nothing in it; the gate is empty."""
    async with cloned(clones, "butie") as url:
        yield url


def server_of(engine_urls: Engines) -> str:
    return engine_urls.database_url.rsplit("/", 1)[0]


@asynccontextmanager
async def cloned(clones: Clones, template: str) -> AsyncIterator[str]:
    """The URL of a new database; the gate is empty."""
    name = await asyncio.wrap_future(clones.take(template))
    clones.gate.flushall()
    yield f"{clones.server}/{name}"
    clones.drop(name)


@dataclass
class House:
    """A running service, in this process, and the keys to it."""

    settings: Settings
    folder: Path
    stack: AsyncExitStack
    keys: dict[str, str] = field(default_factory=dict)
    service: Service = None  # type: ignore[assignment]
    app: Any = None

    def client(self, role: str = "pos", app: Any = None) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(app or self.app, raise_app_exceptions=False),
            base_url="http://test",
            headers={"Authorization": f"Bearer {self.keys[role]}"},
        )

    async def open_worker(self, **settings: Any) -> Any:
        """Another worker on the same engines; returns its app."""
        app = make_app(self.settings.model_copy(update=settings))
        await self.stack.enter_async_context(app.router.lifespan_context(app))
        return app

    async def claim(
        self, key: str, *, role: str = "pos", app: Any = None, **overrides: Any
    ) -> httpx.Response:
        async with self.client(role, app) as client:
            return await client.post(
                "/v1/claims", json=checkout_json(**overrides), headers={"Idempotency-Key": key}
            )

    async def sql(self, query: str, *args: Any) -> list[Any]:
        async with driver(self.service.engine) as connection:
            return await connection.fetch(query, *args)

    async def slow_sql(self, statement: str, *args: Any) -> list[Any]:
        """A statement that may take minutes."""
        connection = await asyncpg.connect(
            str(self.settings.database_url), server_settings={"statement_timeout": "0"}
        )
        rows = await connection.fetch(statement, *args)
        await connection.close()
        return list(rows)

    async def set_budget(self, pool: str, fen: int) -> None:
        """Set a pool's budget, in the ledger and in the gate."""
        await self.sql(
            "UPDATE pool SET allocated_fen = $2, version = version + 1 WHERE pool = $1", pool, fen
        )
        await self.service.claims.sweeper.run_once()

    async def quiet(self) -> None:
        """Wait until everything is answered and settled with the gate."""
        await self.service.claims.path.drain()
        await self.service.claims.background.drain()

    def gate_left(self, pool: str = "appliances") -> int:
        """What the pool has left by the gate, in fen."""
        gate = sync_redis.from_url(str(self.settings.redis_url))
        view = gate.hgetall(f"butie:{{330402}}:pool:{pool}")
        return int(view[b"allocated"]) - int(view[b"spent"]) - int(view.get(b"flying", 0))

    async def footprint(self) -> list[int]:
        """How many rows and gate keys a claim could have left behind."""
        gate = sync_redis.from_url(str(self.settings.redis_url))
        keys = [key for key in gate.scan_iter() if b":pool:" not in key]
        return [await self.footprint_rows(), len(keys)]

    async def footprint_rows(self) -> int:
        tables = ("claim", "claim_line", "serial_claimed", "quota_use", "idempotency_key")
        counts = [await self.sql(f"SELECT count(*) FROM {table}") for table in tables]
        return sum(count[0][0] for count in counts)


@asynccontextmanager
async def open_house(
    database_url: str, redis_url: str, folder: Path, **settings: Any
) -> AsyncIterator[House]:
    """A service on a furnished database, whose keys are in `folder`."""
    offset = NOW - sandbox.real_now()
    resolved = Settings(
        database_url=database_url,
        redis_url=redis_url,
        sandbox_offset_s=int(offset.total_seconds()),
        log_level="error",
        # As with the connections to the ledger, above.
        **{"answer_within_ms": 30_000, **settings},
    )
    async with AsyncExitStack() as stack:
        house = House(resolved, folder, stack)
        house.keys = json.loads((folder / "sandbox.json").read_text())["keys"]
        house.app = await house.open_worker()
        house.service = house.app.state.service
        try:
            await house.service.claims.sweeper.run_once()
        except Exception:  # a test without a gate
            pass
        yield house


async def _furnish(settings: Settings, folder: Path) -> None:
    """Enrol the sandbox's retailer, and a second one with a store and a key."""
    engine = make_engine(str(settings.database_url))
    book = read_book(settings.jurisdiction, settings.policies_dir)
    await sandbox.enrol(engine, book, folder, NOW)
    async with connect(engine, within_s=20) as connection:
        context = ActContext(connection, settings.jurisdiction, "test", NOW)
        await add_retailer(context, retailer_id="other", uscc_number=OTHER_USCC, name="他店")
        for store_id, owner in (("OT0001", "other"), ("NH0002", sandbox.RETAILER_ID)):
            await add_stores(context, owner, [NewStore(store_id, "店", None)])
        key = await create_key(context, role="pos", retailer_id="other", label="other")
    await engine.dispose()
    path = folder / "sandbox.json"
    known = json.loads(path.read_text())
    known["keys"]["other"] = key.secret
    path.write_text(json.dumps(known))


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Production's timeouts for an engine that does not answer."""
    monkeypatch.setattr(db_engine, "CONNECT_S", HURRIED_S[0])
    monkeypatch.setattr(db_engine, "ANSWER_S", HURRIED_S[1])


@pytest.fixture
def sweeper_at_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker that opens afterwards sweeps by itself: the test says when."""
    start = Loop.start

    def start_others(loop: Loop) -> None:
        if loop.name != "sweep":
            start(loop)

    monkeypatch.setattr(Loop, "start", start_others)


@pytest.fixture
async def house(database_url: str, engine_urls: Engines, tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(database_url, engine_urls.redis_url, tmp_path) as opened:
        yield opened


@pytest.fixture
async def gateless_house(database_url: str, tmp_path: Path) -> AsyncIterator[House]:
    """A service whose Redis does not answer: the ledger decides alone."""
    async with open_house(database_url, "redis://127.0.0.1:1/0", tmp_path) as opened:
        yield opened


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[Any]:
    """With BUTIE_TEST_NO_SKIPS a skipped test counts as failed."""
    report = yield
    if report.skipped and os.environ.get("BUTIE_TEST_NO_SKIPS") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
    return report
