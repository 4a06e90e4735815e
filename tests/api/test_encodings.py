"""Compressed bodies: finance's files may be, and nothing else is taken for what it is not."""

import gzip

import pytest

from tests.builders import checkout_json
from tests.conftest import House
from tests.finance.reconciling import counts, ended

pytestmark = pytest.mark.anyio

QUERY = {"from": "2025-06-18", "to": "2025-06-18", "order_no": "order", "amount": "subsidy"}
FILE = b"order,subsidy\nGHOST-1,1.00\n"


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "gzip, gzip"])
async def test_a_claim_in_an_encoding_is_refused_and_nothing_is_kept(
    house: House, encoding: str
) -> None:
    async with house.client() as client:
        for path in ("/v1/claims", "/v1/claims/batch", "/v1/quotes"):
            answer = await client.post(
                path,
                content=gzip.compress(str(checkout_json()).encode()),
                headers={"Content-Encoding": encoding, "Idempotency-Key": "k"},
            )
            assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_encoding")
            assert answer.headers["Accept-Encoding"] == "identity"
    assert await house.sql("SELECT FROM claim") == []


async def test_identity_is_no_encoding(house: House) -> None:
    async with house.client() as client:
        answer = await client.post(
            "/v1/quotes", json=checkout_json(), headers={"Content-Encoding": "identity"}
        )
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    "content",
    [gzip.compress(FILE), gzip.compress(FILE[:20]) + gzip.compress(FILE[20:])],
    ids=["one", "two members"],
)
async def test_a_file_to_reconcile_may_be_compressed(house: House, content: bytes) -> None:
    async with house.client("finance") as client:
        answer = await client.post(
            "/v1/reconciliations",
            params=QUERY,
            content=content,
            headers={"Content-Encoding": "gzip"},
        )
    assert answer.status_code == 202, answer.text
    shown = await ended(house, answer.headers["Location"])
    assert counts(shown) == {"missing_here": 1}
    assert shown["file_bytes"] == len(FILE)


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (FILE, 422, "bad_file"),
        (b"", 422, "bad_file"),
        (gzip.compress(FILE)[:-4], 422, "bad_file"),
        (gzip.compress(FILE) + b"more", 422, "bad_file"),
        (gzip.compress(FILE) + gzip.compress(b"") * 1000, 422, "bad_file"),
        (gzip.compress(b" " * 2000), 413, "body_too_large"),
    ],
    ids=["plain", "empty", "cut", "a tail", "empty members", "large"],
)
async def test_a_compressed_file_that_is_none_or_too_large_is_refused(
    house: House, monkeypatch: pytest.MonkeyPatch, content: bytes, status: int, code: str
) -> None:
    from service.api.routes import reconciliations

    small = type(reconciliations.FILE_BOUND)(1000, takes_gzip=True)
    monkeypatch.setattr(reconciliations, "FILE_BOUND", small)
    async with house.client("finance") as client:
        answer = await client.post(
            "/v1/reconciliations",
            params=QUERY,
            content=content,
            headers={"Content-Encoding": "gzip"},
        )
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert await house.sql("SELECT FROM reconciliation") == []
