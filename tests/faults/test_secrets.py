"""No answer, log line or metric has a secret in it, also while engines are down."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.builders import resident_id
from tests.faults.storm import PII_KEY, Storm, checkout_of

PERSON, MISTYPED, STRANGER = resident_id(7), resident_id(8)[:-1] + "?", "butie_nobodys-own-key-0000"

# Headers that would show an attacker the software in use.
BANNERS = ("server", "x-powered-by", "via")
SAFE_HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


class Caller:
    """Sends requests, and keeps every answer."""

    def __init__(self, storm: Storm) -> None:
        self._storm = storm
        self.answers: list[str] = []

    def ask(self, method: str, path: str, **how: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self._storm.key}", **how.pop("headers", {})}
        url = f"http://127.0.0.1:{self._storm.port}{path}"
        answer = httpx.request(method, url, headers=headers, timeout=30, **how)
        self.answers.append(f"{answer.headers}\n{answer.text}")
        for banner in BANNERS:
            assert banner not in answer.headers, path
        for name, value in SAFE_HEADERS.items():
            assert answer.headers[name] == value, path
        assert "content-security-policy" in answer.headers, path
        return answer

    def claim(self, key: str, **overrides: Any) -> httpx.Response:
        body = {**checkout_of(key), **overrides}
        headers = {"Idempotency-Key": key}
        return self.ask("POST", "/v1/claims", content=json.dumps(body), headers=headers)


def talk(caller: Caller, name: str) -> None:
    """Send good requests, bad ones and nonsense, with secrets wherever one fits."""
    person = {"id_type": "resident_id", "id_number": PERSON}
    caller.claim(f"{name}-good", consumer=person)
    caller.claim(f"{name}-bad", consumer={"id_type": "resident_id", "id_number": MISTYPED})
    caller.claim(f"{name}-worse", consumer=PERSON, order_no=PERSON * 20)
    caller.ask("POST", "/v1/claims", content=f'{{"consumer": "{PERSON}', headers={})
    caller.ask("POST", "/v1/quotes", json=checkout_of(name) | {"consumer": person})
    caller.ask("GET", f"/v1/claims/by-key/{PERSON}")
    caller.ask("GET", f"/v1/claims/{PERSON}", headers={"X-Request-Id": PERSON})
    caller.ask("GET", "/v1/claims", params={"order_no": PERSON, "cursor": PERSON})
    caller.ask("GET", "/v1/budgets", headers={"Authorization": f"Bearer {STRANGER}"})
    caller.ask("GET", f"/{PERSON}")
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    caller.ask("GET", "/v1/claims", headers={**upgrade, "Sec-WebSocket-Key": "A" * 22 + "=="})
    for path in ("/healthz", "/readyz", "/metrics"):
        caller.ask("GET", path)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_no_secret_leaks_whatever_breaks(tmp_path: Path) -> None:
    storm = Storm(tmp_path, seed=4, BUTIE_LOG_LEVEL="debug")
    with storm.up():
        caller = Caller(storm)
        talk(caller, "sound")
        storm.valkey.freeze(True)
        talk(caller, "no-gate")
        storm.valkey.freeze(False)
        storm.postgres.kill()
        talk(caller, "no-ledger")
        storm.start_postgres()
        secrets = {
            "API key": storm.key,
            "stranger's key": STRANGER,
            "ID number": PERSON,
            "mistyped ID number": MISTYPED,
            "PII key": PII_KEY,
            "database password": storm.postgres.password,
            "Redis password": storm.valkey.password,
        }
    outputs = {"the log": storm.log(), "an answer": "\n".join(caller.answers)}
    assert '"status": 201' in outputs["the log"]
    assert '"status": 503' in outputs["the log"]
    for name, secret in secrets.items():
        for output, text in outputs.items():
            assert secret not in text, f"{name} in {output}"
