"""`butie serve` as a newcomer runs it, with engines of its own."""

import json
import re
import shutil
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from service.config import SANDBOX_PII_KEY
from tests.builders import checkout_json
from tests.serve.sandbox import (
    BUTIE,
    confirmed_fen,
    environment,
    family,
    paste,
    read,
    refused,
    scrape_until,
    served,
)


def test_the_line_shown_at_the_start_gets_a_claim_granted_and_ctrl_c_leaves_nothing(
    tmp_path: Path,
) -> None:
    with served(tmp_path) as (process, output):
        claim = paste(output)
        assert claim["state"] == "confirmed"
        assert claim["created_at"].startswith("2025-06-18T10:0")
        assert "nanhu-2025" in output.read_text()
        command = re.search(r"`(\S+) policy show --on 2025-06-18`", output.read_text())
        assert command is not None and shutil.which(command[1])
        assert paste(output) == claim
        children = family(process)
        assert {"postgres", "valkey-server"} <= {child.name() for child in children}
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    assert not [child for child in children if child.is_running()]
    assert "Traceback" not in output.read_text()


def test_a_second_start_keeps_data_keys_and_clock_also_after_a_kill(tmp_path: Path) -> None:
    with served(tmp_path) as (process, output):
        claim = paste(output)
        keys = json.loads((tmp_path / "data" / "sandbox.json").read_text())["keys"]
        children = family(process)
        process.kill()
        process.wait(10)
        _, alive = psutil.wait_procs(children, timeout=20)
        assert alive == []
    with served(tmp_path):
        known = json.loads((tmp_path / "data" / "sandbox.json").read_text())
        assert known["keys"] == keys
        assert known["clock"] >= claim["created_at"][:19]
        assert confirmed_fen(tmp_path) == claim["subsidy_fen"]
        again = read(tmp_path, f"/v1/claims/{claim['claim_id']}", role="pos")
        assert again == claim


def test_two_workers_serve_one_sandbox_and_end_with_their_terminal(tmp_path: Path) -> None:
    with served(tmp_path, BUTIE_WORKERS="2") as (process, output):
        claim = paste(output)
        assert confirmed_fen(tmp_path) == claim["subsidy_fen"]
        known = json.loads((tmp_path / "data" / "sandbox.json").read_text())
        left = 2_000_000_000 - claim["subsidy_fen"]
        for ended in (False, True):
            if ended:  # the counts of a worker that ended stay, its gauges do not
                workers = (p for p in family(process) if "spawn_main" in str(p.cmdline()))
                next(workers).kill()
            shown = scrape_until(known["base_url"], "butie_gate_up 1.0")
            assert 'butie_claims_total{outcome="granted"} 1.0' in shown
            pool = re.search(r'butie_pool_fen{part="remaining",pool="appliances"} (\S+)', shown)
            assert pool is not None and float(pool[1]) == left
        children = family(process)
        process.send_signal(signal.SIGHUP)
        process.wait(30)
        _, alive = psutil.wait_procs(children, timeout=5)
        assert alive == []


def test_a_port_in_use_is_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert f"Port {port}" in refused(tmp_path, BUTIE_PORT=port)
    assert not (tmp_path / "data").exists()


def test_the_clock_cannot_go_back_over_later_data(tmp_path: Path) -> None:
    start = "2025-07-01T09:00:00+08:00"
    with served(tmp_path, BUTIE_CLOCK=start) as (_, output):
        assert "2025-07-01T09:00" in output.read_text()
    earlier = refused(tmp_path, BUTIE_CLOCK="2025-06-30T09:00:00+08:00", BUTIE_PORT="0")
    assert "cannot go backwards" in earlier
    with served(tmp_path, BUTIE_CLOCK=start) as (_, output):
        assert "2025-07-01T09:00" in output.read_text()


PRODUCTION = {
    "BUTIE_DATABASE_URL": "postgresql://x:y@127.0.0.1:1/none",
    "BUTIE_REDIS_URL": "redis://127.0.0.1:1/0",
    "BUTIE_PORT": "0",
}
KEY = "k" * 32


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "BUTIE_PII_KEY"),
        ({"BUTIE_PII_KEY": "sandbox-key-for-made-up-people-only"}, "make your own"),
        ({"BUTIE_PII_KEY": "short"}, "32 characters"),
        ({"BUTIE_PII_KEY": KEY, "BUTIE_CLOCK": "2025-06-18T10:00:00+08:00"}, "BUTIE_CLOCK"),
        ({"BUTIE_PII_KEY": KEY, "BUTIE_REDIS_URL": ""}, "BUTIE_REDIS_URL"),
        ({"BUTIE_PORT": "seventy"}, "BUTIE_PORT"),
        ({"BUTIE_PII_KEY": KEY, "BUTIE_REFUSE_ASSUMED": "1"}, "nanhu-2025/rounding = down"),
    ],
)
def test_production_refuses_what_only_the_sandbox_may_do(
    tmp_path: Path, settings: dict[str, str], words: str
) -> None:
    assert words in refused(tmp_path, **(PRODUCTION | settings))


def test_a_faulty_policy_or_confirmation_is_reported_by_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("id: bad\ncolour: red\n")
    sentence = refused(tmp_path, BUTIE_POLICIES_DIR=str(tmp_path), BUTIE_PORT="0")
    assert "bad.yaml:2" in sentence
    assert "colour" in sentence
    confirmations = tmp_path / "confirmed.txt"
    confirmations.write_text("nanhu-2025/nothing = 1\n")
    settings = {"BUTIE_REFUSE_ASSUMED": "1", "BUTIE_CONFIRMATIONS": str(confirmations)}
    assert "confirmed.txt:1" in refused(tmp_path, **settings, BUTIE_PORT="0")


def test_confirmed_values_let_the_service_start(tmp_path: Path) -> None:
    lines = subprocess.run(
        [BUTIE, "policy", "assumptions", "--lines"],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    confirmations = tmp_path / "confirmed.txt"
    confirmations.write_text(lines)
    settings = {"BUTIE_REFUSE_ASSUMED": "1", "BUTIE_CONFIRMATIONS": str(confirmations)}
    with served(tmp_path, **settings) as (_, output):
        assert paste(output)["state"] == "confirmed"
    confirmations.write_text(lines.replace("rounding = down", "rounding = half_up", 1))
    assert "nanhu-2025/rounding = down" in refused(tmp_path, **settings, BUTIE_PORT="0")


def test_the_logs_and_metrics_hold_no_secret_and_no_id_number(tmp_path: Path) -> None:
    with served(tmp_path, BUTIE_LOG_LEVEL="debug", BUTIE_LOG_FORMAT="json") as (_, output):
        known = json.loads((tmp_path / "data" / "sandbox.json").read_text())
        id_number = checkout_json()["consumer"]["id_number"]
        bodies = [
            checkout_json(sold_at=known["clock"]),
            checkout_json(sold_at=known["clock"], consumer={"id_number": id_number}),
            checkout_json(sold_at=known["clock"], order_no=f"a{id_number}\x00"),
            [id_number],
        ]
        for n, body in enumerate(bodies):
            request = urllib.request.Request(
                known["base_url"] + "/v1/claims",
                json.dumps(body).encode(),
                {
                    "Authorization": f"Bearer {known['keys']['pos']}",
                    "Idempotency-Key": f"k{n}",
                    "X-Request-Id": id_number,
                },
            )
            with suppress(urllib.error.HTTPError):
                urllib.request.urlopen(request)
        for n, person in enumerate((id_number, id_number[:-1], [id_number])):
            search = urllib.request.Request(
                f"{known['base_url']}/v1/claims/search" + (f"?id_number={id_number}" if n else ""),
                json.dumps({"id_type": "resident_id", "id_number": person}).encode(),
                {"Authorization": f"Bearer {known['keys']['bureau']}"},
            )
            with suppress(urllib.error.HTTPError):
                urllib.request.urlopen(search)
        with urllib.request.urlopen(known["base_url"] + "/metrics") as answer:
            metrics = answer.read().decode()
        logs = output.read_text()
    shown = logs[: logs.index("curl -s")] + logs[logs.index("Ctrl-C stops") :]
    assert '"route": "/v1/claims"' in shown
    assert '"route": "/v1/claims/search", "status": 200' in shown
    assert '"route": "/v1/claims/search", "status": 422' in shown
    for secret in (*known["keys"].values(), id_number, SANDBOX_PII_KEY):
        assert secret not in shown
        assert secret not in metrics
