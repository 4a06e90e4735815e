"""An engine of the sandbox that is killed: it comes back, or ends the sandbox."""

import json
import re
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.builders import checkout_json, item_json, resident_id, serial
from tests.serve.sandbox import BUTIE, confirmed_fen, environment, family, read, served

PID_FILES = {"PostgreSQL": "postgres/postmaster.pid", "Valkey": "valkey/valkey.pid"}
WAIT_S = 90  # a busy machine is no fault


def engine_process(folder: Path, engine: str) -> psutil.Process:
    return psutil.Process(int((folder / "data" / PID_FILES[engine]).read_text().split()[0]))


def port_of(process: psutil.Process) -> int:
    return next(
        int(place.laddr.port)
        for place in process.net_connections("tcp")
        if place.status == psutil.CONN_LISTEN
    )


def restarts(output: Path, engine: str) -> list[str]:
    """The signals and the ports of the engine's restarts, in order."""
    return re.findall(
        rf"{engine} had ended \((signal \d+)\) and was restarted on its port, (\d+)\.",
        output.read_text(),
    )


def wait_until(holds: Callable[[], bool], output: Path) -> None:
    deadline = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < deadline, output.read_text()
        time.sleep(0.02)


def claim(folder: Path, n: int) -> dict[str, Any]:
    """The n-th claim, sent as a till sends it: again with its key after each 503."""
    sandbox = json.loads((folder / "data" / "sandbox.json").read_text())
    body = checkout_json(
        sold_at=sandbox["clock"],
        consumer={"id_type": "resident_id", "id_number": resident_id(n)},
        items=[item_json(serial_no=serial(n))],
    )
    headers = {
        "Authorization": f"Bearer {sandbox['keys']['pos']}",
        "Idempotency-Key": f"claim-{n}",
    }
    request = urllib.request.Request(
        sandbox["base_url"] + "/v1/claims", json.dumps(body).encode(), headers
    )
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            with urllib.request.urlopen(request) as answer:
                granted: dict[str, Any] = json.load(answer)
                return granted
        except urllib.error.HTTPError as refusal:
            if refusal.code != 503 or time.monotonic() > deadline:
                raise
        time.sleep(0.1)


def audit(folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [BUTIE, "audit"],
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=WAIT_S,
    )


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_killed_engine_comes_back_with_its_data_on_its_port_and_claims_go_on(
    tmp_path: Path, workers: str
) -> None:
    with served(tmp_path, BUTIE_WORKERS=workers) as (process, output):
        granted = [claim(tmp_path, 0)]
        for n, engine in enumerate(PID_FILES, 1):
            killed = engine_process(tmp_path, engine)
            port = port_of(killed)
            killed.kill()
            wait_until(lambda engine=engine: bool(restarts(output, engine)), output)
            assert restarts(output, engine) == [("signal 9", str(port))]
            assert engine_process(tmp_path, engine).pid != killed.pid
            assert port_of(engine_process(tmp_path, engine)) == port
            granted.append(claim(tmp_path, n))
        assert confirmed_fen(tmp_path) == sum(one["subsidy_fen"] for one in granted)
        for one in granted:
            assert read(tmp_path, f"/v1/claims/{one['claim_id']}", role="pos") == one
        wait_until(lambda: audit(tmp_path).returncode == 0, output)
        children = family(process)
        process.terminate()
        assert process.wait(30) == 0
    assert psutil.wait_procs(children, timeout=5)[1] == []


@pytest.mark.parametrize(("engine", "workers"), [("Valkey", "1"), ("PostgreSQL", "2")])
def test_an_engine_that_dies_again_at_once_ends_the_sandbox_with_a_sentence(
    tmp_path: Path, engine: str, workers: str
) -> None:
    with served(tmp_path, BUTIE_WORKERS=workers) as (process, output):
        engine_process(tmp_path, engine).kill()
        wait_until(lambda: bool(restarts(output, engine)), output)
        children = family(process)
        engine_process(tmp_path, engine).kill()
        assert process.wait(30) == 1
    assert psutil.wait_procs(children, timeout=5)[1] == []
    lines = output.read_text().splitlines()
    assert lines[-1].startswith(f"{engine} ended again at once after a restart (signal 9)")
    assert "Traceback" not in output.read_text(), output.read_text()
    assert len(restarts(output, engine)) == 1


def test_an_engine_that_cannot_start_again_ends_the_sandbox_with_its_last_words(
    tmp_path: Path,
) -> None:
    with served(tmp_path) as (process, output):
        (tmp_path / "data" / "postgres" / "PG_VERSION").write_text("14\n")
        engine_process(tmp_path, "PostgreSQL").kill()
        assert process.wait(60) == 1
    last = output.read_text().splitlines()[-1]
    assert last.startswith("PostgreSQL had died and could not be restarted, so the sandbox has")
    assert "incompatible with server" in last
    assert "Traceback" not in output.read_text(), output.read_text()
