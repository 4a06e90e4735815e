"""`butie serve` and `butie migrate`."""

import asyncio
import math
import os
import shutil
import signal
import socket
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from service import sandbox
from service.claims.people.digests import Digester
from service.claims.people.rotation import check_keys
from service.cli.faults import faults_reported
from service.config import Misconfigured, Settings, trace_exporter
from service.core.calendar import SHANGHAI
from service.db.engine import LedgerAway, make_engine, migrate
from service.db.role import grant_to_service
from service.embedded import engines
from service.ops.health import ledger_fault, schema_fault
from service.policies import read_book
from service.server.run import listening, run_server
from service.wiring import check_assumptions

console = Console(stderr=True, highlight=False)


def serve() -> None:
    """Serve the API. With no database and Redis given, start a sandbox with its own."""
    with faults_reported():
        settings = Settings()
        read_book(settings.jurisdiction, settings.policies_dir)  # before anything is started
        check_assumptions(settings)
        settings.personal_data_keys()
        trace_exporter(os.environ)
        with _stops_on_signals(), listening(settings) as listener:
            if settings.sandbox:
                with engines(settings.data_dir, on_restart=_say) as urls:
                    _serve_sandbox(
                        settings.model_copy(
                            update={
                                "database_url": urls.database_url,
                                "redis_url": urls.redis_url,
                            }
                        ),
                        listener,
                    )
            else:
                _check_production(settings)
                asyncio.run(_check_keys(settings))
                run_server(settings, listener)


def migrate_command(
    wait_s: Annotated[
        int,
        typer.Option(
            "--wait",
            min=0,
            help="Migrate nothing: wait up to this many seconds for another process to do it.",
        ),
    ] = 0,
) -> None:
    """Bring the database's schema to this release's version, and let BUTIE_SERVICE_ROLE use it."""
    with faults_reported():
        settings = Settings()
        if settings.database_url is None:
            raise Misconfigured("Set BUTIE_DATABASE_URL. The sandbox migrates by itself.")
        database_url = str(settings.database_url)
        if wait_s:
            asyncio.run(_wait_for_schema(database_url, wait_s))
            return
        migrate(database_url)
        if settings.service_role is not None:
            asyncio.run(grant_to_service(database_url, settings.service_role))


async def _wait_for_schema(database_url: str, wait_s: int) -> None:
    engine = make_engine(database_url, connections_max=1)
    deadline = time.monotonic() + wait_s
    try:
        while fault := await ledger_fault(engine):
            if time.monotonic() > deadline:
                raise LedgerAway(f"Waited {wait_s} s for the schema: {fault}")
            await asyncio.sleep(1)
    finally:
        await engine.dispose()


def _check_production(settings: Settings) -> None:
    if settings.database_url is None or settings.redis_url is None:
        raise Misconfigured(
            "Set both BUTIE_DATABASE_URL and BUTIE_REDIS_URL, or neither for a sandbox."
        )
    if settings.clock not in (None, "now"):
        raise Misconfigured("BUTIE_CLOCK is for the sandbox; here the clock is the real one.")
    asyncio.run(_check_schema(str(settings.database_url)))


async def _check_schema(database_url: str) -> None:
    """Raises Misconfigured if `butie migrate` has to run first. While PostgreSQL is away, the
    service starts and answers 503."""
    engine = make_engine(database_url, connections_max=1)
    try:
        fault = await schema_fault(engine)
    except LedgerAway as away:
        console.print(f"{away}: serving all the same, and not ready until it does.")
        return
    finally:
        await engine.dispose()
    if fault:
        raise Misconfigured(f"Not started: {fault}.")


async def _check_keys(settings: Settings) -> None:
    """Each worker checks them too, but here a fault is one sentence on the terminal."""
    engine = make_engine(str(settings.database_url), connections_max=1)
    digester = Digester(*settings.personal_data_keys(), rotating=settings.pii_rotating)
    await check_keys(engine, settings.jurisdiction, digester)
    await engine.dispose()


# --- the sandbox ------------------------------------------------------------------------


def _serve_sandbox(settings: Settings, listener: socket.socket) -> None:
    migrate(str(settings.database_url))
    offset = asyncio.run(_furnish(settings))
    settings = settings.model_copy(update={"sandbox_offset_s": math.ceil(offset.total_seconds())})
    now = (sandbox.real_now() + settings.clock_offset).astimezone(SHANGHAI)
    base_url = f"http://{settings.host}:{listener.getsockname()[1]}"
    keys = sandbox.write_address(settings.data_dir, base_url, now.isoformat(timespec="seconds"))
    threading.Thread(target=_welcome_when_up, args=(settings, base_url, keys), daemon=True).start()
    run_server(settings, listener)


async def _furnish(settings: Settings) -> timedelta:
    """Set the clock and enrol. Returns the business clock minus the real one."""
    engine = make_engine(str(settings.database_url))
    try:
        real_now = sandbox.real_now()
        clock = sandbox.decide_clock(
            settings.clock,
            sandbox.read_clock(settings.data_dir),
            await sandbox.newest_instant(engine),
            real_now,
        )
        sandbox.write_clock(settings.data_dir, clock)
        now = real_now + clock.offset
        book = read_book(settings.jurisdiction, settings.policies_dir)
        await sandbox.enrol(engine, book, settings.data_dir, now)
    finally:
        await engine.dispose()
    return clock.offset


def _welcome_when_up(settings: Settings, base_url: str, keys: dict[str, str]) -> None:
    for _ in range(100):
        try:
            with urllib.request.urlopen(f"{base_url}/healthz", timeout=1):  # noqa: S310
                break
        except OSError:
            time.sleep(0.1)
    else:
        return  # it did not come up, and the server has printed why
    console.print(_welcome(settings, base_url, keys["pos"]), soft_wrap=True)


def _welcome(settings: Settings, base_url: str, key: str) -> str:
    now = (sandbox.real_now() + settings.clock_offset).astimezone(SHANGHAI)
    policy = read_book(settings.jurisdiction, settings.policies_dir).on(now.date())
    stamp = now.strftime("%H%M%S")
    curl = f"""curl -s {base_url}/v1/claims \\
  -H 'Authorization: Bearer {key}' \\
  -H 'Idempotency-Key: hello-{stamp}' \\
  -H 'Content-Type: application/json' \\
  -d '{{"store_id": "{sandbox.STORE_ID}", "order_no": "POS-{stamp}",
       "sold_at": "{now.isoformat(timespec="seconds")}",
       "consumer": {{"id_type": "passport", "id_number": "E{stamp}00"}},
       "items": [{{"line_no": 1, "category": "air_conditioner", "price_fen": 599900,
                  "energy_grade": "1", "serial_no": "AC{stamp}"}}]}}'"""
    return f"""
[bold]Butie 补贴[/bold] is up: {base_url}

  A claim, granted when you paste it:

{escape(curl)}

  API        {base_url}/docs
  board      {base_url}/board
  policy     {policy.id if policy else "none in force today"}
  its rates  `{_butie()} policy show --on {now.date()}`
  clock      {now.isoformat(timespec="seconds")}: the sandbox's, not the real one
  data       {settings.data_dir} (all keys are in {settings.data_dir / "sandbox.json"})

  Ctrl-C stops everything.
"""


def _say(sentence: str) -> None:
    console.print(escape(sentence), soft_wrap=True)


def _butie() -> str:
    """The command as a path that works in this shell."""
    in_our_venv = Path(sys.executable).with_name("butie")
    return "butie" if shutil.which("butie") else os.path.relpath(in_our_venv)


@contextmanager
def _stops_on_signals() -> Iterator[None]:
    """A SIGTERM or a closed terminal becomes a KeyboardInterrupt, as Ctrl-C is."""

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    try:
        yield
    except KeyboardInterrupt:
        console.print("Stopped.")
