"""A payout sheet (补贴明细) for appliances or for digital products, or a zip of both.

Its subsidies were computed by somebody else: one fen more or less is a rounding.
"""

from collections.abc import Mapping
from typing import BinaryIO

from service.finance.files.profiles.profile import Profile, ProfileUse
from service.finance.files.profiles.sheet import SheetTable

ORDER_NO, AMOUNT = "交易订单号", "补贴金额"
ALIASES = {
    "交易完成时间": "交易时间",
    "销方名称": "销售企业",
    "销售企业名称": "销售企业",
    "核销商编": "商户编号",
    "经销商编号": "商户编号",
    "应收销售金额": "销售金额",
    "参考号": "交易参考号",
    "订单号": "交易订单号",
    "补贴销售金额": "补贴金额",
    "品类": "编码品类",
    "商品明细": "商品名称",
    "发票号码": "发票号",
}


class PayoutTable(SheetTable):
    required = frozenset({ORDER_NO, AMOUNT})
    aliases = ALIASES
    keys = (ORDER_NO, "交易参考号")


def canonical(heading: str) -> str:
    """The heading that an alias means."""
    return ALIASES.get(heading, heading)


def open_sheet(members: Mapping[str, BinaryIO], use: ProfileUse) -> PayoutTable:
    return PayoutTable(list(members.values()), use)


PAYOUT = Profile(
    ORDER_NO, AMOUNT, open_sheet, tolerance_fen=1, canonical=canonical, has_all_sales=False
)
