"""`butie serve`. What it loads stays in memory, so it uses neither Typer nor Rich."""

import asyncio
import importlib
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from service import sandbox
from service.claims.people.digests import Digester
from service.claims.people.rotation import check_keys
from service.cli.faults import faults_reported
from service.config import Misconfigured, Settings, trace_exporter
from service.core.calendar import SHANGHAI
from service.db.engine import LedgerAway, make_engine
from service.embedded import engines
from service.ops.health import released_revision, revision, schema_fault
from service.policies import read_book
from service.server.run import listening, run_server
from service.wiring import check_assumptions


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
        _say(f"{away}: serving all the same, and not ready until it does.")
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
    _migrate(settings)
    offset = asyncio.run(_furnish(settings))
    settings = settings.model_copy(update={"sandbox_offset_s": math.ceil(offset.total_seconds())})
    now = (sandbox.real_now() + settings.clock_offset).astimezone(SHANGHAI)
    base_url = f"http://{settings.host}:{listener.getsockname()[1]}"
    keys = sandbox.write_address(settings.data_dir, base_url, now.isoformat(timespec="seconds"))
    threading.Thread(target=_welcome_when_up, args=(settings, base_url, keys), daemon=True).start()
    run_server(settings, listener)


def _migrate(settings: Settings) -> None:
    """Bring the schema to this release's, in a process of its own: Alembic would stay in this one's
    memory. Nothing is started when nothing is to be done. Raises Misconfigured."""
    database_url = str(settings.database_url)
    if asyncio.run(_revision(database_url)) == released_revision():
        return
    migrating = subprocess.Popen(
        [sys.executable, "-m", "service.db.upgrade"],
        env=os.environ | {"BUTIE_DATABASE_URL": database_url},
        stderr=subprocess.PIPE,
        text=True,
    )
    with migrating:
        try:
            if settings.workers == 1:  # meanwhile, what this process needs next
                importlib.import_module("service.api.app")
            _, printed = migrating.communicate()
        except BaseException:
            migrating.kill()
            raise
    if migrating.returncode:
        raise Misconfigured(printed.strip())


async def _revision(database_url: str) -> str | None:
    engine = make_engine(database_url, connections_max=1)
    try:
        return await revision(engine)
    finally:
        await engine.dispose()


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
    _say(_welcome(settings, base_url, keys["pos"]))


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
{_bold("Butie 补贴")} is up: {base_url}

  A claim, granted when you paste it:

{curl}

  API        {base_url}/docs
  board      {base_url}/board
  policy     {policy.id if policy else "none in force today"}
  its rates  `{_butie()} policy show --on {now.date()}`
  clock      {now.isoformat(timespec="seconds")}: the sandbox's, not the real one
  data       {settings.data_dir} (all keys are in {settings.data_dir / "sandbox.json"})

  Ctrl-C stops everything.
"""


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def _bold(text: str) -> str:
    return f"\033[1m{text}\033[0m" if sys.stderr.isatty() else text


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
        _say("Stopped.")
