"""Platforms' files in their true shapes, of shops and orders that do not exist, and a ledger of
a few sales to compare them with."""

import asyncio
import io
import zipfile
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import date
from typing import Any, NamedTuple

import pytest

from service.finance.files.faults import BadFile
from service.finance.files.profiles.profile import ProfileName
from service.finance.reconcile.ledger_units import ReconcileScope
from service.finance.reconcile.mapping import ColumnMapping
from service.finance.reconcile.profile_pairs import profile_mapping
from service.finance.reconcile.run import ReconcileItem, ReconcileRun, ReconcileSummary
from tests.finance.books import PLACE, TODAY
from tests.finance.reconciling import ties_of

SCOPE = ReconcileScope(PLACE, TODAY, TODAY)


class Sold(NamedTuple):
    """A sale in the ledger."""

    order: str
    fen: int = 119_980
    state: str = "confirmed"
    booked_on: date | None = TODAY


class Ledger:
    """A connection that has these sales alone."""

    def __init__(self, sales: Sequence[Sold]) -> None:
        self._sales = sales

    async def execute(self, statement: str) -> None:
        pass

    async def cursor(self, *_: Any, **__: Any) -> AsyncIterator[tuple[Any, ...]]:
        for n, sale in enumerate(self._sales):
            claim_id = f"00000000-0000-0000-0000-{n:012}"
            yield sale.order, claim_id, None, sale.booked_on, sale.fen, sale.state


def reconciled(
    body: bytes, profile: ProfileName, sales: Sequence[Sold] = (), **named: Any
) -> tuple[ReconcileSummary, list[ReconcileItem]]:
    """(the result, what has to be looked at)"""
    mapping = mapped(profile, **named)

    async def run() -> tuple[ReconcileSummary, list[ReconcileItem]]:
        reconciling = ReconcileRun(SCOPE, mapping, no_progress)
        try:
            await reconciling.stage_file(io.BytesIO(body))
            await reconciling.stage_books(Ledger(sales), 1)  # type: ignore[arg-type]
            items = [item async for item in reconciling.items(with_matched=False)]
            return reconciling.summary, items
        finally:
            reconciling.close()

    summary, items = asyncio.run(run())
    ties_of(summary)
    return summary, items


def mapped(profile: ProfileName, **named: Any) -> ColumnMapping:
    given = dict.fromkeys(("amount", "amount_is", "state", "sheet")) | named
    keys = given.pop("keys", ())
    return profile_mapping(profile, keys=keys, states=given.pop("states", {}), **given)


async def no_progress(share: float) -> None:
    pass


def findings(body: bytes, profile: ProfileName, sales: Sequence[Sold] = (), **named: Any) -> Any:
    """How often each finding occurs, with the bad rows by reason."""
    summary, items = reconciled(body, profile, sales, **named)
    counts = {name: part.count for name, part in summary.findings.items() if part.count}
    return counts | Counter(str(item.why) for item in items if item.finding == "bad_row")


def fault_of(body: bytes, profile: ProfileName, **named: Any) -> BadFile:
    with pytest.raises(BadFile) as refused:
        reconciled(body, profile, **named)
    return refused.value


def zipped(members: dict[str, bytes]) -> bytes:
    """As platforms do it: names in GBK, and no flag that says so."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(_PlainInfo(name.encode("gbk").decode("cp437")), content)
    return file.getvalue()


class _PlainInfo(zipfile.ZipInfo):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.compress_type = zipfile.ZIP_DEFLATED

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:  # noqa: N802 - zipfile's own hook
        return self.filename.encode("cp437"), self.flag_bits


# WeChat

_WECHAT_NAMES = (
    "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,"
    "付款银行,货币种类,应结订单金额,代金券金额,微信退款单号,商户退款单号,退款金额,充值券退款金额,"
    "退款类型,退款状态,商品名称,商户数据包,手续费,费率,订单金额,申请退款金额,费率备注"
)
WECHAT_ALL = _WECHAT_NAMES.split(",")
_REFUND_COLUMNS = {
    "微信退款单号", "商户退款单号", "退款金额", "充值券退款金额", "退款类型", "退款状态",
    "申请退款金额",
}  # fmt: skip
WECHAT_SUCCESS = [name for name in WECHAT_ALL if name not in _REFUND_COLUMNS]
WECHAT_REFUND = [*WECHAT_ALL[:14], "退款申请时间", "退款成功时间", *WECHAT_ALL[14:]]
_WECHAT_TOTALS = {
    "应结订单总金额": "应结订单金额", "退款总金额": "退款金额",
    "充值券退款总金额": "充值券退款金额",
    "手续费总金额": "手续费", "订单总金额": "订单金额", "申请退款总金额": "申请退款金额",
}  # fmt: skip


def wechat_row(order: str, coupon: str = "1199.80", **more: str) -> dict[str, str]:
    return {
        "交易时间": "2025-06-18 10:15:00", "公众账号ID": "wx00000000000001", "商户号": "1900000001",
        "特约商户号": "0", "微信订单号": "420000000020250618" + order[-4:], "商户订单号": order,
        "用户标识": "o-nobody", "交易类型": "NATIVE", "交易状态": "SUCCESS", "付款银行": "OTHERS",
        "货币种类": "CNY", "应结订单金额": "7998.67", "代金券金额": coupon, "微信退款单号": "0",
        "商户退款单号": "0", "退款金额": "0.00", "充值券退款金额": "0.00", "商品名称": "空调",
        "手续费": "47.99202", "费率": "0.60%", "订单金额": "7998.67", "申请退款金额": "0.00",
    } | more  # fmt: skip


def wechat_refund(order: str, coupon: str = "1199.80", **more: str) -> dict[str, str]:
    back = {
        "交易状态": "REFUND", "应结订单金额": "0.00", "代金券金额": "0.00", "微信退款单号": "50300",
        "商户退款单号": "R",
        "退款金额": "7998.67", "充值券退款金额": coupon, "退款类型": "ORIGINAL",
        "退款状态": "SUCCESS", "手续费": "-47.99202", "订单金额": "0.00", "申请退款金额": "7998.67",
    }  # fmt: skip
    return wechat_row(order) | back | more


def wechat_bill(
    rows: Sequence[dict[str, str]], columns: Sequence[str] = WECHAT_ALL, **said: str
) -> str:
    """A bill with totals of its own rows, except those that are `said`."""
    lines = [",".join(columns)]
    lines += [",".join(f"`{row.get(name, '')}" for name in columns) for row in rows]
    totals = {"总交易单数": str(len(rows))}
    for total, column in _WECHAT_TOTALS.items():
        if column in columns:
            totals[total] = f"{sum(float(row[column]) for row in rows):.2f}"
    totals |= said
    lines += [",".join(totals), ",".join(f"`{value}" for value in totals.values())]
    return "".join(f"{line}\r\n" for line in lines)


# Alipay

_ALIPAY_NAMES = (
    "支付宝交易号,商户订单号,业务类型,商品名称,创建时间,完成时间,门店编号,门店名称,操作员,终端号,"
    "对方账户,订单金额（元）,商家实收（元）,支付宝红包（元）,集分宝（元）,支付宝优惠（元）,"
    "商家优惠（元）,券核销金额（元）,券名称,商家红包消费金额（元）,卡消费金额（元）,"
    "退款批次号/请求号,服务费（元）,分润（元）,备注"
)
ALIPAY_25 = _ALIPAY_NAMES.split(",")
ALIPAY_22 = [
    name for name in ALIPAY_25 if name not in ("门店名称", "券核销金额（元）", "分润（元）")
]
# Values without a tab behind them.
_PLAIN = {"商品名称", "创建时间", "完成时间", "券名称", "服务费（元）", "分润（元）", "备注"}


def alipay_row(order: str, discount: str = "1199.80", **more: str) -> dict[str, str]:
    zero = {name: "0.00" for name in ALIPAY_25 if name.endswith("（元）")}
    return zero | {
        "支付宝交易号": "2025061822001400" + order[-4:], "商户订单号": order, "业务类型": "交易",
        "商品名称": "空调", "创建时间": "2025-06-18 10:15:00", "完成时间": "2025-06-18 10:15:09",
        "门店编号": "NH0001", "门店名称": "虚构门店", "对方账户": "*某(n**@example.com)",
        "订单金额（元）": "7998.67", "商家实收（元）": "6798.87", "商家优惠（元）": discount,
    } | more  # fmt: skip


def alipay_refund(order: str, discount: str = "-1199.80", **more: str) -> dict[str, str]:
    back = {
        "业务类型": "退款", "订单金额（元）": "-7998.67", "商家实收（元）": "-6798.87",
        "退款批次号/请求号": "R1",
    }  # fmt: skip
    return alipay_row(order, discount) | back | more


def alipay_list(
    rows: Sequence[dict[str, str]], columns: Sequence[str] = ALIPAY_25, remarks: int = 3
) -> str:
    """A list with its frame; `remarks`: lines before the dashes."""

    def cell(row: dict[str, str], name: str) -> str:
        amount = name.endswith("（元）") and name != "商家红包消费金额（元）"
        return row.get(name, "") + ("" if name in _PLAIN or amount else "\t")

    def total(kind: str, column: str) -> str:
        return f"{sum(float(row[column]) for row in rows if row['业务类型'] == kind):.2f}"

    dashes = "-" * 40
    lines = ["#支付宝业务明细查询", "#账号：[20880000000000000000]", "#起始日期：[2025年06月18日]"]
    lines = [*(lines * 2)[:remarks], f"#{dashes}业务明细列表{dashes}", ",".join(columns)]
    lines += [",".join(cell(row, name) for name in columns) for row in rows]
    lines.append(f"#{dashes}业务明细列表结束{dashes}")
    for kind, word in (("交易", ""), ("退款", "退款")):
        count = sum(row["业务类型"] == kind for row in rows)
        paid, discount = total(kind, "商家实收（元）"), total(kind, "商家优惠（元）")
        lines.append(
            f"#{kind}合计：{count}笔，商家实收{word}共{paid}元，商家优惠{word}共{discount}元"
        )
    lines.append("#导出时间：[2025年06月19日 05:46:49]")
    return "".join(f"{line}\r\n" for line in lines)


ALIPAY_SUMMARY = (
    "#支付宝业务汇总查询\r\n#账号：[20880000000000000000]\r\n#--------业务汇总列表--------\r\n"
    "门店编号,门店名称,交易订单总笔数,退款订单总笔数,订单金额（元）\r\nNH0001\t,虚构门店\t,2,0,1.00\r\n"
    "合计\t,\t,2,0,1.00\r\n#--------业务汇总列表结束--------\r\n"
)


def alipay_zip(text: str) -> bytes:
    return zipped(
        {
            "20880000000000000000_20250618_业务明细.csv": text.encode("gbk"),
            "20880000000000000000_20250618_业务明细(汇总).csv": ALIPAY_SUMMARY.encode("gbk"),
        }
    )
