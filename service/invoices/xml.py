"""The XML file of a fully digital invoice, in the three dialects that software writes.

Each dialect is a table of paths (`DIALECTS`). A path names the last two elements, or one where a
dialect has no groups; namespaces are ignored, and the subtree of a signature is skipped. Source of
the names: files that are in use; no published schema was found.
"""

import re
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from service.invoices.faults import UnreadableInvoice
from service.invoices.file import ELEMENTS_MAX, SIZE_MAX_BYTES, InvoiceFile
from service.invoices.paper import day_of, fen_of, folded, name_of

Value = TypeVar("Value")
Leaves = dict[str, list[str]]  # "Group/Name" and "Name" -> texts, in the file's order

_DECLARED = re.compile(rb"""^\s*<\?xml[^>]*?encoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']""")
_DECLARATION = re.compile(r"^\s*<\?xml[^>]*\?>")
# A superset of both others; producers declare any of the three for the same bytes.
_GB = {"gb2312", "gbk", "gb18030"}
RED = "N"  # what the English dialect labels a red-letter invoice with


@dataclass(frozen=True, slots=True)
class Dialect:
    """Where a dialect has each value. Empty: the dialect does not have it."""

    number: str
    code: str
    dated_on: str
    buyer: str
    buyer_id: str
    seller_id: str
    total: str
    red_label: str
    red_letter_of: str


DIALECTS = (
    Dialect(
        number="TaxSupervisionInfo/InvoiceNumber",
        code="",
        dated_on="TaxSupervisionInfo/IssueTime",
        buyer="BuyerInformation/BuyerName",
        buyer_id="BuyerInformation/BuyerIdNum",
        seller_id="SellerInformation/SellerIdNum",
        total="BasicInformation/TotalTax-includedAmount",
        red_label="InIssuType/LabelCode",
        red_letter_of="RedEInvoice/OriginalInvoiceCode",
    ),
    Dialect(
        number="发票号码",
        code="发票代码",
        dated_on="开票日期",
        buyer="购买方名称",
        buyer_id="购买方纳税人识别号",
        seller_id="销售方纳税人识别号",
        total="价税合计",
        red_label="",
        red_letter_of="",
    ),
    Dialect(
        number="FPHM",
        code="FPDM",
        dated_on="KPRQ",
        buyer="GMFMC",
        buyer_id="GMFNSRSBH",
        seller_id="XSFNSRSBH",
        total="JSHJXX",
        red_label="",
        red_letter_of="",
    ),
)


def read_xml(content: bytes) -> InvoiceFile:
    """The one invoice in the file. Raises UnreadableInvoice."""
    # Each element has a start and most an end: more of them are counted before a tree is built.
    if len(content) > SIZE_MAX_BYTES or content.count(b"<") > 3 * ELEMENTS_MAX:
        raise UnreadableInvoice("too_large")
    leaves = _leaves(_parse(content))
    for dialect in DIALECTS:
        if dialect.number in leaves:
            return _paper(leaves, dialect)
    raise UnreadableInvoice("unknown_layout")


def _parse(content: bytes) -> Element:
    try:
        root: Element = fromstring(_text(content), forbid_dtd=True)
    except DefusedXmlException:
        raise UnreadableInvoice("has_dtd") from None
    except (ParseError, ValueError, LookupError):
        raise UnreadableInvoice("not_xml") from None
    return root


def _text(content: bytes) -> bytes | str:
    """The parser knows no Chinese encoding: such a file is decoded for it. Some makers declare one
    and write UTF-8. Raises ValueError."""
    content = content.removeprefix(BOM_UTF8)
    declared = _DECLARED.match(content)
    if declared is None or declared[1].decode("ascii").lower() not in _GB:
        return content
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text = content.decode("gb18030")
    return _DECLARATION.sub("", text)


def _leaves(root: Element) -> Leaves:
    leaves: Leaves = {}
    for count, (path, text) in enumerate(_texts(root)):
        if count >= ELEMENTS_MAX:
            raise UnreadableInvoice("too_large")
        if text:
            leaves.setdefault(path, []).append(text)
            leaves.setdefault(path.rpartition("/")[2], []).append(text)
    return leaves


def _texts(root: Element) -> Iterator[tuple[str, str]]:
    """(the last two names, the text) of each element outside a signature; iterative, for a file
    may be nested more deeply than calls may be."""
    waiting = [("", root)]
    while waiting:
        group, element = waiting.pop()
        name = element.tag.rpartition("}")[2]
        if name == "Signature":
            continue
        yield f"{group}/{name}" if group else name, (element.text or "").strip()
        waiting.extend((name, child) for child in reversed(element))


def _paper(leaves: Leaves, dialect: Dialect) -> InvoiceFile:
    total_fen = _one(leaves, dialect.total, fen_of)
    if _optional(leaves, dialect.red_label, str.strip) == RED and total_fen >= 0:
        raise UnreadableInvoice("bad_value", dialect.total)
    return InvoiceFile(
        number=_one(leaves, dialect.number, folded),
        code=_optional(leaves, dialect.code, folded),
        dated_on=_one(leaves, dialect.dated_on, day_of),
        buyer=_one(leaves, dialect.buyer, name_of),
        buyer_id=_optional(leaves, dialect.buyer_id, folded),
        seller_id=_one(leaves, dialect.seller_id, folded),
        total_fen=total_fen,
        red_letter_of=_optional(leaves, dialect.red_letter_of, folded),
    )


def _one(leaves: Leaves, path: str, read: Callable[[str], Value]) -> Value:
    """The value that the file has once, or several times the same."""
    try:
        values = {read(text) for text in leaves.get(path, [])}
    except ValueError:
        raise UnreadableInvoice("bad_value", path) from None
    if not values:
        raise UnreadableInvoice("missing_value", path)
    if len(values) > 1:
        raise UnreadableInvoice("several_invoices", path)
    return values.pop()


def _optional(leaves: Leaves, path: str, read: Callable[[str], str]) -> str:
    return _one(leaves, path, read) if path in leaves else ""
