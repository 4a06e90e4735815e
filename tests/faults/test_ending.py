"""SIGTERM ends the service, whatever hangs at that moment. The time it took is printed."""

import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.storm import Storm

# An orchestrator kills a service that takes longer.
PATIENCE_S = 30


def half_a_request(storm: Storm) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", storm.port))
    head = b"POST /v1/claims HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{"
    connection.sendall(head)
    return connection


HANGS: dict[str, Callable[[Storm, bool], object]] = {
    "a worker": lambda storm, on: on and storm.workers()[0].suspend(),
    "postgres": lambda storm, on: storm.postgres.freeze(on),
    "valkey": lambda storm, on: storm.valkey.freeze(on),
    "both": lambda storm, on: (storm.postgres.freeze(on), storm.valkey.freeze(on)),
    "the way to postgres": lambda storm, on: setattr(storm.ledger_proxy, "swallows", on),
    "a client": lambda storm, on: half_a_request(storm) if on else None,
}


@pytest.mark.long
@pytest.mark.timeout(900)
def test_sigterm_ends_it_whatever_hangs(tmp_path: Path) -> None:
    storm = Storm(tmp_path, seed=3)
    with storm.up():
        for name, hang in HANGS.items():
            for n in range(10):
                storm.sell_one(f"{n}-{name.replace(' ', '-')}")
            kept = hang(storm, True)
            answers = storm.sell_many(20)
            time.sleep(0.3)  # until some are in flight
            started = time.monotonic()
            storm.service.send_signal(signal.SIGTERM)
            storm.service.wait(PATIENCE_S)
            print(f"{name} hangs: ended after {time.monotonic() - started:.1f} s")
            assert storm.service.returncode == 0
            statuses = {answer.status_code for answer in answers() if answer is not None}
            assert statuses <= {201, 422, 503}
            hang(storm, False)
            if name == "a worker":  # it was resumed and has ended by itself
                assert "worker_killed" not in storm.log()
            if isinstance(kept, socket.socket):
                kept.close()
            storm.serve_again()
        assert storm.sell_one("after-all").status_code == 201
