"""A sandbox with a past, and a headless Chromium that looks at it."""

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
# No look-ups of its own, and no sandbox where the tests run as root.
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
    said: Path
    base_url: str
    key: str
    process: Any

    def read(self, path: str) -> Any:
        return read(self.folder, path)


def wait_for(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.25)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Its past days are closed, and it has a forecast."""
    folder = tmp_path_factory.mktemp("board")
    with served(folder):
        fill(folder / "data")
    with served(folder, BUTIE_BOARD="private") as (process, said):
        known = json.loads((folder / "data" / "sandbox.json").read_text())
        site = Site(folder, said, known["base_url"], known["keys"]["bureau"], process)
        wait_for(lambda: site.read("/v1/budgets/cars/forecast")["days"] == 28)
        yield site


@pytest.fixture(scope="module")
def chromium(site: Site) -> Iterator[Any]:
    """After the site: Playwright keeps an event loop in this thread from here on."""
    playwright = pytest.importorskip("playwright.sync_api", reason="make test-browser installs it")
    if CHROMIUM is None:
        pytest.skip("there is no chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        yield browser
        browser.close()


class Visitor:
    """A browser window, and all that it complained of or asked others for."""

    def __init__(self, context: Any, base_url: str) -> None:
        self.context = context
        self.base_url = base_url
        self.page = context.new_page()
        self.complaints: list[str] = []
        self.strangers: list[str] = []
        self.page.on("console", lambda said: self.complaints.append(said.text))
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
    """Opens windows; at the end none may have complained, or asked another host for anything."""
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
    assert [one.complaints for one in visitors if one.complaints] == []
    assert [one.strangers for one in visitors if one.strangers] == []
