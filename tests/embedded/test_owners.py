"""One service per folder, and what is left when one is killed."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from service.embedded import engines
from service.embedded.postgres import DRAFT_PREFIX
from tests.embedded.owners import Owner, all_gone, begin, engine_pids, query, wait_until

Own = Callable[..., Owner]


def test_second_service_on_a_folder_is_refused_with_the_first_ones_pid(
    tmp_path: Path, own: Own
) -> None:
    first, second = own(tmp_path), own(tmp_path)
    assert second.leave() == 1
    expected = f"another Butie is running on this folder (pid {first.process.pid})"
    assert second.first_line["refused"].startswith(expected)


@pytest.mark.parametrize("loss", [Path.unlink, lambda path: path.write_text("")])
def test_lost_or_emptied_lock_file_lets_no_second_service_in(
    tmp_path: Path, own: Own, loss: Callable[[Path], object]
) -> None:
    first = own(tmp_path)
    pids = engine_pids(tmp_path)
    loss(tmp_path / "lock")
    refusals = [own(tmp_path).first_line["refused"] for _ in range(2)]
    assert all("another Butie is running on this folder" in refusal for refusal in refusals)
    assert engine_pids(tmp_path) == pids
    assert query(first.first_line["database_url"], "SELECT true")


def test_ctrl_c_reaches_the_service_and_not_its_engines(tmp_path: Path, own: Own) -> None:
    owner = own(tmp_path)
    pids = engine_pids(tmp_path)
    os.killpg(owner.process.pid, signal.SIGINT)
    assert owner.next_line() == {"both_answer": True}
    assert owner.leave() == 0
    assert all_gone(pids)


@pytest.mark.skipif(sys.platform != "linux", reason="the death signal is Linux's")
def test_kill_9_takes_the_engines_along(tmp_path: Path, own: Own) -> None:
    owner = own(tmp_path)
    pids = engine_pids(tmp_path)
    owner.process.kill()
    wait_until(lambda: all_gone(pids))


@pytest.mark.parametrize("options", [(), ("--without-death-signal",)])
def test_start_after_kill_9_finds_the_rows_and_leaves_no_orphan(
    tmp_path: Path, own: Own, options: tuple[str, ...]
) -> None:
    owner = own(tmp_path, *options)
    query(owner.first_line["database_url"], "CREATE TABLE kept AS SELECT 7 AS number")
    orphans = engine_pids(tmp_path)
    owner.process.kill()
    owner.process.wait()
    with engines(tmp_path) as urls:
        assert query(urls.database_url, "SELECT number FROM kept") == 7
        assert all_gone(orphans)


def test_stranger_with_the_pid_of_an_earlier_engine_is_left_alone(tmp_path: Path, own: Own) -> None:
    owner = own(tmp_path)
    kept = tmp_path / "postmaster.pid"
    shutil.copy(tmp_path / "postgres" / "postmaster.pid", kept)
    owner.leave()
    with subprocess.Popen(["sleep", "60"]) as stranger:
        _, *rest = kept.read_text().splitlines()
        stale = "\n".join([str(stranger.pid), *rest])
        (tmp_path / "postgres" / "postmaster.pid").write_text(stale)
        (tmp_path / "valkey" / "valkey.pid").write_text(f"{stranger.pid}\n")
        with engines(tmp_path) as urls:
            assert query(urls.database_url, "SELECT true")
        assert stranger.poll() is None
        stranger.kill()


def test_first_start_killed_in_the_middle_does_not_spoil_the_next(tmp_path: Path) -> None:
    with begin(tmp_path) as owner:
        wait_until(lambda: any(tmp_path.glob(f"{DRAFT_PREFIX}*/global")))
        owner.kill()
    assert not (tmp_path / "postgres").exists()
    with engines(tmp_path) as urls:
        assert query(urls.database_url, "SELECT true")
    assert not any(tmp_path.glob(f"{DRAFT_PREFIX}*"))
