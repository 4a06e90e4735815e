"""The numbers under which one piece is subsidised only once."""

from collections.abc import Iterator
from typing import Literal

from service.core.checkout import SerialFormat
from service.core.fact import Fact
from service.core.reasons import Reason, ReasonCode
from service.core.rules.subject import Cells, Mark, ReasonFacts, Sale, Sentences, TermsFault
from service.core.rules.trade_in import TradeInTerms
from service.core.rules.window import InForce
from service.core.sentences import Sentence


class SerialTerms(TradeInTerms):
    """What the goods' serial number must be. Where a policy says nothing, goods for which an old
    car is handed in have a VIN. `e_bike_code`: whether it must be the 15 digits of a new e-bike."""

    serial: Literal["vin", "any"] | None = None
    e_bike_code: Fact[bool] | None = None

    @property
    def serial_format(self) -> SerialFormat:
        if self.e_bike_code is not None and self.e_bike_code.value:
            return "e_bike_code"
        for_an_old_car = self.trade_in is not None and self.trade_in.kind == "car"
        return self.serial or ("vin" if for_an_old_car else "any")


def serial_not_repeated(terms: SerialTerms, sale: Sale) -> Reason | None:
    """The first line that carries a serial keeps it."""
    serials = set(sale.item.serials())
    for other in sale.checkout.items:
        if other is sale.item:
            return None
        if not serials.isdisjoint(other.serials()):
            facts: ReasonFacts = {"first_line_no": other.line_no}
            return Reason(ReasonCode.SERIAL_ALREADY_CLAIMED, "same_sale", facts)
    raise AssertionError("Bug! A line of another checkout.")


CHECKS = (serial_not_repeated,)


def faults(terms: SerialTerms, in_force: InForce) -> Iterator[TermsFault]:
    if terms.e_bike_code is not None and terms.serial == "vin":
        yield terms.e_bike_code.id, "a serial number is a VIN or the code of an e-bike, not both"


def cells(terms: SerialTerms, mark: Mark) -> Cells:
    if terms.serial_format == "vin":
        yield "conditions", "serial number: a VIN"
    elif terms.e_bike_code is not None:
        must = "the" if terms.e_bike_code.value else "need not be the"
        yield "conditions", f"serial number: {must} code of an e-bike {mark(terms.e_bike_code)}"


SENTENCES: Sentences = {
    (ReasonCode.SERIAL_ALREADY_CLAIMED, ""): (
        Sentence(
            "该序列号已由本企业申领补贴（单号 {claim_id}），请勿重复申领；"
            "如该笔有误，请先撤销或退货后重试。",
            "This serial number already has a subsidy of yours (claim {claim_id}). Do not claim "
            "again; if that claim is wrong, cancel or refund it first.",
        ),
        Sentence(
            "该序列号已享受过补贴，请核对商品序列号；核对无误则请顾客更换一件，或联系区经信商务局。",
            "This serial number was already subsidised. Check it against the product; if it is "
            "right, hand over another piece or call the commerce bureau.",
        ),
    ),
    (ReasonCode.SERIAL_ALREADY_CLAIMED, "same_sale"): (
        Sentence(
            "该序列号与本单第 {first_line_no} 行重复，请逐件扫描商品序列号后重试。",
            "This serial number is the same as on line {first_line_no} of this sale. Scan each "
            "piece and try again.",
        ),
    ),
}
