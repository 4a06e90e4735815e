"""Many claims in one request, for a chain's gateway and for tills that were offline."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Annotated, Any, assert_never

import structlog
from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, FailFast, Field, TypeAdapter, ValidationError
from pydantic_core import from_json, to_json
from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from service.api.auth import Refusal, may_claim, till
from service.api.bodies import (
    COMMAS_MAX,
    InvalidBody,
    each_name_once,
    invalid,
    names_of_model_once,
    serial_formats,
    takes,
)
from service.api.edge import BodyTooLarge
from service.api.idempotency import KEY_PATTERN
from service.api.invalid import invalid_fields, summary, telling
from service.api.problems import (
    Problem,
    documented,
    language_of,
    problem_body,
    reason_bodies,
    request_id_of,
)
from service.batcher import Overloaded
from service.claims.claim import Claim, SellerStanding
from service.claims.outcomes import (
    GateAway,
    Granted,
    KeyReused,
    Outcome,
    Refused,
    Replayed,
)
from service.core.checkout import Checkout, SerialFormats, Strict
from service.core.sentences import Language
from service.db.engine import LedgerAway
from service.retailers.directory import Caller
from service.wiring import Service

log = structlog.get_logger()

router = APIRouter(prefix="/v1/claims", tags=["claims"])

CLAIMS_MAX = 500


class KeyedCheckout(Strict):
    """One claim of a batch, with the key that its own request would have."""

    idempotency_key: str = Field(pattern=KEY_PATTERN)
    checkout: Checkout


class BatchBody(Strict):
    # Stops at the first bad claim: each one is then read separately.
    claims: Annotated[tuple[KeyedCheckout, ...], FailFast()] = Field(
        min_length=1, max_length=CLAIMS_MAX
    )


class BatchResult(BaseModel):
    """The answer that this claim would have got alone: its status, and the claim or the problem."""

    idempotency_key: str | None
    status: int
    replayed: bool = False
    claim: Claim | None = None
    problem: Problem | None = None


class BatchAnswer(BaseModel):
    """One result for each claim, in the order of the request."""

    results: list[BatchResult]


@dataclass(frozen=True, slots=True)
class BadClaim:
    """A claim of a batch that is not valid: its key, if it has one, and its errors."""

    idempotency_key: str | None
    errors: Sequence[Mapping[str, Any]]
    about_key: bool


class _Result(TypedDict, total=False):
    """A BatchResult, with the members that it has and in their order. pydantic writes a known type
    twice as fast as any."""

    idempotency_key: str | None
    status: int
    replayed: bool
    claim: Claim
    problem: dict[str, Any]


RESULTS = TypeAdapter(dict[str, list[_Result]])
BATCH_ROUTE = SimpleNamespace(path="/v1/claims/batch")


# A shortcut, as `create_claim`.
@router.post(
    "/batch",
    response_model=BatchAnswer,
    responses=documented(
        "unauthorized",
        "missing_scope",
        "ledger_unavailable",
        "malformed_request",
        "body_too_large",
        "invalid_field",
    ),
    dependencies=[Depends(may_claim)],
    openapi_extra=takes(BatchBody),
)
async def create_claims(request: Request) -> Response:
    """Up to 500 claims, each as if it were sent alone; a bad one does not affect the others."""
    request.scope["route"] = BATCH_ROUTE
    service: Service = request.app.state.service
    caller = await may_claim(request, service)
    claims = await read_batch(await request.body(), serial_formats(request))
    answers = _Answers(service, caller, language_of(request), request_id_of(request))
    results = await answers.answer_all(claims)
    return Response(RESULTS.dump_json({"results": results}), media_type="application/json")


async def read_batch(body: bytes, formats: SerialFormats | None) -> list[KeyedCheckout | BadClaim]:
    """Each claim of the body, valid or not. Raises InvalidBody or BodyTooLarge for the body as a
    whole."""
    if body.count(b",") > COMMAS_MAX:
        _check_commas(body)
    try:
        whole = BatchBody.model_validate_json(body, context=formats)
    except ValidationError as error:
        errors = telling(error.errors(include_url=False, include_input=False))
        if any(len(error["loc"]) < 2 or error["loc"][0] != "claims" for error in errors):
            raise InvalidBody(error) from None
        raw = from_json(body)["claims"]
        _check_count(raw)
        claims: list[KeyedCheckout | BadClaim] = []
        for claim in raw:
            claims.append(_read_one(claim, formats))
            await asyncio.sleep(0)  # other requests run between hundreds of bad claims
        each_name_once(body)
        return claims
    names_of_model_once(body, whole)
    return list(whole.claims)


def _check_commas(body: bytes) -> None:
    try:
        whole = from_json(body)
    except ValueError:
        return  # the caller reports it when it validates the body
    claims = whole.get("claims") if isinstance(whole, dict) else None
    if not isinstance(claims, list):
        raise BodyTooLarge
    _check_count(claims)
    if any(to_json(claim).count(b",") > COMMAS_MAX for claim in claims):
        raise BodyTooLarge


def _check_count(claims: Sequence[Any]) -> None:
    if len(claims) > CLAIMS_MAX:
        raise invalid("too_long", "claims", max_length=CLAIMS_MAX)


def _read_one(raw: Any, formats: SerialFormats | None) -> KeyedCheckout | BadClaim:
    try:
        return KeyedCheckout.model_validate_json(to_json(raw), context=formats)
    except ValidationError as error:
        return _bad(raw, telling(error.errors(include_url=False, include_input=False)))


def _bad(raw: Any, errors: Sequence[Mapping[str, Any]]) -> BadClaim:
    about_key = any(error["loc"][:1] == ("idempotency_key",) for error in errors)
    key = raw.get("idempotency_key") if isinstance(raw, dict) else None
    return BadClaim(key if isinstance(key, str) else None, errors, about_key)


@dataclass(frozen=True, slots=True)
class _Answers:
    service: Service
    caller: Caller
    language: Language
    request_id: str

    async def answer_all(self, claims: Sequence[KeyedCheckout | BadClaim]) -> list[_Result]:
        """The result of each claim, in order."""
        tills = await self._tills(claims)
        asked = [
            (seller, claim.idempotency_key, claim.checkout)
            for claim in claims
            if isinstance(claim, KeyedCheckout)
            and isinstance(seller := tills[claim.checkout.store_id], SellerStanding)
        ]
        outcomes = iter(await self.service.claims.path.claims(asked))
        results = []
        for claim in claims:
            if isinstance(claim, BadClaim):
                results.append(self._bad(claim))
                continue
            seller = tills[claim.checkout.store_id]
            answer = next(outcomes) if isinstance(seller, SellerStanding) else seller
            results.append(self._result(claim, answer))
        return results

    async def _tills(
        self, claims: Sequence[KeyedCheckout | BadClaim]
    ) -> dict[str, SellerStanding | Refusal | LedgerAway]:
        """Each store that claims come from, or why none of it is taken."""
        tills: dict[str, SellerStanding | Refusal | LedgerAway] = {}
        for claim in claims:
            if isinstance(claim, BadClaim) or claim.checkout.store_id in tills:
                continue
            store_id = claim.checkout.store_id
            try:
                tills[store_id] = await till(self.service.callers.directory, self.caller, store_id)
            except (Refusal, LedgerAway) as fault:
                tills[store_id] = fault
        return tills

    def _result(self, claim: KeyedCheckout, answer: Outcome | Exception) -> _Result:
        key = claim.idempotency_key
        match answer:
            case Refusal(code=code):
                return self._problem(key, code)
            case Overloaded():
                return self._problem(key, "overloaded")
            case LedgerAway():
                return self._problem(key, "ledger_unavailable")
            case GateAway():
                return self._problem(key, "gate_unavailable")
            case Exception():
                log.error("bug", exc_info=answer)
                return self._problem(key, "internal_error")
        self.service.claims.tally.count(claim.checkout, answer)
        return self._outcome(key, answer)

    def _outcome(self, key: str | None, outcome: Outcome) -> _Result:
        match outcome:
            case Granted(claim):
                return {"idempotency_key": key, "status": 201, "replayed": False, "claim": claim}
            case Replayed(claim):
                return {"idempotency_key": key, "status": 201, "replayed": True, "claim": claim}
            case Refused(reasons):
                bodies = reason_bodies(reasons, self.language)
                return self._problem(key, "claim_refused", reasons=bodies)
            case KeyReused():
                return self._problem(key, "idempotency_key_reused")
        assert_never(outcome)

    def _bad(self, claim: BadClaim) -> _Result:
        if claim.about_key:
            return self._problem(claim.idempotency_key, "invalid_idempotency_key")
        fields = invalid_fields(claim.errors, self.language)
        return self._problem(
            claim.idempotency_key, "invalid_field", detail=summary(fields), fields=fields
        )

    def _problem(self, key: str | None, code: str, **more: Any) -> _Result:
        body = problem_body(code, self.language, self.request_id, **more)
        return {
            "idempotency_key": key,
            "status": body["status"],
            "replayed": False,
            "problem": body,
        }
