"""A real Prometheus for a test, and queries to it."""

import json
import os
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.serve.sandbox import free_port

PROMETHEUS = Path(__file__).parents[2] / "deploy" / "prometheus"
DAY_S = 86_400
SHANGHAI_S = 8 * 3600


@dataclass(frozen=True)
class Prometheus:
    base_url: str

    def get(self, path: str, **query: Any) -> Any:
        """The data of an answer. Raises AssertionError with Prometheus's own message."""
        url = f"{self.base_url}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        try:
            with urllib.request.urlopen(url, timeout=60) as response:
                answer = json.load(response)
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{query}: {error.read().decode()}") from None
        assert answer["status"] == "success", answer
        return answer["data"]

    def panel(self, panel: dict[str, Any], target: dict[str, Any]) -> list[dict[str, Any]]:
        """The series of a panel's query over the last minutes, sent as Grafana sends it."""
        expr = target["expr"].replace("$__rate_interval", "10s")
        if target["instant"]:
            instant = self.get("query", query=expr)["result"]
            return [{**series, "values": [series["value"]]} for series in instant]
        now = time.time()
        start, step = now - 180, 2.0
        if panel.get("interval") == "1d":  # the dashboard's days begin at Shanghai's midnight
            midnight = (now + SHANGHAI_S) // DAY_S * DAY_S - SHANGHAI_S
            now, start, step = midnight, midnight - 3 * DAY_S, float(DAY_S)
        result = self.get("query_range", query=expr, start=start, end=now, step=step)["result"]
        return list(result)


@contextmanager
def scraping(folder: Path, target: str) -> Iterator[Prometheus]:
    """A Prometheus with the rules of `deploy/` that scrapes this one service every second."""
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    config["global"] |= {"scrape_interval": "1s", "evaluation_interval": "2s"}
    config["rule_files"] = [str(PROMETHEUS / "rules" / "*.yml")]
    config["scrape_configs"][0]["static_configs"] = [{"targets": [target]}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    port = free_port()
    with (folder / "prometheus.txt").open("w") as output:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'tsdb'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=output,
            stderr=output,
            env={"PATH": os.environ["PATH"]},
        )
    try:
        deadline = time.monotonic() + 60
        while True:
            assert process.poll() is None, (folder / "prometheus.txt").read_text()
            assert time.monotonic() < deadline, (folder / "prometheus.txt").read_text()
            with suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=1)
                break
            time.sleep(0.1)
        yield Prometheus(f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait(30)
