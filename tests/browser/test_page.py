"""The budget page in a real Chromium."""

from pathlib import Path
from typing import Any

import pytest

from service.board.form import day, money
from service.board.words import BOARD_WORDS
from tests.browser.conftest import Site, wait_for
from tests.browser.seed import TODAY
from tests.serve.sandbox import family, paste

pytestmark = [pytest.mark.browser, pytest.mark.long, pytest.mark.timeout(600)]

AXE = Path(__file__).parent / "node_modules" / "axe-core" / "axe.min.js"
SIZES = {"phone": (390, 844), "desk": (1280, 800), "wall": (1920, 1080), "big wall": (3840, 2160)}
LOOKS = [(scheme, lang) for scheme in ("light", "dark") for lang in ("zh", "en")]


def number(page: Any, selector: str) -> int:
    return int(page.locator(selector).get_attribute("value"))


def notice(page: Any) -> str:
    return str(page.locator("#notice").text_content()).strip()


@pytest.mark.parametrize("language", ["zh", "en"])
def test_what_it_shows_is_what_the_api_says(site: Site, visit: Any, language: Any) -> None:
    with visit() as window:
        page = window.go(f"?lang={language}")
        budgets = site.read("/v1/budgets")["budgets"]
        assert page.locator("tbody tr").count() == len(budgets) == 6
        for budget in budgets:
            row = f"#pool-{budget['pool']}"
            left_fen = budget["remaining_fen"]
            assert number(page, f"{row} .left data") == left_fen
            assert page.locator(f"{row} .left data").inner_text() == money(left_fen, language)
            left = left_fen * 1000 // budget["allocated_fen"]
            assert page.locator(f"{row} .percent").inner_text() == f"{left // 10}.{left % 10} %"
            assert number(page, f"{row} progress") == left
            forecast = site.read(f"/v1/budgets/{budget['pool']}/forecast")
            dates = page.locator(f"{row} .day time")
            assert dates.count() == (forecast["outlook"] == "runs_out")
            if forecast["outlook"] == "runs_out":
                assert dates.get_attribute("datetime") == forecast["median_on"]
                for on in (forecast["earliest_on"], forecast["median_on"], forecast["latest_on"]):
                    assert (
                        day(type(TODAY).fromisoformat(on), TODAY, language)
                        in page.locator(f"{row} .day").inner_text()
                    )
        assert number(page, "#sum-left") == sum(budget["remaining_fen"] for budget in budgets)
        assert page.locator(".day time").count() >= 3


def test_a_claim_shows_without_a_reload(site: Site, visit: Any) -> None:
    with visit() as window:
        page = window.go()
        before_fen = number(page, "#sum-left")
        page.evaluate("window.same = true")
        claim = paste(site.output)
        wait_for(lambda: number(page, "#sum-left") != before_fen)
        assert number(page, "#sum-left") == before_fen - claim["subsidy_fen"]
        assert number(page, "#sum-today") == claim["subsidy_fen"]
        assert page.evaluate("window.same") is True
        assert site.read("/v1/budgets/appliances")["remaining_fen"] == number(
            page, "#pool-appliances .left data"
        )


def test_without_javascript_the_page_is_whole_and_reloads_by_itself(site: Site, visit: Any) -> None:
    with visit(java_script_enabled=False) as window:
        page = window.go()
        assert page.locator("tbody tr").count() == 6
        assert page.locator("#chart path.line").count() == 1
        shown = page.locator("#updated").get_attribute("datetime")
        wait_for(lambda: page.locator("#updated").get_attribute("datetime") != shown)


@pytest.mark.parametrize(("scheme", "language"), LOOKS)
@pytest.mark.parametrize("view", ["full", "public"])
def test_axe_finds_no_fault_in_contrast_labels_and_roles(
    visit: Any, scheme: str, language: str, view: str
) -> None:
    if not AXE.exists():
        pytest.skip("make test-browser installs axe-core")
    for width, height in (SIZES["phone"], SIZES["wall"]):
        size = {"width": width, "height": height}
        with visit(color_scheme=scheme, viewport=size) as window:
            page = window.go(f"?lang={language}&view={view}")
            page.evaluate(AXE.read_text(encoding="utf-8"))
            report = page.evaluate("axe.run()")
            violations = [
                (rule["id"], [node["html"] for node in rule["nodes"]])
                for rule in report["violations"]
            ]
            assert violations == []
            passed = {rule["id"] for rule in report["passes"]}
            assert {"color-contrast", "document-title", "html-has-lang"} <= passed


@pytest.mark.parametrize("size", SIZES)
def test_pictures_of_it_fit_their_screens(visit: Any, size: str, tmp_path: Path) -> None:
    width, height = SIZES[size]
    for scheme, language in LOOKS:
        viewport = {"width": width, "height": height}
        with visit(color_scheme=scheme, viewport=viewport) as window:
            for view in ("full", "public"):
                page = window.go(f"?lang={language}&view={view}")
                picture = tmp_path / f"{size}-{scheme}-{language}-{view}.png"
                page.screenshot(path=picture, full_page=True)
                assert picture.stat().st_size > 20_000
                assert page.evaluate("document.documentElement.scrollWidth") <= width
                if "wall" in size:
                    assert page.evaluate("document.documentElement.scrollHeight") <= height
                cut = page.evaluate(
                    "[...document.querySelectorAll('data, time, tbody th, .percent, h1')]"
                    f".filter(one => one.getBoundingClientRect().right > {width}"
                    " || one.scrollWidth > one.clientWidth + 1 && one.clientWidth > 1)"
                    ".map(one => one.textContent)"
                )
                assert cut == []


def test_a_notice_appears_when_the_connection_is_lost_and_goes_when_it_is_back(visit: Any) -> None:
    with visit(quiet=False) as window:
        page = window.go()
        assert page.locator("#notice").get_attribute("aria-live") == "polite"
        window.context.set_offline(True)
        wait_for(lambda: notice(page) == BOARD_WORDS["lost"].zh)
        assert page.locator("tbody tr").count() == 6
        window.context.set_offline(False)
        wait_for(lambda: notice(page) == "")


def test_with_postgres_stopped_the_last_figures_stay_with_a_notice(site: Site, visit: Any) -> None:
    engine = [process for process in family(site.process) if process.name() == "postgres"]
    assert engine
    with visit() as window:
        page = window.go()
        left_fen = number(page, "#sum-left")
        for process in engine:
            process.suspend()
        try:
            sentence = BOARD_WORDS["stale"].zh.partition("{")[0]
            wait_for(lambda: notice(page).startswith(sentence))
            assert number(page, "#sum-left") == left_fen
        finally:
            for process in engine:
                process.resume()
        wait_for(lambda: notice(page) == "")


def test_without_a_key_the_private_page_is_closed(chromium: Any, site: Site) -> None:
    context = chromium.new_context()
    assert context.request.get(f"{site.base_url}/board").status == 401
    context.close()
