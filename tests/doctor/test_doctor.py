"""`butie doctor` on real engines, with each fault made."""

import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
import trustme
from typer.testing import CliRunner

from service.cli import app
from service.doctor.clock import judge
from service.doctor.gate import judge as judge_gate
from tests.doctor.conftest import Installation
from tests.doctor.tls import front


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def test_a_sound_installation_has_no_fault(installation: Installation) -> None:
    told = installation.doctor()
    assert told.exit_code == 0, told.output
    for check in ("settings", "secrets", "policies", "certificates", "postgresql", "durability"):
        assert check in told.output
    for check in ("clock", "migrations", "redis"):
        assert check in told.output
    assert "fault" not in told.output
    assert "unknown" not in told.output


# --- PostgreSQL -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["fsync", "full_page_writes", "synchronous_commit", "autovacuum"])
def test_a_ledger_that_may_lose_what_it_kept_is_told(installation: Installation, name: str) -> None:
    try:
        installation.sql(f"ALTER SYSTEM SET {name} = off", "SELECT pg_reload_conf()")
        told = installation.doctor()
    finally:
        installation.sql(f"ALTER SYSTEM RESET {name}", "SELECT pg_reload_conf()")
    assert told.exit_code == 1, told.output
    assert f"{name} is off" in told.output
    assert f"ALTER SYSTEM RESET {name}" in told.output


def test_a_setting_of_the_database_alone_is_found(installation: Installation) -> None:
    try:
        installation.sql("ALTER DATABASE butie SET synchronous_commit = off")
        assert "synchronous_commit is off" in installation.doctor().output
    finally:
        installation.sql("ALTER DATABASE butie RESET ALL")


def test_too_few_connections_are_told(installation: Installation) -> None:
    told = installation.doctor(BUTIE_WORKERS="64")
    assert told.exit_code == 1
    assert "raise max_connections" in told.output


def test_an_older_schema_a_newer_one_and_none_are_told(installation: Installation) -> None:
    head = installation.sql("SELECT version_num FROM alembic_version")
    try:
        installation.sql("UPDATE alembic_version SET version_num = '0001'")
        told = installation.doctor()
        assert (told.exit_code, "butie migrate" in told.output) == (1, True)
        installation.sql("UPDATE alembic_version SET version_num = '9999'")
        told = installation.doctor()
        assert (told.exit_code, "newer than this release" in told.output) == (0, True)
        installation.sql("ALTER TABLE alembic_version RENAME TO hidden")
        told = installation.doctor()
        assert (told.exit_code, "the ledger is empty" in told.output) == (1, True)
        assert "None" not in told.output
    finally:
        installation.sql("ALTER TABLE IF EXISTS hidden RENAME TO alembic_version")
        installation.sql(f"UPDATE alembic_version SET version_num = '{head}'")


def test_an_index_that_was_broken_off_is_told(installation: Installation) -> None:
    try:
        installation.sql(
            "CREATE INDEX half_idx ON claim (order_no)",
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'half_idx'::regclass",
        )
        told = installation.doctor()
    finally:
        installation.sql("DROP INDEX half_idx")
    assert (told.exit_code, "half_idx" in told.output) == (1, True)


def test_a_log_that_is_streamed_to_a_backup_counts_as_archived(
    installation: Installation, tmp_path: Path
) -> None:
    assert "no WAL is archived" in installation.doctor().output
    with installation.log_streamed(tmp_path):
        told = installation.doctor()
    assert told.exit_code == 0, told.output
    assert "no WAL is archived" not in told.output
    assert "streamed from slot kept" in told.output


MOMENT = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("apart_s", "level"), [(0, "ok"), (1, "ok"), (10, "warning"), (-10, "warning"), (-60, "fault")]
)
def test_clocks_that_are_apart_are_told(apart_s: int, level: str) -> None:
    theirs = MOMENT + timedelta(seconds=apart_s)
    assert judge(MOMENT, theirs, MOMENT).level == level


def test_a_slow_answer_is_no_skew() -> None:
    assert judge(MOMENT, MOMENT + timedelta(minutes=1), MOMENT + timedelta(minutes=2)).level == "ok"


# --- Redis ------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
def test_a_gate_that_may_forget_is_told(installation: Installation, policy: str) -> None:
    try:
        installation.valkey.client.config_set("maxmemory-policy", policy)
        told = installation.doctor()
    finally:
        installation.valkey.client.config_set("maxmemory-policy", "noeviction")
    assert (told.exit_code, f"maxmemory-policy is {policy}" in told.output) == (1, True)


def test_a_replica_is_told(installation: Installation) -> None:
    try:
        installation.valkey.client.replicaof("127.0.0.1", closed_port())
        told = installation.doctor()
    finally:
        installation.valkey.client.replicaof("NO", "ONE")
    assert (told.exit_code, "this is a replica" in told.output) == (1, True)


@pytest.mark.parametrize("user", ["", "default"])
def test_a_password_that_protects_nothing_is_told(installation: Installation, user: str) -> None:
    url = f"redis://{user}:hush@127.0.0.1:{installation.valkey.port}/0"
    told = installation.doctor(BUTIE_REDIS_URL=url)
    assert told.exit_code == 0, told.output
    assert "without the password" in told.output and "requirepass" in told.output
    assert "hush" not in told.output


def test_a_password_that_is_asked_for_protects(installation: Installation) -> None:
    try:
        installation.valkey.client.config_set("requirepass", "hush")
        url = f"redis://:hush@127.0.0.1:{installation.valkey.port}/0"
        told = installation.doctor(BUTIE_REDIS_URL=url)
    finally:
        redis.Redis(port=installation.valkey.port, password="hush").config_set("requirepass", "")
    assert told.exit_code == 0, told.output
    assert "without the password" not in told.output


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        ({"redis_version": "6.2.1"}, "Redis 6.2.1"),
        ({"rdb_last_bgsave_status": "err"}, "snapshot could not be written"),
        ({"aof_last_write_status": "err"}, "log could not be written"),
        ({"maxmemory": 100, "used_memory": 90}, "four fifths"),
    ],
)
def test_what_a_server_says_of_itself_is_judged(told: dict[str, Any], sentence: str) -> None:
    sound = {"redis_version": "7.2.4", "role": "master", "maxmemory_policy": "noeviction"}
    assert any(sentence in one.said for one in judge_gate(sound | told) if one.level != "ok")


# --- engines that are away --------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "url", "sentence"),
    [
        ("DATABASE", "postgresql://butie:hush@127.0.0.1:{port}/butie", "PostgreSQL cannot"),
        ("DATABASE", "postgresql://butie:hush@no.such.host.invalid/butie", "PostgreSQL cannot"),
        ("REDIS", "redis://:hush@127.0.0.1:{port}/0", "Redis cannot be used"),
    ],
)
def test_an_engine_that_is_away_is_told_and_the_rest_looked_at(
    installation: Installation, name: str, url: str, sentence: str
) -> None:
    url = url.format(port=closed_port())
    told = installation.doctor(**{f"BUTIE_{name}_URL": url})
    assert told.exit_code == 1
    assert sentence in told.output
    assert "could not be looked at" in told.output
    assert "is in force on" in told.output
    assert "Traceback" not in told.output and "hush" not in told.output


def test_a_wrong_password_is_told_in_a_sentence(installation: Installation) -> None:
    url = f"postgresql://butie:wrong@127.0.0.1:{installation.postgres.port}/butie"
    told = installation.doctor(BUTIE_DATABASE_URL=url)
    assert (told.exit_code, "password authentication failed" in told.output) == (1, True)


def test_a_database_that_is_not_there_is_named(installation: Installation) -> None:
    told = installation.doctor(BUTIE_DATABASE_URL=f"{installation.database_url}x")
    assert told.exit_code == 1
    assert "make the database butiex" in told.output


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("DATABASE", "sslmode=verify-full&sslrootcert={}"), ("REDIS", "ssl_ca_certs={}")],
)
def test_a_certificate_file_that_is_not_there_is_named(
    installation: Installation, name: str, parameters: str
) -> None:
    url = {
        "DATABASE": installation.database_url,
        "REDIS": f"rediss://127.0.0.1:{installation.valkey.port}/0",
    }[name]
    url = f"{url}?{parameters.format('/nowhere/root.crt')}"
    told = installation.doctor(**{f"BUTIE_{name}_URL": url})
    assert told.exit_code == 1
    assert "/nowhere/root.crt is not there" in told.output


@pytest.mark.parametrize("url", ["localhost/butie", "mysql://u:hush@h/butie", "postgresql://", ""])
def test_a_url_that_is_none_is_told_what_one_looks_like(
    installation: Installation, url: str
) -> None:
    told = installation.doctor(BUTIE_DATABASE_URL=url)
    assert told.exit_code == 1
    assert "BUTIE_DATABASE_URL is no URL" in told.output
    assert "postgresql://USER:PASSWORD@HOST:5432/DATABASE" in told.output
    assert "hush" not in told.output and "asyncpg" not in told.output
    told = installation.doctor(BUTIE_REDIS_URL="http://h")
    assert "redis://:PASSWORD@HOST:6379/0" in told.output


# --- certificates -----------------------------------------------------------------------


def leaf(days: int) -> trustme.LeafCert:
    until = datetime.now(UTC) + timedelta(days=days)
    return trustme.CA().issue_cert("127.0.0.1", not_after=until)


@pytest.mark.parametrize(
    ("days", "exit_code", "sentence"),
    [
        (-1, 1, "certificate at 127.0.0.1: certificate has expired"),
        (10, 0, "holds for 9 days"),
        (400, 0, "holds for 399 days"),
    ],
)
def test_a_certificate_of_the_ledgers_is_judged_by_its_date(
    installation: Installation, days: int, exit_code: int, sentence: str
) -> None:
    with front(installation.postgres.port, leaf(days), on_request=True) as port:
        url = installation.database_url.replace(f":{installation.postgres.port}/", f":{port}/")
        told = installation.doctor(BUTIE_DATABASE_URL=f"{url}?sslmode=require")
    assert sentence in told.output, told.output
    assert told.exit_code == exit_code


def test_a_certificate_of_the_gates_is_judged_by_its_date(installation: Installation) -> None:
    with front(installation.valkey.port, leaf(-1), on_request=False) as port:
        url = f"rediss://127.0.0.1:{port}/0?ssl_cert_reqs=none"
        told = installation.doctor(BUTIE_REDIS_URL=url)
    assert "Redis's certificate at 127.0.0.1: certificate has expired" in told.output, told.output
    assert told.exit_code == 1


# --- settings, secrets, policies --------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"BUTIE_REDIS_URL": None}, "BUTIE_REDIS_URL is not set"),
        ({"BUTIE_CLOCK": "2025-06-18T10:00:00+08:00"}, "BUTIE_CLOCK sets the clock"),
        ({"BUTIE_PII_KEY": None}, "Set BUTIE_PII_KEY"),
        ({"BUTIE_PII_KEY": "a" * 40}, "easily guessed"),
        ({"BUTIE_POLICIES_DIR": "/nowhere"}, "/nowhere cannot be read"),
        ({"BUTIE_JURISDICTION": "330411"}, "330411"),
        ({"BUTIE_REFUSE_ASSUMED": "1"}, "assumed values are not confirmed"),
        ({"BUTIE_WORKERS": "many"}, "BUTIE_WORKERS"),
    ],
)
def test_a_setting_that_does_not_go_is_told(
    installation: Installation, settings: dict[str, str], sentence: str
) -> None:
    told = installation.doctor(**settings)
    assert told.exit_code == 1, told.output
    assert sentence in told.output


def test_secrets_that_others_may_read_are_told(installation: Installation, tmp_path: Path) -> None:
    key = tmp_path / "client.key"
    key.write_text("secret")
    url = f"{installation.database_url}?passfile={key}"
    for mode, exit_code in ((0o644, 1), (0o600, 0)):
        key.chmod(mode)
        told = installation.doctor(BUTIE_DATABASE_URL=url)
        assert told.exit_code == exit_code, told.output
        assert ("chmod 600" in told.output) == bool(exit_code)


def test_without_an_installation_the_sandbox_is_looked_for(tmp_path: Path) -> None:
    told = CliRunner().invoke(app, ["doctor"], env={"BUTIE_DATA_DIR": str(tmp_path)})
    assert told.exit_code == 1
    assert "PostgreSQL cannot be used" in told.output
