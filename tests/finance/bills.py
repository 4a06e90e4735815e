"""Platforms' files in their true shapes, of shops and orders that do not exist, and a ledger of
a few sales to compare them with."""

import io
import re
import zipfile
from collections import Counter
from collections.abc import Sequence
from datetime import date
from typing import Any, NamedTuple

import pytest
import xlsxwriter

from service.finance.files.faults import BadFile
from service.finance.files.profiles.profile import ProfileName
from service.finance.reconcile.mapping import ColumnMapping
from service.finance.reconcile.profile_pairs import profile_mapping
from service.finance.reconcile.run import ReconcileItem, ReconcileSummary
from tests.finance.books import TODAY
from tests.finance.reconciling import staged


class Sold(NamedTuple):
    """A sale in the ledger."""

    order: str
    fen: int = 119_980
    state: str = "confirmed"
    booked_on: date | None = TODAY
    returned_fen: int | None = None  # all of it, if it is refunded
    in_period: bool = True


def unit_of(n: int, sale: Sold) -> tuple[Any, ...]:
    """The sale as the ledger's query gives it."""
    claim_id = f"00000000-0000-0000-0000-{n:012}"
    returned_fen = sale.fen if sale.state == "refunded" else sale.returned_fen
    unit = sale.order, claim_id, None, sale.booked_on, sale.fen, sale.state
    return *unit, returned_fen, returned_fen if sale.in_period else 0


def reconciled(
    body: bytes, profile: ProfileName, sales: Sequence[Sold] = (), **named: Any
) -> tuple[ReconcileSummary, list[ReconcileItem]]:
    """(the result, what has to be looked at)"""
    units = [unit_of(n, sale) for n, sale in enumerate(sales)]
    return staged(body, mapped(profile, **named), units)


def mapped(profile: ProfileName, **named: Any) -> ColumnMapping:
    given = dict.fromkeys(("amount", "amount_is", "state", "sheet")) | named
    keys = given.pop("keys", ())
    return profile_mapping(profile, keys=keys, states=given.pop("states", {}), **given)


def findings(body: bytes, profile: ProfileName, sales: Sequence[Sold] = (), **named: Any) -> Any:
    """How often each finding occurs, with the bad rows by reason."""
    summary, items = reconciled(body, profile, sales, **named)
    counts = {name: part.count for name, part in summary.findings.items() if part.count}
    return counts | Counter(str(item.why) for item in items if item.finding == "bad_row")


def fault_of(body: bytes, profile: ProfileName, **named: Any) -> BadFile:
    with pytest.raises(BadFile) as refused:
        reconciled(body, profile, **named)
    return refused.value


def zipped(members: dict[str, bytes], encoding: str = "gbk") -> bytes:
    """As platforms do it: names in GBK, and no flag that says so."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(_PlainInfo(name.encode(encoding).decode("cp437")), content)
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


ALIPAY_SUMMARY = (  # of two sales
    "#支付宝业务汇总查询\r\n#账号：[20880000000000000000]\r\n#--------业务汇总列表--------\r\n"
    "门店编号,门店名称,交易订单总笔数,退款订单总笔数,订单金额（元）\r\nNH0001\t,虚构门店\t,2,0,1.00\r\n"
    "合计\t,\t,2,0,1.00\r\n#--------业务汇总列表结束--------\r\n"
)


def alipay_summary(sales: int) -> str:
    return ALIPAY_SUMMARY.replace(",2,0,", f",{sales},0,")


def alipay_zip(text: str, summary: str | None = None) -> bytes:
    """With a summary that has as many sales as the list says."""
    if summary is None:
        said = re.search(r"交易合计：(\d+)笔", text)
        summary = alipay_summary(int(said[1]) if said else 0)
    return zipped(
        {
            "20880000000000000000_20250618_业务明细.csv": text.encode("gbk"),
            "20880000000000000000_20250618_业务明细(汇总).csv": summary.encode("gbk"),
        }
    )


# UnionPay

ZM_WIDTHS = (
    3, 11, 11, 6, 10, 19, 12, 4, 2, 21, 2, 32, 2, 6, 10, 13, 13, 4, 15, 2, 2, 6, 2, 4, 32, 1, 21,
    15, 1, 15, 32, 13, 13, 8, 32, 13, 13, 12, 2, 1, 32, 98,
)  # fmt: skip
ZME_WIDTHS = (
    3, 11, 11, 6, 10, 19, 12, 4, 2, 2, 6, 10, 4, 12, 13, 13, 15, 15, 1, 12, 2, 135,
)  # fmt: skip


def record(widths: Sequence[int], fields: dict[int, str], separator: bytes = b" ") -> bytes:
    """A record with these fields, by their numbers from 1."""
    texts = [fields.get(n, "").encode("gbk") for n in range(1, len(widths) + 1)]
    assert all(len(text) <= width for text, width in zip(texts, widths, strict=True))
    return separator.join(
        text.ljust(width) for text, width in zip(texts, widths, strict=True)
    )  # fmt: skip


def zm_record(order: str, discount: str = "C000000119980", **more: str) -> bytes:
    """A sale; `more`: f20="04" and the like."""
    fields = {
        1: "S22", 2: "00000000000", 4: "000001", 5: "0618101500", 6: "621234*********0001",
        7: "000000799867", 10: "202506181015000000001", 12: order, 16: "C000000000000",
        20: "01", 28: "000000000000001", 31: "虚构", 33: "C000000799867", 36: discount,
    }  # fmt: skip
    return record(ZM_WIDTHS, fields | {int(name[1:]): text for name, text in more.items()})


def zm_refund(order: str, discount: str = "D000000119980", **more: str) -> bytes:
    """It has an order number of its own, and that of its sale."""
    return zm_record("REFUND20250001", discount, **{"f20": "04", "f41": order} | more)


def unionpay_zip(
    sales: Sequence[bytes], disputes: Sequence[bytes] = (), day: str = "250618"
) -> bytes:
    return zipped(
        {
            f"INN{day}88ZME_000000000000001": b"".join(one + b"\r\n" for one in disputes),
            f"INN{day}88ZM_000000000000001": b"".join(one + b"\r\n" for one in sales),
        }
    )


# Workbooks

YJHX_COLUMNS = (
    "序号", "商户号", "终端号", "订单号", "交易日期", "交易金额", "检索参考号", "状态", "描述",
    "发票金额",    "S/N码",
)  # fmt: skip
PAYOUT_APPLIANCES = (
    "拨付批次", "交易时间", "交易参考号", "交易订单号", "销售企业", "商户编号", "销售金额",
    "其他支付", "实收销售金额", "补贴金额", "补贴比例", "SN码", "所在地区",
    "商品编码", "能耗等级", "编码品类", "商品名称", "发票金额", "发票号", "ID",
)  # fmt: skip
PAYOUT_DIGITAL = (
    *PAYOUT_APPLIANCES[:10], "编码品类", "商品名称", "SN码", "IMEI1码", "IMEI2码", "商品编码",
    "所在地区", "发票号", "备注",
)  # fmt: skip


def yjhx_row(order: str, number: int, **more: Any) -> dict[str, Any]:
    return {
        "订单号": order, "交易日期": "2025-06-18 10:15:00", "交易金额": "6798.87",
        "检索参考号": f"{number:011}N", "状态": "成功", "发票金额": "7998.67",
    } | more  # fmt: skip


def payout_row(order: str, subsidy: Any = 1199.8, **more: Any) -> dict[str, Any]:
    return {
        "拨付批次": "1", "交易时间": "20250618", "交易参考号": "00000000001N", "交易订单号": order,
        "销售企业": "虚构商行", "销售金额": 7998.67, "补贴金额": subsidy, "补贴比例": 0.15,
    } | more  # fmt: skip


def workbook(
    columns: Sequence[str], rows: Sequence[dict[str, Any]], title: str | None = None
) -> bytes:
    file = io.BytesIO()
    book = xlsxwriter.Workbook(file)
    sheet = book.add_worksheet("明细")
    lines: list[list[Any]] = [[title]] if title else []
    lines += [list(columns), *([row.get(name) for name in columns] for row in rows)]
    for at, line in enumerate(lines):
        for column, cell in enumerate(line):
            if isinstance(cell, str) and cell.startswith("="):  # without a value of it
                sheet.write_formula(at, column, cell, value="")
            elif isinstance(cell, str) and cell.startswith("#N/A"):
                sheet.write_formula(at, column, "=NA()", value=cell)
            else:
                sheet.write(at, column, cell)
    book.close()
    return file.getvalue()
