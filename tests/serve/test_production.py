"""Commands with production's settings: a fault is one sentence, without a traceback."""

import os
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest

from service.embedded import Engines

pytestmark = pytest.mark.anyio

BUTIE = str(Path(sys.executable).with_name("butie"))


def butie(*arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    clean = {name: text for name, text in os.environ.items() if not name.startswith("BUTIE_")}
    return subprocess.run(
        [BUTIE, *arguments],
        env=clean | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
    )


def refusal(*arguments: str, **settings: str) -> str:
    """The one sentence of a command that fails."""
    ended = butie(*arguments, **settings)
    assert ended.returncode not in (0, None)
    assert "Traceback" not in ended.stdout
    assert len(ended.stdout.splitlines()) == 1, ended.stdout
    return ended.stdout


def production(database_url: str, redis_url: str = "redis://127.0.0.1:1/0") -> dict[str, str]:
    return {
        "BUTIE_DATABASE_URL": database_url,
        "BUTIE_REDIS_URL": redis_url,
        "BUTIE_PII_KEY": "k" * 32,
        "BUTIE_PORT": "0",
    }


@pytest.fixture
async def empty_url(engine_urls: Engines, anyio_backend: str) -> str:
    """A database without a schema."""
    server = engine_urls.database_url.rsplit("/", 1)[0]
    name = f"empty_{os.urandom(6).hex()}"
    admin = await asyncpg.connect(f"{server}/postgres")
    await admin.execute(f"CREATE DATABASE {name}")
    await admin.close()
    return f"{server}/{name}"


def test_a_database_that_cannot_be_used_is_one_sentence(engine_urls: Engines) -> None:
    server = engine_urls.database_url.rsplit("@", 1)[1]
    for url, words in (
        ("postgresql://butie:x@127.0.0.1:1/butie", "cannot be reached"),
        (f"postgresql://butie:wrong@{server}", "password authentication failed"),
    ):
        assert words in refusal("migrate", **production(url))


async def test_an_empty_database_is_not_served_and_the_sentence_says_migrate(
    empty_url: str,
) -> None:
    settings = production(empty_url)
    for command in (["serve"], ["migrate", "--wait", "1"]):
        assert "butie migrate" in refusal(*command, **settings)


async def test_migrate_lets_the_services_role_in_and_only_the_owner_migrates(
    empty_url: str,
) -> None:
    role = f"service_{os.urandom(6).hex()}"
    mine = f"postgresql://{role}:service@{empty_url.rsplit('@', 1)[1]}"
    owner = production(empty_url)
    assert role in refusal("migrate", **owner, BUTIE_SERVICE_ROLE=role)
    connection = await asyncpg.connect(empty_url)
    await connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'service'")
    assert "may not do this" in refusal("migrate", **production(mine))
    assert butie("migrate", **owner, BUTIE_SERVICE_ROLE=role).returncode == 0
    waited = butie("migrate", "--wait", "60", **production(mine))
    assert waited.returncode == 0, waited.stdout
    assert butie("budget", "list", **production(mine)).returncode == 0
    await connection.close()


def test_secrets_come_from_files(engine_urls: Engines, tmp_path: Path) -> None:
    settings = production(engine_urls.database_url)
    for name in ("BUTIE_DATABASE_URL", "BUTIE_REDIS_URL", "BUTIE_PII_KEY"):
        (tmp_path / name.lower()).write_text(settings.pop(name) + "\n")
    settings["BUTIE_SECRETS_DIR"] = str(tmp_path)
    assert butie("budget", "list", **settings).returncode == 0
    (tmp_path / "butie_pii_key").write_text("short")
    assert "32 characters" in refusal("serve", **settings)
    assert "no folder" in refusal("serve", BUTIE_SECRETS_DIR=str(tmp_path / "none"))
