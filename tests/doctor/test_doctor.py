"""`butie doctor` on real engines, with each fault made."""

import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
import trustme
from typer.testing import CliRunner

from service.cli.commands import app
from service.doctor.clock import judge
from service.doctor.gate import judge as judge_gate
from tests.doctor.conftest import Installation
from tests.doctor.tls import front


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def test_a_sound_installation_has_no_fault(installation: Installation) -> None:
    result = installation.doctor()
    assert result.exit_code == 0, result.output
    for check in ("settings", "secrets", "policies", "certificates", "postgresql", "durability"):
        assert check in result.output
    for check in ("clock", "migrations", "redis"):
        assert check in result.output
    assert "fault" not in result.output
    assert "unknown" not in result.output


# --- PostgreSQL -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["fsync", "full_page_writes", "synchronous_commit", "autovacuum"])
def test_a_ledger_that_may_lose_commits_is_reported(installation: Installation, name: str) -> None:
    try:
        installation.sql(f"ALTER SYSTEM SET {name} = off", "SELECT pg_reload_conf()")
        result = installation.doctor()
    finally:
        installation.sql(f"ALTER SYSTEM RESET {name}", "SELECT pg_reload_conf()")
    assert result.exit_code == 1, result.output
    assert f"{name} is off" in result.output
    assert f"ALTER SYSTEM RESET {name}" in result.output


def test_a_setting_of_the_database_alone_is_found(installation: Installation) -> None:
    try:
        installation.sql("ALTER DATABASE butie SET synchronous_commit = off")
        assert "synchronous_commit is off" in installation.doctor().output
    finally:
        installation.sql("ALTER DATABASE butie RESET ALL")


def test_too_few_connections_are_reported(installation: Installation) -> None:
    result = installation.doctor(BUTIE_WORKERS="64")
    assert result.exit_code == 1
    assert "raise max_connections" in result.output


def test_an_older_schema_a_newer_one_and_none_are_reported(installation: Installation) -> None:
    head = installation.sql("SELECT version_num FROM alembic_version")
    try:
        installation.sql("UPDATE alembic_version SET version_num = '0001'")
        result = installation.doctor()
        assert (result.exit_code, "butie migrate" in result.output) == (1, True)
        installation.sql("UPDATE alembic_version SET version_num = '9999'")
        result = installation.doctor()
        assert (result.exit_code, "newer than this release" in result.output) == (0, True)
        installation.sql("ALTER TABLE alembic_version RENAME TO hidden")
        result = installation.doctor()
        assert (result.exit_code, "the ledger is empty" in result.output) == (1, True)
        assert "None" not in result.output
    finally:
        installation.sql("ALTER TABLE IF EXISTS hidden RENAME TO alembic_version")
        installation.sql(f"UPDATE alembic_version SET version_num = '{head}'")


def test_an_incomplete_index_is_reported(installation: Installation) -> None:
    try:
        installation.sql(
            "CREATE INDEX half_idx ON claim (order_no)",
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'half_idx'::regclass",
        )
        result = installation.doctor()
    finally:
        installation.sql("DROP INDEX half_idx")
    assert (result.exit_code, "half_idx" in result.output) == (1, True)


def test_a_log_that_is_streamed_to_a_backup_counts_as_archived(
    installation: Installation, tmp_path: Path
) -> None:
    assert "no WAL is archived" in installation.doctor().output
    with installation.log_streamed(tmp_path):
        result = installation.doctor()
    assert result.exit_code == 0, result.output
    assert "no WAL is archived" not in result.output
    assert "streamed from slot kept" in result.output


MOMENT = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("apart_s", "level"), [(0, "ok"), (1, "ok"), (10, "warning"), (-10, "warning"), (-60, "fault")]
)
def test_clocks_that_are_apart_are_reported(apart_s: int, level: str) -> None:
    theirs = MOMENT + timedelta(seconds=apart_s)
    assert judge(MOMENT, theirs, MOMENT).level == level


def test_a_slow_answer_is_no_skew() -> None:
    assert judge(MOMENT, MOMENT + timedelta(minutes=1), MOMENT + timedelta(minutes=2)).level == "ok"


# --- Redis ------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
def test_a_gate_that_may_lose_keys_is_reported(installation: Installation, policy: str) -> None:
    try:
        installation.valkey.client.config_set("maxmemory-policy", policy)
        result = installation.doctor()
    finally:
        installation.valkey.client.config_set("maxmemory-policy", "noeviction")
    assert (result.exit_code, f"maxmemory-policy is {policy}" in result.output) == (1, True)


def test_a_replica_is_reported(installation: Installation) -> None:
    try:
        installation.valkey.client.replicaof("127.0.0.1", closed_port())
        result = installation.doctor()
    finally:
        installation.valkey.client.replicaof("NO", "ONE")
    assert (result.exit_code, "this is a replica" in result.output) == (1, True)


@pytest.mark.parametrize("user", ["", "default"])
def test_a_useless_password_is_reported(installation: Installation, user: str) -> None:
    url = f"redis://{user}:hush@127.0.0.1:{installation.valkey.port}/0"
    result = installation.doctor(BUTIE_REDIS_URL=url)
    assert result.exit_code == 0, result.output
    assert "without the password" in result.output and "requirepass" in result.output
    assert "hush" not in result.output


def test_a_password_that_is_asked_for_protects(installation: Installation) -> None:
    try:
        installation.valkey.client.config_set("requirepass", "hush")
        url = f"redis://:hush@127.0.0.1:{installation.valkey.port}/0"
        result = installation.doctor(BUTIE_REDIS_URL=url)
    finally:
        redis.Redis(port=installation.valkey.port, password="hush").config_set("requirepass", "")
    assert result.exit_code == 0, result.output
    assert "without the password" not in result.output


@pytest.mark.parametrize(
    ("info", "sentence"),
    [
        ({"redis_version": "6.2.1"}, "Redis 6.2.1"),
        ({"rdb_last_bgsave_status": "err"}, "snapshot could not be written"),
        ({"aof_last_write_status": "err"}, "log could not be written"),
        ({"maxmemory": 100, "used_memory": 90}, "four fifths"),
        ({"maxmemory": 100, "used_memory": 100}, "writes are refused"),
    ],
)
def test_the_info_of_a_server_is_judged(info: dict[str, Any], sentence: str) -> None:
    sound = {"redis_version": "7.2.4", "role": "master", "maxmemory_policy": "noeviction"}
    assert any(
        sentence in result.fact for result in judge_gate(sound | info) if result.level != "ok"
    )


# --- engines that are away --------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "url", "sentence"),
    [
        ("DATABASE", "postgresql://butie:hush@127.0.0.1:{port}/butie", "PostgreSQL cannot"),
        ("DATABASE", "postgresql://butie:hush@no.such.host.invalid/butie", "PostgreSQL cannot"),
        ("REDIS", "redis://:hush@127.0.0.1:{port}/0", "Redis cannot be used"),
    ],
)
def test_an_engine_that_is_away_is_reported_and_the_rest_is_checked(
    installation: Installation, name: str, url: str, sentence: str
) -> None:
    url = url.format(port=closed_port())
    result = installation.doctor(**{f"BUTIE_{name}_URL": url})
    assert result.exit_code == 1
    assert sentence in result.output
    assert "not checked" in result.output
    assert "is in force on" in result.output
    assert "Traceback" not in result.output and "hush" not in result.output


def test_a_wrong_password_is_one_sentence(installation: Installation) -> None:
    url = f"postgresql://butie:wrong@127.0.0.1:{installation.postgres.port}/butie"
    result = installation.doctor(BUTIE_DATABASE_URL=url)
    assert (result.exit_code, "password authentication failed" in result.output) == (1, True)


def test_a_database_that_is_not_there_is_named(installation: Installation) -> None:
    result = installation.doctor(BUTIE_DATABASE_URL=f"{installation.database_url}x")
    assert result.exit_code == 1
    assert "make the database butiex" in result.output


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
    result = installation.doctor(**{f"BUTIE_{name}_URL": url})
    assert result.exit_code == 1
    assert "/nowhere/root.crt is not there" in result.output


@pytest.mark.parametrize("url", ["localhost/butie", "mysql://u:hush@h/butie", "postgresql://", ""])
def test_a_malformed_url_gets_an_example_of_a_good_one(
    installation: Installation, url: str
) -> None:
    result = installation.doctor(BUTIE_DATABASE_URL=url)
    assert result.exit_code == 1
    assert "BUTIE_DATABASE_URL is no URL" in result.output
    assert "postgresql://USER:PASSWORD@HOST:5432/DATABASE" in result.output
    assert "hush" not in result.output and "asyncpg" not in result.output
    result = installation.doctor(BUTIE_REDIS_URL="http://h")
    assert "redis://:PASSWORD@HOST:6379/0" in result.output


# --- certificates -----------------------------------------------------------------------


def leaf(days: int) -> trustme.LeafCert:
    until = datetime.now(UTC) + timedelta(days=days)
    return trustme.CA().issue_cert("127.0.0.1", not_after=until)


@pytest.mark.parametrize(
    ("days", "exit_code", "sentence"),
    [
        (-1, 1, "certificate at 127.0.0.1: certificate has expired"),
        (10, 0, "is valid for 9 days"),
        (400, 0, "is valid for 399 days"),
    ],
)
def test_a_certificate_of_the_ledgers_is_judged_by_its_date(
    installation: Installation, days: int, exit_code: int, sentence: str
) -> None:
    with front(installation.postgres.port, leaf(days), on_request=True) as port:
        url = installation.database_url.replace(f":{installation.postgres.port}/", f":{port}/")
        result = installation.doctor(BUTIE_DATABASE_URL=f"{url}?sslmode=require")
    assert sentence in result.output, result.output
    assert result.exit_code == exit_code


def test_a_certificate_of_the_gates_is_judged_by_its_date(installation: Installation) -> None:
    with front(installation.valkey.port, leaf(-1), on_request=False) as port:
        url = f"rediss://127.0.0.1:{port}/0?ssl_cert_reqs=none"
        result = installation.doctor(BUTIE_REDIS_URL=url)
    assert "Redis's certificate at 127.0.0.1: certificate has expired" in result.output, (
        result.output
    )
    assert result.exit_code == 1


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
def test_a_wrong_setting_is_reported(
    installation: Installation, settings: dict[str, str], sentence: str
) -> None:
    result = installation.doctor(**settings)
    assert result.exit_code == 1, result.output
    assert sentence in result.output


def test_secrets_open_to_others_are_reported(installation: Installation, tmp_path: Path) -> None:
    key = tmp_path / "client.key"
    key.write_text("secret")
    url = f"{installation.database_url}?passfile={key}"
    for mode, exit_code in ((0o644, 1), (0o600, 0)):
        key.chmod(mode)
        result = installation.doctor(BUTIE_DATABASE_URL=url)
        assert result.exit_code == exit_code, result.output
        assert ("chmod 600" in result.output) == bool(exit_code)


def test_without_an_installation_the_sandbox_is_visited(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["doctor"], env={"BUTIE_DATA_DIR": str(tmp_path)})
    assert result.exit_code == 1
    assert "PostgreSQL cannot be used" in result.output
