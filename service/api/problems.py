"""Errors as RFC 9457 problems, each of a kind of `problem_kinds`.

A problem's `code` is stable. `title` and `detail` are for people: Chinese, unless the request
prefers English.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import JSONResponse

from service.api.problem_kinds import KINDS
from service.claims.outcomes import LineReasons
from service.core.reason_sentences import sentence
from service.core.sentences import Language

MEDIA_TYPE = "application/problem+json"


class ProblemReason(BaseModel):
    line_no: int
    code: str = Field(description="stable reason code")
    detail: str = Field(description="a sentence for the cashier")
    claim_id: str | None = Field(None, description="your own claim with this serial number")
    opens_at: datetime | None = Field(None, description="when the budget's next tranche opens")


class ProblemField(BaseModel):
    field: str = Field(description="path in the request, such as items.0.price_fen")
    detail: str


class Problem(BaseModel):
    """RFC 9457 problem details."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    retryable: bool
    request_id: str
    reasons: list[ProblemReason] | None = Field(None, description="with `claim_refused`")
    fields: list[ProblemField] | None = Field(
        None, description="with `invalid_field` and `bad_file`"
    )
    total_fen: int | None = Field(
        None, description="with `invoice_total_differs`: the total that was sent"
    )
    expected_fen: int | None = Field(
        None, description="with `invoice_total_differs`: the right total"
    )


def preferred_language(accept_language: str) -> Language:
    """Chinese, unless the header gives English the higher weight."""
    weights: dict[str, float] = {}
    for part in accept_language.lower().split(","):
        tag, _, weight = part.strip().partition(";q=")
        language = tag.split("-")[0].strip()
        try:
            weights.setdefault(language, float(weight or 1))
        except ValueError:
            continue
    return "en" if weights.get("en", 0.0) > weights.get("zh", 0.0) else "zh"


def language_of(request: Request) -> Language:
    return preferred_language(request.headers.get("accept-language", ""))


def request_id_of(request: Request) -> str:
    return str(request.scope.get("butie.request_id", ""))


def problem_body(
    code: str,
    language: Language,
    request_id: str,
    *,
    facts: Mapping[str, str] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """The problem's JSON object. `facts` fill the gaps of the kind's sentence. `more` replaces
    `detail`, or adds members such as `reasons`."""
    kind = KINDS[code]
    return {
        "type": f"urn:butie:problem:{code}",
        "title": kind.title[language],
        "status": kind.status,
        "detail": kind.detail[language].format_map(facts) if facts else kind.detail[language],
        "code": code,
        "retryable": kind.retryable,
        "request_id": request_id,
        **more,
    }


def problem(
    request: Request, code: str, *, retry_after_s: int | None = None, **more: Any
) -> JSONResponse:
    """The response to this request, with Retry-After and WWW-Authenticate where they belong."""
    kind = KINDS[code]
    wait_s = retry_after_s or kind.retry_after_s
    headers = {} if wait_s is None else {"Retry-After": str(wait_s)}
    if kind.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if kind.status == 415:
        headers["Accept-Encoding"] = "identity"
    body = problem_body(code, language_of(request), request_id_of(request), **more)
    return JSONResponse(body, kind.status, headers, MEDIA_TYPE)


def reason_bodies(reasons: LineReasons, language: Language) -> list[dict[str, Any]]:
    """The members of `reasons` in a problem or a quote."""
    return [
        {
            "line_no": line_no,
            "code": reason.code.value,
            "detail": sentence(reason, language),
            **{
                name: reason.facts[fact]
                for name, fact in (("claim_id", "claim_id"), ("opens_at", "opens_at_instant"))
                if fact in reason.facts
            },
        }
        for line_no, reason in reasons
    ]


def documented(*codes: str) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI responses of a route that answers with these problems, each with its example.
    `document` adds the problems that any route may answer with."""
    by_status: dict[int, list[str]] = {}
    for code in dict.fromkeys(codes):
        by_status.setdefault(KINDS[code].status, []).append(code)
    return {status: _documented(codes_of) for status, codes_of in by_status.items()}


def _documented(codes: Sequence[str]) -> dict[str, Any]:
    content = {
        "schema": {"$ref": "#/components/schemas/Problem"},
        "examples": {code: {"$ref": f"#/components/examples/{code}"} for code in codes},
    }
    return {
        "description": " or ".join(f"`{code}`" for code in codes),
        "content": {MEDIA_TYPE: content},
    }
