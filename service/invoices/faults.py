"""Why an e-invoice's file cannot be used, in a sentence that says what to do."""

from typing import Literal

from service.core.sentences import Language, Sentence

Fault = Literal[
    "too_large", "has_dtd", "not_xml", "not_ofd", "unknown_layout", "missing_value", "bad_value",
    "several_invoices",
]  # fmt: skip

SENTENCES: dict[Fault, Sentence] = {
    "too_large": Sentence(
        "发票文件过大或内容过多（最多 10 MB）；请提交电子发票的原始 XML 或 OFD 文件",
        "the invoice's file is too large or has too much in it (10 MB at most): send the "
        "e-invoice's own XML or OFD file",
    ),
    "has_dtd": Sentence(
        "XML 中有 DTD 或实体，发票文件不应有；请提交税务平台下载的原始文件",
        "the XML has a DTD or entities, which no invoice needs: send the file as the tax platform "
        "gave it",
    ),
    "not_xml": Sentence(
        "不是可读取的 XML；请提交电子发票的原始 XML 文件",
        "it is no XML that can be read: send the e-invoice's own XML file",
    ),
    "not_ofd": Sentence(
        "不是可读取的 OFD；请提交电子发票的原始 OFD 文件，或其 XML 文件",
        "it is no OFD that can be read: send the e-invoice's own OFD file, or its XML",
    ),
    "unknown_layout": Sentence(
        "文件中没有可识别的发票内容；请提交其 XML 文件，或按 JSON 填报",
        "the file has no invoice in a layout that we know: send its XML, or the facts as JSON",
    ),
    "missing_value": Sentence(
        "发票文件缺少 {field}；请提交其 XML 文件，或按 JSON 填报",
        "the invoice's file lacks {field}: send its XML, or the facts as JSON",
    ),
    "bad_value": Sentence(
        "发票文件中的 {field} 无法读取；请提交其 XML 文件，或按 JSON 填报",
        "{field} in the invoice's file cannot be read: send its XML, or the facts as JSON",
    ),
    "several_invoices": Sentence(
        "文件中有多张发票（{field} 不止一个）；请逐张提交",
        "the file has several invoices, for {field} differs in it: send one at a time",
    ),
}


class UnreadableInvoice(Exception):
    """The file is not one invoice that can be read. `field` names what could not be read, in the
    file's own words."""

    def __init__(self, fault: Fault, field: str = "") -> None:
        super().__init__(f"{fault} {field}".rstrip())
        self.fault = fault
        self.field = field

    def why(self, language: Language) -> str:
        return SENTENCES[self.fault].in_language(language).format(field=self.field)
