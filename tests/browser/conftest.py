"""A sandbox with past days, and a headless Chromium that opens its page."""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.browser.seed import fill
from tests.serve.sandbox import read, served

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")
# Chromium must send no requests of its own. Its sandbox does not work for root.
SWITCHES = [
    *("--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
    *(("--no-sandbox",) if os.geteuid() == 0 else ()),
]
PATIENCE_S = 90


@dataclass
class Site:
    """A sandbox that is running."""

    folder: Path
    output: Path
    base_url: str
    key: str
    process: Any

    def read(self, path: str) -> Any:
        return read(self.folder, path)


def wait_for(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < deadline, "the condition did not become true"
        time.sleep(0.25)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A sandbox with closed days and a forecast."""
    folder = tmp_path_factory.mktemp("board")
    with served(folder):
        fill(folder / "data")
    with served(folder, BUTIE_BOARD="private") as (process, output):
        access = json.loads((folder / "data" / "sandbox.json").read_text())
        site = Site(folder, output, access["base_url"], access["keys"]["bureau"], process)
        wait_for(lambda: site.read("/v1/budgets/cars/forecast")["days"] == 28)
        yield site


@pytest.fixture(scope="module")
def chromium(site: Site) -> Iterator[Any]:
    """Started after the site, because Playwright keeps an event loop in this thread."""
    playwright = pytest.importorskip("playwright.sync_api", reason="make test-browser installs it")
    if CHROMIUM is None:
        pytest.skip("there is no chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        yield browser
        browser.close()


class Visitor:
    """A browser window, with its errors and its requests to other hosts."""

    def __init__(self, context: Any, base_url: str) -> None:
        self.context = context
        self.base_url = base_url
        self.page = context.new_page()
        self.complaints: list[str] = []
        self.strangers: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", self._note)

    def _note(self, request: Any) -> None:
        if not request.url.startswith((self.base_url, "data:")):
            self.strangers.append(request.url)

    def go(self, query: str = "") -> Any:
        answer = self.page.goto(f"{self.base_url}/board{query}")
        assert answer.status == 200
        return self.page


@pytest.fixture
def visit(chromium: Any, site: Site) -> Iterator[Any]:
    """Opens windows. Fails at the end if one had an error, or sent a request to another host."""
    visitors: list[Visitor] = []

    @contextmanager
    def open_window(*, quiet: bool = True, **options: Any) -> Iterator[Visitor]:
        signed_in = {"username": "board", "password": site.key}
        context = chromium.new_context(
            **{"locale": "zh-CN", "http_credentials": signed_in, **options}
        )
        visitor = Visitor(context, site.base_url)
        yield visitor
        context.close()
        if quiet:
            visitors.append(visitor)

    yield open_window
    assert [visitor.complaints for visitor in visitors if visitor.complaints] == []
    assert [visitor.strangers for visitor in visitors if visitor.strangers] == []
