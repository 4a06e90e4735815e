"""What is read from an e-invoice's file, and what is not taken for one."""

import asyncio
import subprocess
import sys
from datetime import date

import pytest

from service.batcher import Overloaded
from service.invoices.faults import UnreadableInvoice
from service.invoices.file import SIZE_MAX_BYTES, InvoiceFile
from service.invoices.ofd import read_ofd
from service.invoices.reader import InvoiceReader
from service.invoices.xml import ELEMENTS_MAX, read_xml
from tests.invoices.papers import (
    BUYER,
    BUYER_ID,
    CHINESE,
    ENGLISH,
    NUMBER,
    ORIGINAL_INVOICE,
    PINYIN,
    SELLER_ID,
    filled,
    ofd,
)

pytestmark = pytest.mark.anyio

PAPER = InvoiceFile(
    number=NUMBER,
    code="",
    dated_on=date(2025, 6, 18),
    buyer=BUYER,
    buyer_id=BUYER_ID,
    seller_id=SELLER_ID,
    total_fen=599_900,
    red_letter_of="",
)


@pytest.mark.parametrize("layout", [ENGLISH, CHINESE, PINYIN])
def test_each_dialect_says_the_same_invoice(layout: str) -> None:
    assert read_xml(filled(layout).encode()) == PAPER


@pytest.mark.parametrize("encoding", ["GBK", "gb2312", "GB18030"])
def test_a_file_in_a_chinese_encoding_is_read(encoding: str) -> None:
    content = filled(PINYIN, encoding=encoding).encode("gb18030")
    assert read_xml(content) == PAPER


def test_a_red_letter_says_what_it_takes_back_and_is_negative() -> None:
    specific = (
        "<SpecificInformation><RedEInvoice><OriginalInvoiceCode>25332000000000000001"
        "</OriginalInvoiceCode><CreditNoteNumber>33022506180000000001</CreditNoteNumber>"
        "</RedEInvoice></SpecificInformation>"
    )
    red = read_xml(filled(ENGLISH, label="N", specific=specific, total="-5999.00").encode())
    assert (red.total_fen, red.red_letter_of) == (-599_900, "25332000000000000001")


def test_a_negative_line_without_quantity_is_a_discount_and_makes_no_red_letter() -> None:
    discount = (
        "<IssuItemInformation><ItemName>*家用电器*空调</ItemName><Amount>-100.00</Amount>"
        "<TotaltaxIncludedAmount>-113.00</TotaltaxIncludedAmount></IssuItemInformation>"
    )
    assert read_xml(filled(ENGLISH, specific=discount).encode()) == PAPER


def fault_of(content: bytes, read: object = read_xml) -> tuple[str, str]:
    with pytest.raises(UnreadableInvoice) as raised:
        read(content)  # type: ignore[operator]
    return raised.value.fault, raised.value.field


def test_a_dtd_is_refused_even_when_nothing_uses_it() -> None:
    content = filled(PINYIN).replace("<FPXX>", "<!DOCTYPE FPXX>\n<FPXX>")
    assert fault_of(content.encode()) == ("has_dtd", "")


def test_two_invoices_in_one_file_are_not_taken_for_one() -> None:
    one, other = (
        filled(PINYIN, number=number).partition("?>")[2] for number in (NUMBER, "2" + NUMBER[1:-1])
    )
    both = f"<list>{one}{other}9</list>".replace(other + "9", other)
    assert fault_of(both.encode()) == ("several_invoices", "FPHM")


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", ("not_xml", "")),
        (b"%PDF-1.7", ("not_xml", "")),
        (b"<a", ("not_xml", "")),
        (b'<?xml version="1.0" encoding="klingon"?><a/>', ("not_xml", "")),
        (b'<?xml version="1.0" encoding="gbk"?><a>\x81</a>', ("not_xml", "")),
        (b"<a/>", ("unknown_layout", "")),
        (b"<a>" * 2000 + b"</a>" * 2000, ("unknown_layout", "")),
        (b"<a>" + b"<b/>" * ELEMENTS_MAX + b"</a>", ("too_large", "")),
        (b" " * (SIZE_MAX_BYTES + 1), ("too_large", "")),
        (filled(PINYIN, total="5999.001").encode(), ("bad_value", "JSHJXX")),
        (filled(PINYIN, total="¥").encode(), ("bad_value", "JSHJXX")),
        (filled(PINYIN, total="").encode(), ("missing_value", "JSHJXX")),
        (filled(PINYIN).replace("20250618", "20250631").encode(), ("bad_value", "KPRQ")),
        (filled(PINYIN, buyer="").encode(), ("missing_value", "GMFMC")),
    ],
)
def test_what_is_no_invoice_is_told_by_its_fault(content: bytes, fault: tuple[str, str]) -> None:
    assert fault_of(content) == fault


def test_an_ofd_s_attachment_is_read() -> None:
    assert read_ofd(ofd(filled(ORIGINAL_INVOICE, code=""))) == PAPER


def test_an_older_invoice_in_ofd_has_its_code() -> None:
    paper = read_ofd(ofd(filled(ORIGINAL_INVOICE, code="033022000313", number="00000001")))
    assert (paper.number, paper.code) == ("00000001", "033022000313")


HEADING = {
    "发票号码": NUMBER,
    "开票日期": "2025年06月18日",
    "购买方名称": BUYER,
    "购买方纳税人识别号": BUYER_ID,
    "销售方纳税人识别号": SELLER_ID,
    "合计金额": "5308.85",
    "合计税额": "690.15",
}


def test_the_amount_before_tax_is_never_taken_for_the_total() -> None:
    assert read_ofd(ofd(custom=HEADING)) == PAPER
    untaxed = {name: text for name, text in HEADING.items() if name != "合计税额"}
    assert fault_of(ofd(custom=untaxed), read_ofd) == ("missing_value", "TaxInclusiveTotalAmount")


def test_a_total_that_is_a_currency_sign_alone_is_the_sum_of_the_others() -> None:
    sign = filled(ORIGINAL_INVOICE, code="", total="¥")
    assert read_ofd(ofd(sign)) == PAPER
    untaxed = sign.replace("690.15", "*")
    assert fault_of(ofd(untaxed), read_ofd) == ("bad_value", "TaxInclusiveTotalAmount")
    before_tax = filled(ORIGINAL_INVOICE, code="", total="5308.85")
    assert read_ofd(ofd(before_tax)) == PAPER


def test_two_invoices_in_one_ofd_are_not_taken_for_one() -> None:
    another = filled(ORIGINAL_INVOICE, code="", number=NUMBER[:-1] + "9")
    other = {"Doc_0/Attachs/another.xml": another}
    content = ofd(filled(ORIGINAL_INVOICE, code=""), more=other)
    assert fault_of(content, read_ofd) == ("several_invoices", "InvoiceNo")


@pytest.mark.parametrize("encoding", ["GBK", "gb2312"])
def test_a_file_that_declares_gbk_and_is_utf_8_is_read(encoding: str) -> None:
    assert read_xml(b"\xef\xbb\xbf" + filled(PINYIN, encoding=encoding).encode()) == PAPER


def test_a_red_letter_label_with_a_positive_total_is_refused() -> None:
    path = "BasicInformation/TotalTax-includedAmount"
    assert fault_of(filled(ENGLISH, label="N").encode()) == ("bad_value", path)


async def test_a_file_is_read_by_a_process_with_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = InvoiceReader()
    assert await reader.read("r1", filled(PINYIN).encode(), "text/xml") == PAPER
    for content, kind, fault in (
        (b"<a>", "text/xml", "not_xml"),
        (b"PK no zip", "application/ofd", "not_ofd"),
    ):
        with pytest.raises(UnreadableInvoice) as raised:
            await reader.read("r1", content, kind)
        assert raised.value.fault == fault
    # One that takes too long is killed.
    monkeypatch.setattr("service.invoices.reader.READ_MAX_S", 0.001)
    with pytest.raises(UnreadableInvoice) as raised:
        await reader.read("r1", filled(PINYIN).encode(), "text/xml")
    assert raised.value.fault == "too_large"


async def test_a_retailer_s_files_are_read_one_at_a_time() -> None:
    """So none takes the turns of others."""
    reader = InvoiceReader()
    content = filled(PINYIN).encode()
    first = asyncio.create_task(reader.read("r1", content, "text/xml"))
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await reader.read("r1", content, "text/xml")
    assert await reader.read("r2", content, "text/xml") == PAPER
    assert await first == PAPER
    assert await reader.read("r1", content, "text/xml") == PAPER


async def test_a_file_that_gets_no_turn_is_put_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.invoices.reader.WAIT_MAX_S", 0.001)
    reader = InvoiceReader()
    content = filled(PINYIN).encode()
    first = asyncio.create_task(reader.read("r1", content, "text/xml"))
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await reader.read("r2", content, "text/xml")
    assert await first == PAPER


@pytest.mark.parametrize("spend", ["while True: pass", "x = bytearray(900 << 20)"])
def test_the_process_ends_when_a_file_costs_too_much(spend: str) -> None:
    """The limits of time and memory, on spending of our own."""
    code = (
        "from service.invoices import child\n"
        "child.CPU_MAX_S = 1\n"
        f"def read_file(content, media_type):\n    {spend}\n"
        "child.read_file = read_file\n"
        "child.main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "text/xml"], input=b"", capture_output=True, timeout=60
    )
    assert done.returncode < 0 or b"too_large" in done.stdout


@pytest.mark.parametrize("place", ["original_invoice.xml", "/Doc_0/Attachs/original_invoice.xml"])
def test_the_attachment_is_found_from_each_folder_that_makers_count_from(place: str) -> None:
    assert read_ofd(ofd(filled(ORIGINAL_INVOICE, code=""), place=place)) == PAPER


@pytest.mark.parametrize(
    "place",
    ["../../../../etc/hostname.xml", "file:///etc/hostname.xml", "http://127.0.0.1:9/a.xml"],
)
def test_nothing_outside_an_ofd_is_read(place: str) -> None:
    content = ofd(filled(ORIGINAL_INVOICE, code=""), place=place)
    assert fault_of(content, read_ofd) == ("unknown_layout", "")


def test_what_is_no_ofd_is_told() -> None:
    assert fault_of(b"PK no zip", read_ofd) == ("not_ofd", "")
    assert fault_of(ofd(custom={}), read_ofd) == ("unknown_layout", "")
    assert fault_of(b" " * (SIZE_MAX_BYTES + 1), read_ofd) == ("too_large", "")


def test_an_ofd_that_unpacks_to_far_more_is_refused_before_it_is_unpacked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("service.invoices.ofd.UNPACKED_MAX_BYTES", 1000)
    assert fault_of(ofd(filled(ORIGINAL_INVOICE, code="")), read_ofd) == ("too_large", "")
