"""The budget page: its text in both languages, who may see it, and its cost."""

import re
from base64 import b64encode
from datetime import date, datetime, timedelta
from html import unescape
from typing import Any

import httpx
import pytest

from service.board import chart, form
from service.board.figures import BoardFigures, PoolFigures
from service.board.page import render
from service.board.words import BOARD_WORDS, OUTLOOKS
from service.core.calendar import SHANGHAI
from service.core.forecast import Forecast, Outlook
from service.core.sentences import Sentence
from service.db.engine import LedgerAway
from service.pools.watch import BudgetWatch
from tests.conftest import House

AT = datetime(2025, 6, 18, 15, 42, tzinfo=SHANGHAI)
TODAY = AT.date()


def pool(outlook: Outlook = "runs_out", **figures: Any) -> PoolFigures:
    days = (
        (TODAY + timedelta(3), TODAY + timedelta(5), None) if outlook == "runs_out" else (None,) * 3
    )
    return PoolFigures(
        **{
            "pool": "cars",
            "name": Sentence("汽车", "Cars <b>"),
            "allocated_fen": 100_000_000,
            "remaining_fen": 62_345_678,
            "reserved_fen": 0,
            "today_fen": 1_234_567,
            "next_opens_at": None,
            "next_fen": 0,
            "ends_on": date(2025, 12, 31),
            "forecast": Forecast(outlook, *days, 5, 9),
            **figures,
        }
    )


def page(*pools: PoolFigures, language: Any = "zh", view: Any = "full", stale: bool = False) -> str:
    figures = BoardFigures(
        at=AT,
        policy=Sentence("政策", "A policy"),
        pools=pools,
        line=[(AT, 1_234_567)],
        usual_fen=2_000_000,
        claims_per_minute=7,
        sandbox=False,
    )
    return render(figures, view=view, section="page", language=language, stale=stale).decode()


def text(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", html)).split())


# --- the text ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fen", "zh", "en"),
    [
        (0, "0 元", "¥0"),
        (99_999, "999.99 元", "¥999"),
        (999_999, "9,999.99 元", "¥9,999"),
        (1_000_000, "1.00 万元", "¥10,000"),
        (1_999_880_020, "1,999.88 万元", "¥19,998,800"),
        (-150, "-1.50 元", "-¥1"),
    ],
)
def test_money_is_never_shown_as_more_than_it_is(fen: int, zh: str, en: str) -> None:
    assert (form.money(fen, "zh"), form.money(fen, "en")) == (zh, en)


@pytest.mark.parametrize("outlook", [*OUTLOOKS, "runs_out"])
@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("view", ["full", "public"])
def test_every_outlook_has_its_words_in_both_languages(
    outlook: Outlook, language: Any, view: Any
) -> None:
    html = page(pool(outlook), language=language, view=view)
    assert f'<html lang="{BOARD_WORDS["lang"].in_language(language)}">' in html
    if view == "full":
        sentence = OUTLOOKS.get(outlook, Sentence("6月23日", "23 Jun"))
        assert sentence.in_language(language) in text(html)


def test_a_name_cannot_bring_markup_into_the_page() -> None:
    assert "Cars &lt;b&gt;" in page(pool(), language="en")


def test_the_page_has_no_script_or_style_within_and_no_other_host() -> None:
    html = page(pool())
    assert (
        "<style" not in html
        and " style=" not in html
        and "http" not in html.replace("http-equiv", "")
    )
    assert re.findall(r"<script[^>]*>(.*?)</script>", html) == [""]
    assert '<noscript><meta http-equiv="refresh"' in html


def test_the_public_view_has_shares_and_states_and_no_amount() -> None:
    public = pool(next_opens_at=datetime(2025, 7, 1, tzinfo=SHANGHAI), next_fen=5)
    shown = text(page(public, view="public"))
    assert "62 %" in shown and "可申领" in shown and "7月1日 开放下一批" in shown
    for hidden in ("元", "6月23日", "62.3", "每分钟", "今日支出"):
        assert hidden not in shown.replace("工作人员入口", "")
    html = page(public, view="public")
    assert "62345678" not in html and "<svg" not in html


@pytest.mark.parametrize(
    ("remaining_fen", "share", "state"),
    [(0, "0 %", "已用完"), (1, "不足 1 %", "即将用完"), (4_999_999, "4 %", "即将用完"),
     (5_000_000, "5 %", "可申领")],
)  # fmt: skip
def test_the_public_view_warns_when_little_is_left(
    remaining_fen: int, share: str, state: str
) -> None:
    outlook: Outlook = "lasts" if remaining_fen else "empty"
    shown = text(page(pool(outlook, remaining_fen=remaining_fen), view="public"))
    assert share in shown and state in shown


def test_the_line_begins_at_six_and_ends_now() -> None:
    midnight = datetime(2025, 6, 18, tzinfo=SHANGHAI)
    drawn = chart.draw([(midnight, 0), (midnight.replace(hour=15), 50), (AT, 100)], 200)
    assert drawn is not None and drawn.usual_y is not None
    assert drawn.path.startswith(f"M0 {chart.HEIGHT} L500 ")
    assert drawn.last_x == int((15.7 - 6) / 18 * chart.WIDTH)
    assert 0 < drawn.usual_y < drawn.last_y < chart.HEIGHT
    assert chart.draw([(midnight, -5), (AT, -9)], None) is not None


# --- access -----------------------------------------------------------------------------


def basic(key: str) -> dict[str, str]:
    return {"Authorization": "Basic " + b64encode(f"any:{key}".encode()).decode()}


async def visit(app: Any, path: str = "/board", **headers: str) -> httpx.Response:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        return await client.get(path, headers=headers)


def watch_of(app: Any) -> BudgetWatch:
    """A watch that only the page uses. The worker's own watch reads in the background as well."""
    service = app.state.service
    watch = BudgetWatch(service.engine, service.reports, service.book, service.clock)
    object.__setattr__(service.pools, "watch", watch)
    return watch


@pytest.mark.anyio
async def test_who_sees_what_is_a_setting(house: House) -> None:
    views = {"": "full", "?view=full": "full", "?view=public": "public"}
    answers: dict[str, list[str]] = {}
    for mode in ("open", "private", "public", "off"):
        app = await house.open_worker(board=mode)
        await app.state.service.pools.watch.run_once()
        for key in ("", house.keys["bureau"], house.keys["pos"]):
            for query in views:
                for path in ("/board", "/board/figures"):
                    answer = await visit(app, path + query, **(basic(key) if key else {}))
                    view = str(answer.status_code)
                    if answer.status_code == 200:
                        view = "full" if "<data" in answer.text else "public"
                    answers.setdefault(mode, []).append(view)
    twice = [view for view in ("full", "full", "public") for _ in range(2)]
    denied = ["401"] * 6
    assert answers["open"] == twice * 3
    assert answers["private"] == denied + twice + denied
    half = ["public"] * 2 + ["401"] * 2 + ["public"] * 2
    assert answers["public"] == half + ["public"] * 2 + ["full"] * 2 + ["public"] * 2 + half
    assert answers["off"] == ["404"] * 18


@pytest.mark.anyio
async def test_outside_the_sandbox_the_board_is_private_by_default(house: House) -> None:
    production = house.settings.model_copy(update={"sandbox_offset_s": None})
    assert (house.settings.board_mode, production.board_mode) == ("open", "private")
    assert production.model_copy(update={"board": "public"}).board_mode == "public"


@pytest.mark.anyio
async def test_a_browser_is_asked_for_a_key(house: House) -> None:
    app = await house.open_worker(board="private")
    await app.state.service.pools.watch.run_once()
    asked = await visit(app)
    assert (asked.status_code, asked.headers["www-authenticate"].split()[0]) == (401, "Basic")
    for wrong in ("Basic ###", "Basic YQ==", "Bearer no"):
        assert (await visit(app, Authorization=wrong)).status_code == 401
    bearer = f"Bearer {house.keys['bureau']}"
    assert (await visit(app, Authorization=bearer)).status_code == 200


@pytest.mark.anyio
async def test_the_page_loads_only_its_own_files(house: House) -> None:
    answer = await visit(house.app)
    policy = answer.headers.get_list("content-security-policy")
    assert len(policy) == 1 and "unsafe" not in policy[0] and "default-src 'none'" in policy[0]
    assert answer.headers["cache-control"] == "no-store"
    for address in re.findall(r'(?:href|src)="(/board/[^"]+)"', answer.text):
        file = await visit(house.app, address)
        assert file.status_code == 200
        assert "immutable" in file.headers["cache-control"]
        stranger = await visit(house.app, re.sub(r"/[0-9a-f]+\.", "/0.", address))
        assert stranger.headers["cache-control"] == "no-store"


@pytest.mark.anyio
async def test_the_language_is_asked_for_or_the_browsers(house: House) -> None:
    english = {"Accept-Language": "en-GB,en;q=0.9"}
    assert 'lang="zh-CN"' in (await visit(house.app)).text
    assert '<html lang="en"' in (await visit(house.app, **english)).text
    assert '<html lang="zh-CN"' in (await visit(house.app, "/board?lang=zh", **english)).text
    assert (await visit(house.app, "/board?lang=xx")).status_code == 422


# --- the cost ---------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_crowd_on_the_public_page_asks_the_ledger_once(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = await house.open_worker(board="public")
    watch = watch_of(app)
    await watch.run_once()
    read = []
    reading = watch._read

    async def counted() -> Any:
        read.append(1)
        return await reading()

    monkeypatch.setattr(watch, "_read", counted)
    monkeypatch.setattr(watch, "_tried_s", float("-inf"))
    bodies = {(await visit(app)).content for _ in range(50)}
    assert len(read) <= 2  # the second, if this took more than two seconds
    assert len(bodies) <= 2
    assert (await visit(app)).headers["cache-control"] == "public, max-age=2"


@pytest.mark.anyio
async def test_without_a_ledger_the_page_shows_the_last_figures_and_says_so(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = await house.open_worker(board="private")
    watch = watch_of(app)
    await watch.run_once()
    bureau = basic(house.keys["bureau"])
    assert BOARD_WORDS["stale"].zh[:6] not in (await visit(app, **bureau)).text

    async def away(*_: Any) -> Any:
        raise LedgerAway("cut")

    monkeypatch.setattr(watch, "_read", away)
    monkeypatch.setattr(watch, "_tried_s", float("-inf"))
    monkeypatch.setattr(app.state.service.callers.directory, "caller", away)
    answer = await visit(app, **bureau)
    assert answer.status_code == 200
    assert BOARD_WORDS["stale"].zh[:6] in answer.text and "2,000.00 万元" in answer.text
    assert (await visit(app, **basic("butie_stranger"))).status_code == 503
    monkeypatch.setattr(watch, "last", None)
    assert BOARD_WORDS["nothing"].zh in (await visit(app, **bureau)).text
