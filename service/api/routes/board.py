"""The budget page: the whole of it for the bureau, a public view for everybody else."""

import base64
import hashlib
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse, Response

from service.api.auth import Refusal, ServiceOf, check_key
from service.api.problems import documented, language_of, problem
from service.board.page import BoardView, Section, asset, assets_version, render
from service.board.view import figures_of
from service.core.sentences import Language
from service.db.engine import LedgerAway
from service.pools.watch import BudgetView
from service.wiring import Service

# Its own files and nothing else: no script or style within the page, no other host.
CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
CHALLENGE = 'Basic realm="Butie: any name, and as password a key with budgets:read"'

# The ledger knows the keys. While it is away, a wall screen whose key was good a moment ago keeps
# its figures for the length of an outage.
KEY_REMEMBERED_S = 3600
KEYS_MAX = 1000

router = APIRouter(tags=["operations"])


@dataclass(slots=True)
class Pages:
    """What one worker has rendered, and the keys that opened the page. Between two reads of the
    ledger every visitor gets the same bytes."""

    rendered: dict[tuple[BoardView, Section, Language], tuple[BudgetView | None, bool, bytes]] = (
        field(default_factory=dict)
    )
    keys: dict[bytes, float] = field(default_factory=dict)


async def pages_of(request: Request) -> Pages:
    pages: Pages = request.app.state.pages
    return pages


PagesOf = Annotated[Pages, Depends(pages_of)]


class NeedsKey(Exception):
    """The page needs a key, and the request has no valid one."""


async def view_of(
    request: Request, service: ServiceOf, pages: PagesOf, view: BoardView | None = None
) -> BoardView:
    """The view that the caller asks for and may see. Raises NeedsKey, Refusal or LedgerAway."""
    mode = service.settings.board_mode
    if mode == "off":
        raise Refusal("not_found")
    asked: BoardView = view or ("public" if mode == "public" else "full")
    if mode == "private" or (mode == "public" and asked == "full"):
        await _check(request, service, pages)
    return asked


async def _check(request: Request, service: Service, pages: Pages) -> None:
    secret = _secret(request.headers.get("authorization", ""))
    digest = hashlib.sha256(secret.encode()).digest()
    try:
        await check_key(request, service, secret, "budgets:read")
    except LedgerAway:
        if time.monotonic() - pages.keys.get(digest, -KEY_REMEMBERED_S) >= KEY_REMEMBERED_S:
            raise
    except Refusal:
        raise NeedsKey from None
    else:
        if len(pages.keys) >= KEYS_MAX:
            pages.keys.clear()
        pages.keys[digest] = time.monotonic()


def _secret(authorization: str) -> str:
    """The key: a bearer token, or the password of a browser's basic authentication. Empty without
    one."""
    scheme, _, given = authorization.partition(" ")
    if scheme.lower() != "basic":
        return given.strip() if scheme.lower() == "bearer" else ""
    with suppress(ValueError):
        return base64.b64decode(given, validate=True).decode().partition(":")[2]
    return ""


ViewOf = Annotated[BoardView, Depends(view_of)]
Lang = Annotated[
    Language | None, Query(description="zh or en; without it, as Accept-Language prefers")
]
DOCUMENTED: dict[int | str, dict[str, Any]] = {
    **documented("invalid_field", "not_found", "unauthorized", "ledger_unavailable"),
    200: {"content": {"text/html": {"schema": {"type": "string"}}}},
}


@router.get("/board", response_class=HTMLResponse, responses=DOCUMENTED)
async def board(
    request: Request, service: ServiceOf, pages: PagesOf, view: ViewOf, lang: Lang = None
) -> Response:
    """The budget page. BUTIE_BOARD says who sees it; a browser asks for a key where one is
    needed (any name, the key as the password)."""
    return await _answer(service, pages, view, "page", lang or language_of(request))


@router.get("/board/figures", response_class=HTMLResponse, responses=DOCUMENTED)
async def board_figures(
    request: Request, service: ServiceOf, pages: PagesOf, view: ViewOf, lang: Lang = None
) -> Response:
    """The part of the budget page that changes; the page fetches it by itself."""
    return await _answer(service, pages, view, "figures", lang or language_of(request))


@router.get("/board/{version}.css", include_in_schema=False)
async def board_style(version: str) -> Response:
    return _asset("board.css", "text/css", version)


@router.get("/board/{version}.js", include_in_schema=False)
async def board_script(version: str) -> Response:
    return _asset("board.js", "text/javascript", version)


def _asset(name: str, media_type: str, version: str) -> Response:
    # While a release is rolled out, a page of the other version may ask for it. It gets ours, which
    # is not cached.
    lasting = "public, max-age=31536000, immutable"
    headers = {"Cache-Control": lasting if version == assets_version() else "no-store"}
    return Response(asset(name), headers=headers, media_type=media_type)


async def _answer(
    service: Service, pages: Pages, view: BoardView, section: Section, language: Language
) -> Response:
    budgets, stale = await service.pools.watch.newest()
    known = pages.rendered.get((view, section, language))
    if known is None or known[0] is not budgets or known[1] != stale:
        figures = (
            figures_of(budgets, service.book, sandbox=service.settings.sandbox) if budgets else None
        )
        body = render(figures, view=view, section=section, language=language, stale=stale)
        known = budgets, stale, body
        pages.rendered[view, section, language] = known
    headers = {"Content-Security-Policy": CONTENT_POLICY, "Vary": "Accept-Language"}
    if view == "public" and service.settings.board_mode != "private":
        headers["Cache-Control"] = "public, max-age=2"
    return HTMLResponse(known[2], headers=headers)


async def needs_key(request: Request, error: NeedsKey) -> Response:
    response = problem(request, "unauthorized")
    response.headers["WWW-Authenticate"] = CHALLENGE
    return response
