"""Examples of requests and problems for the OpenAPI document. Tests send the requests to the
service, and compare the problems with its answers."""

from typing import Any

from service.api.invalid import invalid_fields, summary
from service.api.problem_kinds import KINDS
from service.api.problems import problem_body, reason_bodies
from service.api.wrong_state import wrong_state
from service.core.reasons import Reason, ReasonCode
from service.finance.reconcile.sentences import fault_sentence

REQUEST_ID = "019780c3-c9da-76f1-8a29-36f05201f175"

CHECKOUT: dict[str, Any] = {
    "store_id": "NH0001",
    "order_no": "POS-20250618-000123",
    "sold_at": "2025-06-18T10:00:00+08:00",
    "consumer": {"id_type": "resident_id", "id_number": "330402196003071233"},
    "items": [
        {
            "line_no": 1,
            "category": "air_conditioner",
            "price_fen": 599900,
            "energy_grade": "1",
            "serial_no": "AC25F0001234",
            "barcode": "6901234567892",
        }
    ],
}
INVOICE_XML = """<?xml version="1.0" encoding="UTF-8"?>
<EInvoice>
  <EInvoiceData>
    <SellerInformation>
      <SellerIdNum>91330402MA0000000Q</SellerIdNum>
      <SellerName>演示商贸有限公司</SellerName>
    </SellerInformation>
    <BuyerInformation><BuyerName>王小明</BuyerName></BuyerInformation>
    <BasicInformation>
      <TotalTax-includedAmount>5999.00</TotalTax-includedAmount>
    </BasicInformation>
  </EInvoiceData>
  <TaxSupervisionInfo>
    <InvoiceNumber>25332000000012345678</InvoiceNumber>
    <IssueTime>2025-06-18</IssueTime>
  </TaxSupervisionInfo>
</EInvoice>
"""
PHONE: dict[str, Any] = {
    "store_id": "NH0001",
    "order_no": "POS-20250618-000124",
    "sold_at": "2025-06-18T10:00:00+08:00",
    "consumer": {"id_type": "passport", "id_number": "E12345678"},
    "items": [
        {"line_no": 1, "category": "phone", "price_fen": 300000, "serial_no": "PH25F0001234"}
    ],
    "hold": True,
}


def _example(summary: str, value: object) -> dict[str, Any]:
    return {"summary": summary, "value": value}


# By the model of the body, or by the operation where the body has no model. A test sends them in
# this order to one service.
REQUESTS: dict[str, dict[str, dict[str, Any]]] = {
    "Checkout": {
        "claim": _example("an air conditioner, granted at once", CHECKOUT),
        "hold": _example("a phone, reserved until the customer has paid", PHONE),
    },
    "PersonBody": {
        "person": _example("by a document", CHECKOUT["consumer"]),
    },
    "BatchBody": {
        "batch": _example(
            "claims of a chain's gateway",
            {
                "claims": [
                    {"idempotency_key": "POS-20250618-000123", "checkout": CHECKOUT},
                    {"idempotency_key": "POS-20250618-000124", "checkout": PHONE},
                ]
            },
        ),
    },
    "RefundRequest": {"refund": _example("one line", {"lines": [1], "reason": "returned"})},
    "InvoiceBody": {
        "invoice": _example(
            "a fully digital invoice has no code",
            {
                "number": "25332000000012345678",
                "date": "2025-06-18",
                "buyer": "王小明",
                "total_fen": 599900,
            },
        ),
    },
    "invoice_claim": {"xml": _example("the e-invoice's own file", INVOICE_XML)},
    "AdjustmentBody": {
        "adjustment": _example(
            "half a million yuan more",
            {
                "delta_fen": 50000000,
                "reason": "second half of the year",
                "document_no": "南财〔2025〕9号",
            },
        ),
    },
    "TrancheBody": {
        "tranche": _example(
            "money that opens on 1 July",
            {
                "opens_at": "2025-07-01T00:00:00+08:00",
                "amount_fen": 200000000,
                "document_no": "南财〔2025〕10号",
            },
        ),
    },
    "SettlementBody": {
        "final": _example(
            "all that is invoiced in June",
            {"retailer_id": "sandbox", "from": "2025-06-01", "to": "2025-06-30"},
        ),
    },
    "PaymentBody": {"payment": _example("paid", {"payment_reference": "20250705-001"})},
    "VoidBody": {"void": _example("a draft made in error", {"reason": "wrong period"})},
    "RetailerBody": {
        "retailer": _example(
            "a retailer of the district",
            {"retailer_id": "r1", "uscc": "91330402MA00000058", "name": "新商贸有限公司"},
        ),
    },
    "StoreBody": {
        "store": _example(
            "a store of it",
            {"store_id": "S1", "retailer_id": "r1", "name": "一店", "town": "新嘉街道"},
        ),
    },
    "ReasonBody": {"reason": _example("why", {"reason": "under inspection"})},
    "KeyBody": {
        "pos": _example("a till's", {"role": "pos", "retailer_id": "r1", "label": "till 1"})
    },
    "RotateBody": {"rotate": _example("both keys work for a day", {"overlap_hours": 24})},
    "reconcile": {
        "csv": _example(
            "with order_no=order and amount=subsidy in the query",
            "order,subsidy\nPOS-20250618-000123,1199.80\n",
        ),
    },
}

# What fills the gaps of a problem's sentence.
_FACTS: dict[str, dict[str, str]] = {
    "budget_below_spent": {"free": "19,998,800.20"},
    "invoice_total_differs": {
        "total": "4,799.20",
        "due": "5,999.00",
        "paid": "4,799.20",
        "subsidy": "1,199.80",
    },
}


def _fields(detail: str, fields: list[dict[str, str]]) -> dict[str, Any]:
    return {"detail": detail, "fields": fields}


_PRICE_AS_TEXT = invalid_fields([{"type": "int_type", "loc": ("items", 0, "price_fen")}], "en")
_GRADE_TOO_LOW = Reason(ReasonCode.GRADE_NOT_ELIGIBLE, facts={"grade": "3", "eligible": "1/2"})
_NO_ROWS = fault_sentence("no_rows", {}, "en")
# What a problem has besides its kind's sentence, or in its place.
_MORE: dict[str, dict[str, Any]] = {
    "claim_refused": {"reasons": reason_bodies(((1, _GRADE_TOO_LOW),), "en")},
    "wrong_state": {"detail": wrong_state("cancel", "confirmed", "en")},
    "invalid_field": _fields(summary(_PRICE_AS_TEXT), _PRICE_AS_TEXT),
    "bad_file": _fields(f"body: {_NO_ROWS}", [{"field": "body", "detail": _NO_ROWS}]),
    "invoice_total_differs": {"total_fen": 479920, "expected_fen": 599900},
}

PROBLEMS: dict[str, dict[str, Any]] = {
    code: {
        "summary": kind.title["en"],
        "value": problem_body(
            code, "en", REQUEST_ID, facts=_FACTS.get(code), **_MORE.get(code, {})
        ),
    }
    for code, kind in KINDS.items()
}
