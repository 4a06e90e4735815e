"""A merchant's export (MER_…_yjhx.xlsx): a title, a heading, and a row for each sale.

A row is known by its 检索参考号, 11 digits and N. It has no column of the subsidy, so the invoice's
amount is compared with the price.
"""

import re
from collections.abc import Mapping
from typing import Any, BinaryIO

from service.finance.files.cells import is_error, text_of
from service.finance.files.profiles.profile import Profile, ProfileUse, RowKind
from service.finance.files.profiles.sheet import SheetTable

ORDER_NO, AMOUNT, REFERENCE = "订单号", "发票金额", "检索参考号"

_REFERENCE = re.compile(r"(\d{11})N", re.ASCII)


class YjhxTable(SheetTable):
    required = frozenset({ORDER_NO, REFERENCE})
    keys = (ORDER_NO, REFERENCE)

    def __init__(self, members: list[BinaryIO], use: ProfileUse) -> None:
        super().__init__(members, use)
        self._references: set[int] = set()  # a million are 100 MB

    def _added(self, row: Mapping[str, Any]) -> tuple[Any, RowKind]:
        moved, kind = super()._added(row)
        if is_error(row[REFERENCE]):
            return moved, "formula_failed"
        reference = _REFERENCE.fullmatch(text_of(row[REFERENCE]).upper())
        if reference is None:
            return moved, "reference_unreadable"
        if (number := int(reference[1])) in self._references:
            return moved, "reference_repeated"
        self._references.add(number)
        return moved, kind


def open_export(members: Mapping[str, BinaryIO], use: ProfileUse) -> YjhxTable:
    return YjhxTable(list(members.values()), use)


YJHX = Profile(ORDER_NO, AMOUNT, open_export, amount_is="price", has_all_sales=False)
