"""Who calls, and what the key may do."""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from service.api.edge import Call
from service.claims.claim import Seller, SellerStanding
from service.core.sentences import Sentence
from service.retailers.directory import Caller, Directory
from service.retailers.keys import Scope
from service.retailers.limiter import TooMany
from service.wiring import Service


class Refusal(Exception):
    """A request that ends here, as the problem of this code; `why` is its sentence where one can
    be told that says more."""

    def __init__(self, code: str, why: Sentence | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.why = why


async def service_of(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


ServiceOf = Annotated[Service, Depends(service_of)]
_bearer = HTTPBearer(auto_error=False, description="an API key of the right scope")


def allowed(scope: Scope) -> Callable[..., Awaitable[Caller]]:
    """A dependency: the caller, if the key is good and has the scope."""

    async def caller(
        request: Request,
        service: ServiceOf,
        bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
    ) -> Caller:
        secret = bearer.credentials if bearer else None
        return await check_key(request, service, secret, scope)

    return caller


async def caller_of(request: Call, service: Service, scope: Scope) -> Caller:
    """The caller, if the key is good and has the scope. Raises Refusal or TooMany."""
    scheme, _, secret = request.header(b"authorization").partition(" ")
    good = scheme.lower() == "bearer"
    return await check_key(request, service, secret.strip() if good else None, scope)


async def check_key(request: Request, service: Service, secret: str | None, scope: Scope) -> Caller:
    """Whose key it is, if it is good and has the scope. Raises Refusal, TooMany or LedgerAway."""
    found = await service.callers.directory.caller(secret) if secret else None
    if found is None:
        raise Refusal("unauthorized")
    if scope not in found.scopes:
        raise Refusal("missing_scope")
    if service.callers.limiter is not None:
        try:
            request.scope["butie.rate_headers"] = await service.callers.limiter.take(found.key_id)
        except TooMany as error:
            request.scope["butie.rate_headers"] = error.headers
            raise
    return found


MayClaim = Annotated[Caller, Depends(allowed("claims"))]


def own_retailer(caller: Caller) -> str:
    """The retailer of a caller with the claims scope."""
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
