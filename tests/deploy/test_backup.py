"""Backups of a PostgreSQL that claims, and what a restore brings back: all of it, or a moment.

On Debian's PostgreSQL 15, the oldest that the service is meant for; the sandbox has the newest.
"""

import os
import pwd
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.builders import checkout_json, item_json, resident_id, serial, uscc
from tests.deploy.conftest import DEPLOY, ROOT, tool
from tests.faults.engines import Valkey
from tests.serve.sandbox import free_port
from tests.upgrade.rolling import Release, Served, enrol

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

BIN = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"))), Path("/usr/bin"))

# What compose.yaml tells the server on its command line, where a recovery does not see it.
_COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["postgres"]
SERVER = " ".join(f"-c {one}" for one in _COMPOSE["command"] if re.match("max_|shared_", one))


class Cluster:
    """A cluster of its own, laid out as compose.yaml does; the scripts run as `postgres`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.backups = folder / "backups"
        self.secrets = folder / "secrets"
        self.port = free_port()
        self.account = pwd.getpwnam("postgres")

    def environment(self) -> dict[str, str]:
        return {
            "PATH": f"{BIN}:/usr/bin:/bin",
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.port),
            "PGUSER": "butie_backup",
            "PGPASSWORD_FILE": str(self.secrets / "backup_password"),
            "PGDATA": str(self.data),
            "BACKUPS": str(self.backups),
            "SECRETS": str(self.secrets),
            "ROLES": str(self.folder / "roles.sql"),
            "KEEP": "2",
        }

    def url(self, role: str) -> str:
        """The database as this role of roles.sql reaches it."""
        password = (self.secrets / f"{role}_password").read_text().strip()
        return f"postgresql://butie_{role}:{password}@127.0.0.1:{self.port}/butie"

    def popen(self, *command: str, **variables: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            command,
            env=self.environment() | variables,
            user=self.account.pw_uid,
            group=self.account.pw_gid,
            extra_groups=[],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *command: str, code: int = 0, **variables: str) -> str:
        process = self.popen(*command, **variables)
        output, _ = process.communicate(timeout=120)
        assert process.returncode == code, output
        return output

    def script(self, name: str, *arguments: str, code: int = 0, **variables: str) -> str:
        return self.run(str(self.folder / name), *arguments, code=code, **variables)

    def sql(self, statement: str, database: str = "butie") -> str:
        command = ("psql", "-XAtq", "-h", str(self.folder), "-U", "postgres", "-d", database)
        return self.run(*command, "-v", "ON_ERROR_STOP=1", "-c", statement).strip()

    @contextmanager
    def running(self, *, stop: str = "fast") -> Iterator[None]:
        options = (
            f"-p {self.port} -c listen_addresses=127.0.0.1 -k {self.folder} "
            f"-c hba_file={self.folder}/pg_hba.conf {SERVER}"
        )
        log = str(self.folder / "server.log")
        self.run("pg_ctl", "start", "-w", "-s", "-D", str(self.data), "-o", options, "-l", log)
        try:
            yield
        finally:
            self.run("pg_ctl", "stop", "-s", "-m", stop, "-D", str(self.data))

    @contextmanager
    def log_streamed(self) -> Iterator[None]:
        process = self.popen(str(self.folder / "backup.sh"), "log")
        try:
            wait_for(lambda: any((self.backups / "log").glob("*.partial")), process)
            yield
        finally:
            process.terminate()
            process.communicate(timeout=60)

    def streamed_all(self) -> None:
        """Wait until the backup has what is committed by now."""
        wanted = self.sql("SELECT pg_current_wal_flush_lsn()")
        caught_up = f"SELECT 1 FROM pg_stat_replication WHERE flush_lsn >= '{wanted}'"
        wait_for(lambda: self.sql(caught_up) == "1")


def wait_for(true: "object", process: "subprocess.Popen[str] | None" = None) -> None:
    deadline = time.monotonic() + 60
    while not true():  # type: ignore[operator]
        assert process is None or process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    for name in ("initdb", "pg_receivewal", "pg_basebackup", "pg_archivecleanup"):
        tool(name, BIN)
    if os.geteuid() != 0:
        pytest.skip("only root can become postgres")
    folder = Path(subprocess.check_output(["mktemp", "-d", "/tmp/butie.XXXXXX"], text=True).strip())
    made = Cluster(folder)
    try:
        subprocess.run([DEPLOY / "secrets.sh", made.secrets], check=True, capture_output=True)
        for name in ("backup.sh", "restore.sh", "first-start.sh", "roles.sql", "pg_hba.conf"):
            shutil.copy(DEPLOY / "postgres" / name, folder)
        for path in (folder, *folder.rglob("*")):
            os.chown(path, made.account.pw_uid, made.account.pw_gid)
        made.run("initdb", "-D", str(made.data), "-U", "postgres", "-A", "trust", "-k")
        yield made
    finally:
        shutil.rmtree(folder)


def test_a_restore_brings_back_the_last_commit_or_any_moment_before(cluster: Cluster) -> None:
    with cluster.running():
        cluster.script("first-start.sh", PGHOST=str(cluster.folder))
        cluster.sql("CREATE TABLE sold AS SELECT 1 AS n; ALTER TABLE sold OWNER TO butie_owner")
        with cluster.log_streamed():
            cluster.script("backup.sh", "once")
            cluster.sql("INSERT INTO sold VALUES (2)")
            time.sleep(1)  # recovery aims at an instant, not at a transaction
            moment = cluster.sql("SELECT now()")
            time.sleep(1)
            cluster.sql("INSERT INTO sold VALUES (3)")
            cluster.streamed_all()
    kept = cluster.folder / "kept"
    shutil.copytree(cluster.backups, kept, copy_function=shutil.copy2)
    for path in (kept, *kept.rglob("*")):
        os.chown(path, cluster.account.pw_uid, cluster.account.pw_gid)

    cluster.script("restore.sh")
    with cluster.running():
        assert cluster.sql("SELECT array_agg(n ORDER BY n) FROM sold") == "{1,2,3}"
        with cluster.log_streamed():  # a history of its own begins
            cluster.script("backup.sh", "once")

    cluster.script("restore.sh", moment, BACKUPS=str(kept))
    with cluster.running():
        assert cluster.sql("SELECT array_agg(n ORDER BY n) FROM sold") == "{1,2}"
        cluster.sql("INSERT INTO sold VALUES (4)")


def test_a_ledger_comes_back_with_every_claim_that_was_answered(
    cluster: Cluster, tmp_path: Path
) -> None:
    gate = Valkey(tmp_path / "valkey-home")
    gate.start()
    owner, butie = (
        Release(role, ROOT, cluster.url(role), f"redis://127.0.0.1:{gate.port}/0", settings)
        for role, settings in (
            ("owner", {"BUTIE_SERVICE_ROLE": "butie_service"}),
            ("service", {"COLUMNS": "300"}),  # no sentence of the doctor's is folded
        )
    )
    sold_at = datetime.now(UTC) - timedelta(minutes=1)
    try:
        with cluster.running(stop="immediate"):  # nothing is flushed on the way out
            cluster.script("first-start.sh", PGHOST=str(cluster.folder))
            owner.butie("migrate")
            key = enrol(butie, tmp_path, uscc(1))
            with cluster.log_streamed(), butie.serve(tmp_path) as served:
                answered = [claimed(served, key, n, sold_at)["claim"] for n in range(10)]
                cluster.script("backup.sh", "once")
                assert "streamed from slot butie_backup" in butie.butie("doctor")
                answered += [claimed(served, key, n, sold_at)["claim"] for n in range(10, 20)]
                cluster.streamed_all()
        shutil.rmtree(cluster.data)
        cluster.script("restore.sh")
        with cluster.running(), butie.serve(tmp_path) as served:
            again = [claimed(served, key, n, sold_at) for n in range(20)]
            assert [one["claim"] for one in again] == answered
            assert all(one["replayed"] for one in again)
            assert not claimed(served, key, 20, sold_at)["replayed"]
            butie.butie("audit")  # ends with 0 only when every invariant holds
            butie.butie("journal", "verify")
    finally:
        gate.kill()


def claimed(served: Served, key: str, n: int, sold_at: datetime) -> dict[str, Any]:
    """What the n-th sale is answered, each time the same: the claim, and whether it is a replay."""
    body = checkout_json(
        store_id="S1",
        order_no=f"R{n}",
        sold_at=sold_at.isoformat(),
        consumer={"id_type": "resident_id", "id_number": resident_id(n)},
        items=[item_json(serial_no=serial(n))],
    )
    headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": f"R{n}"}
    url = f"http://127.0.0.1:{served.port}/v1/claims"
    answer = httpx.post(url, json=body, headers=headers, timeout=60, trust_env=False)
    assert answer.status_code == 201, answer.text
    return {"claim": answer.json(), "replayed": "idempotency-replayed" in answer.headers}


def test_old_backups_go_and_the_log_before_them(cluster: Cluster) -> None:
    with cluster.running():
        cluster.script("first-start.sh", PGHOST=str(cluster.folder))
        refused = cluster.script("backup.sh", "once", code=1)
        assert "backup.sh log" in refused
        with cluster.log_streamed():
            for _ in range(4):
                cluster.script("backup.sh", "once")
                cluster.sql("SELECT pg_switch_wal()")
                cluster.streamed_all()
                time.sleep(1.1)  # a backup's name has a second's grain
        assert len(list((cluster.backups / "base").iterdir())) == 2
        segments = sorted(path.name for path in (cluster.backups / "log").iterdir())
        assert len(segments) <= 4, segments
    cluster.script("restore.sh")


def test_a_restore_refuses_what_it_cannot_do_and_touches_nothing(cluster: Cluster) -> None:
    assert "No base backup" in cluster.script("restore.sh", code=1)
    assert "no instant" in cluster.script("restore.sh", "yesterweek", code=1)
    with cluster.running():
        (cluster.backups / "base" / "20250618T000000Z").mkdir(parents=True)
        assert "A server runs" in cluster.script("restore.sh", code=1)


def test_only_the_three_roles_come_in_from_outside(cluster: Cluster) -> None:
    with cluster.running():
        cluster.script("first-start.sh", PGHOST=str(cluster.folder))
        for role in ("owner", "service"):
            password = (cluster.secrets / f"{role}_password").read_text()
            ask = ("psql", "-XAtq", "-U", f"butie_{role}", "-d", "butie", "-c", "SELECT 1")
            assert cluster.run(*ask, PGPASSWORD=password).strip() == "1"
            cluster.run(*ask, PGPASSWORD="wrong", code=2)
        cluster.run("psql", "-w", "-U", "postgres", "-d", "butie", "-c", "SELECT 1", code=2)
