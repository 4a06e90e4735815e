"""Who calls, and what the key may do."""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer

from service.api.edge import header, is_repeated
from service.claims.claim import Seller, SellerStanding
from service.core.sentences import Sentence
from service.retailers.directory import Caller, Directory
from service.retailers.keys import Scope
from service.retailers.limiter import TooMany
from service.wiring import Service


class Refusal(Exception):
    """Ends a request with the problem of this code. `why` replaces the problem's usual sentence."""

    def __init__(self, code: str, why: Sentence | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.why = why


async def service_of(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


ServiceOf = Annotated[Service, Depends(service_of)]
_bearer = HTTPBearer(auto_error=False, description="an API key of the right scope")


def allowed(*scopes: Scope) -> Callable[..., Awaitable[Caller]]:
    """A dependency, called directly by a shortcut: the caller, whose key must have one of the
    scopes. Raises as `check_key` does."""

    async def caller(
        request: Request,
        service: ServiceOf,
        _: Annotated[object, Security(_bearer)] = None,  # only for the API document
    ) -> Caller:
        scheme, _, secret = header(request, b"authorization").partition(" ")
        bearer = scheme.lower() == "bearer" and not is_repeated(request, b"authorization")
        return await check_key(request, service, secret.strip() if bearer else "", *scopes)

    return caller


async def check_key(request: Request, service: Service, secret: str, *scopes: Scope) -> Caller:
    """The owner of the key, which must have one of the scopes. Raises Refusal, TooMany or
    LedgerAway."""
    caller = await service.callers.directory.caller(secret) if secret else None
    if caller is None:
        raise Refusal("unauthorized")
    if caller.scopes.isdisjoint(scopes):
        raise Refusal("missing_scope")
    if service.callers.limiter is not None:
        try:
            request.scope["butie.rate_headers"] = await service.callers.limiter.take(caller.key_id)
        except TooMany as error:
            request.scope["butie.rate_headers"] = error.headers
            raise
    return caller


# One dependency a set of scopes: FastAPI calls it once for each request, and the rate limiter
# counts that.
may_claim = allowed("claims")
may_finance = allowed("finance")
may_find_claims = allowed("claims", "claims:read")
may_find_persons = allowed("claims:read")
may_read_settlements = allowed("finance", "claims")
may_read_budgets = allowed("budgets:read")
is_admin = allowed("admin")
MayClaim = Annotated[Caller, Depends(may_claim)]
MayFinance = Annotated[Caller, Depends(may_finance)]
MayFindClaims = Annotated[Caller, Depends(may_find_claims)]
MayFindPersons = Annotated[Caller, Depends(may_find_persons)]
MayReadSettlements = Annotated[Caller, Depends(may_read_settlements)]
IsAdmin = Annotated[Caller, Depends(is_admin)]


def own_retailer(caller: Caller) -> str:
    """The retailer of a caller with the claims scope, which only a retailer's key has."""
    assert caller.retailer_id is not None, "Bug! The claims scope needs a retailer."
    return caller.retailer_id


async def till(directory: Directory, caller: Caller, store_id: str) -> SellerStanding:
    """The store as a claim's seller, and whether it may sell under the subsidy now."""
    seller = Seller(own_retailer(caller), store_id)
    store = await directory.store(store_id)
    if store is None:
        return SellerStanding(seller, "unknown")
    if store.retailer_id != caller.retailer_id:
        raise Refusal("foreign_store")
    if caller.retailer_state != "active":
        return SellerStanding(seller, "retailer_suspended")
    return SellerStanding(seller, "" if store.state == "active" else "suspended")
