"""The gate works in cluster mode: each script declares its keys, and all are in one slot."""

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.builders import item_json, resident_id, serial
from tests.conftest import House, open_house
from tests.faults.engines import Valkey

pytestmark = pytest.mark.anyio

UP_WITHIN_S = 60
LAST = "butie-test-last"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Valkey]:
    """One node with all slots."""
    server = Valkey(tmp_path / "valkey", "--cluster-enabled", "yes")
    server.start()
    server.client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
    deadline = time.monotonic() + UP_WITHIN_S
    while b"cluster_state:ok" not in server.client.execute_command(
        "CLUSTER", "INFO", NEVER_DECODE=1
    ):
        assert time.monotonic() < deadline, "the cluster does not come up"
        time.sleep(0.1)
    yield server
    server.kill()


class Monitor(threading.Thread):
    """Records the commands that the server runs: scripts, their keys, and undeclared keys."""

    def __init__(self, client: "redis.Redis[bytes]") -> None:
        super().__init__(daemon=True)
        self.undeclared: list[str] = []
        self.scripts: set[str] = set()
        self.keys: set[str] = set()
        self._client = client  # a reference, or the connection would be closed
        self._monitor = client.monitor()
        self._monitor.__enter__()

    def run(self) -> None:
        declared: set[str] = set()
        for entry in self._monitor.listen():
            name, *words = entry["command"].split(" ")
            if LAST in words:
                return
            if entry["client_type"] == "lua":
                if name.upper() != "TIME" and words[0] not in declared:
                    self.undeclared.append(entry["command"])
            elif name.upper() in ("EVAL", "EVALSHA"):
                declared = self._declared(entry["command"])
                self.keys |= declared

    def _declared(self, command: str) -> set[str]:
        # EVALSHA has a hash and the count of keys. EVAL has the text of the script instead, whose
        # words cannot be told from its arguments.
        _, script, count, *words = command.split(" ")
        if not count.isdigit():
            return {word for word in command.split(" ") if word.startswith("butie:")}
        self.scripts.add(script)
        return set(words[: int(count)])


async def test_scripts_declare_their_keys_and_run_on_a_cluster(
    database_url: str, cluster: Valkey, tmp_path: Path
) -> None:
    monitor = Monitor(cluster.client)
    monitor.start()
    url = f"redis://127.0.0.1:{cluster.port}/0"
    async with open_house(database_url, url, tmp_path, rate_limit_per_s=1000) as house:
        await exercise(house)
        await until_at_rest(house, cluster)
    cluster.client.get(LAST)
    await asyncio.to_thread(monitor.join, UP_WITHIN_S)
    assert monitor.undeclared == []
    assert len(monitor.scripts) == 5  # admit, settle, forget, look, take; greet comes as text
    slots = {cluster.client.execute_command("CLUSTER", "KEYSLOT", key) for key in monitor.keys}
    assert len(slots) == 1


async def until_at_rest(house: House, cluster: Valkey) -> None:
    """Wait until the gate's balance is the ledger's and no admission is in flight."""
    left = "SELECT allocated_fen - spent_fen FROM pool WHERE pool = 'appliances'"
    deadline = time.monotonic() + UP_WITHIN_S
    while True:
        in_ledger = (await house.sql(left))[0][0]
        view = cluster.client.hgetall("butie:{330402}:pool:appliances")
        in_gate = int(view.get(b"allocated", 0)) - int(view.get(b"spent", 0))
        flying = cluster.client.hlen("butie:{330402}:admissions")
        if (in_gate, flying) == (in_ledger, 0):
            return
        assert time.monotonic() < deadline, f"{in_gate} and {flying} flying, not {in_ledger}"
        await asyncio.sleep(0.2)


async def exercise(house: House) -> None:
    """Send claims, a hold that is cancelled, a refund, a refusal, and a serial number that the gate
    holds by mistake."""
    stale = house.service.claims.gate._client
    await stale.set(f"butie:{{330402}}:serial:{serial(9)}", "0" * 36)
    for n in (1, 2, 3, 9, 1):
        answer = await house.claim(
            f"k{n}-{n}",
            hold=n == 2,
            consumer={"id_type": "resident_id", "id_number": resident_id(n)},
            items=[item_json(serial_no=serial(n))],
        )
        assert answer.status_code == 201
        claim_id = answer.json()["claim_id"]
        async with house.client() as client:
            if n == 2:
                await client.post(f"/v1/claims/{claim_id}/cancel")
            elif n == 3:
                body = {"lines": [1], "reason": "returned"}
                path = f"/v1/claims/{claim_id}/refunds"
                await client.post(path, json=body, headers={"Idempotency-Key": "r"})
    taken = await house.claim("other", items=[item_json(serial_no=serial(1))])
    assert taken.status_code == 409
    await house.quiet()
