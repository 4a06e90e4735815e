"""A connection that cannot be used in time is cut, counts as away, and is replaced."""

import asyncio
import time
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
import sqlalchemy as sa
import trustme

from service.db.engine import LedgerAway, NeverSent, connect, driver, make_engine
from tests.conftest import House
from tests.doctor.tls import front
from tests.faults.proxy import proxied

pytestmark = pytest.mark.anyio


async def test_a_statement_that_takes_too_long_counts_as_away(house: House) -> None:
    engine = make_engine(str(house.settings.database_url), connections_max=1)
    for _ in range(3):
        with pytest.raises(LedgerAway):
            async with connect(engine, within_s=0.2) as connection:
                await connection.execute(sa.text("SELECT pg_sleep(5)"))
        with pytest.raises(LedgerAway):
            async with driver(engine, within_s=0.2) as raw:
                await raw.execute("SELECT pg_sleep(5)")
    async with connect(engine, within_s=5) as connection:
        assert await connection.scalar(sa.text("SELECT 1")) == 1
    await engine.dispose()


async def test_a_connection_without_answers_is_aborted_not_closed(house: House) -> None:
    """The caller gets its error in time. An orderly close by the driver would take 2 s."""
    async with proxied(str(house.settings.database_url)) as (proxy, url):
        engine = make_engine(url, connections_max=1)
        async with connect(engine, within_s=10):
            pass
        proxy.swallows = True
        started = time.monotonic()
        with pytest.raises(LedgerAway):
            async with connect(engine, within_s=0.1):
                pass
        assert time.monotonic() - started < 1.5
        proxy.swallows = False
        await engine.dispose()


async def test_dead_connections_are_not_handed_out(house: House) -> None:
    """After a restart of the server every pooled connection is dead."""
    engine = make_engine(str(house.settings.database_url), connections_max=3, pre_ping=False)
    async with AsyncExitStack() as stack:
        raws = [await stack.enter_async_context(driver(engine)) for _ in range(3)]
        pids = [await raw.fetchval("SELECT pg_backend_pid()") for raw in raws]
    await house.sql("SELECT pg_terminate_backend(pid) FROM unnest($1::int[]) AS pid", pids)
    await asyncio.sleep(0.2)  # until the client has noticed
    for _ in range(5):
        async with driver(engine) as raw:
            assert await raw.fetchval("SELECT pg_backend_pid()") not in pids
    await engine.dispose()


async def test_after_a_failover_no_older_connection_is_used_again(house: House) -> None:
    """Older connections look alive and get no answer. Once one has failed, none of them is used."""
    async with proxied(str(house.settings.database_url)) as (proxy, url):
        engine = make_engine(url, connections_max=5, pre_ping=False)
        async with AsyncExitStack() as stack:
            for _ in range(5):
                await stack.enter_async_context(driver(engine, within_s=10))
        proxy.strand()
        with pytest.raises(LedgerAway):
            async with driver(engine, within_s=1) as raw:
                await raw.fetchval("SELECT 1")
        async with AsyncExitStack() as stack:
            for _ in range(5):
                raw = await stack.enter_async_context(driver(engine, within_s=10))
                assert await raw.fetchval("SELECT 1") == 1
        await engine.dispose()


async def test_without_a_server_nothing_was_sent() -> None:
    engine = make_engine("postgresql://x:y@127.0.0.1:1/z")
    with pytest.raises(NeverSent):
        async with driver(engine):
            pass
    with pytest.raises(LedgerAway):
        async with connect(engine):
            pass
    await engine.dispose()


async def test_a_read_only_standby_counts_as_away(house: House) -> None:
    async def write(connection: sa.ext.asyncio.AsyncConnection) -> None:
        await connection.execute(sa.text("SET TRANSACTION READ ONLY"))
        await connection.execute(sa.text("UPDATE pool SET version = version + 1"))

    with pytest.raises(LedgerAway):
        async with connect(house.service.engine) as connection:
            await write(connection)


async def test_the_tls_options_of_a_url_are_used(house: House, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    plain = urlsplit(str(house.settings.database_url))
    with front(plain.port or 0, authority.issue_cert("127.0.0.1"), on_request=True) as port:
        at = plain.netloc.replace(f":{plain.port}", f":{port}")
        for root, fits in (("ca.pem", True), ("other.pem", False)):
            query = f"sslmode=verify-full&sslrootcert={tmp_path / root}"
            engine = make_engine(urlunsplit(plain._replace(netloc=at, query=query)))
            if fits:
                async with connect(engine, within_s=20) as connection:
                    assert await connection.scalar(sa.text("SELECT 1")) == 1
            else:
                with pytest.raises(LedgerAway):
                    async with connect(engine, within_s=20):
                        pass
            await engine.dispose()
