#!/usr/bin/env bash
# In the OFD of a fully digital invoice each field is a tag that points at text on the page. Some makers
# draw the total as two objects, the currency sign and the digits, and tag the sign.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check ofdkit==0.2.0
"$folder/venv/bin/python" - <<'PYTHON'
import importlib.metadata
import io
import zipfile

import ofdkit

XMLNS = 'xmlns:ofd="http://www.ofdspec.org/2016"'


def drawn(number: int, text: str) -> str:
    return (f'<ofd:TextObject ID="{number}" Boundary="10 {number} 60 5" Font="1" Size="4">'
            f'<ofd:TextCode X="0" Y="4">{text}</ofd:TextCode></ofd:TextObject>')


def tagged(name: str, number: int) -> str:
    return f'<{name}><ofd:ObjectRef PageRef="2">{number}</ofd:ObjectRef></{name}>'


texts = {10: "25330000000000000001", 11: "2025年06月18日", 12: "¥", 13: "113.00"}
tags = tagged("InvoiceNo", 10) + tagged("IssueDate", 11) + tagged("TaxInclusiveTotalAmount", 12)
parts = {
    "OFD.xml": f'<ofd:OFD {XMLNS} Version="1.1" DocType="OFD"><ofd:DocBody><ofd:DocInfo>'
               '<ofd:DocID>1</ofd:DocID></ofd:DocInfo><ofd:DocRoot>Doc_0/Document.xml</ofd:DocRoot>'
               '</ofd:DocBody></ofd:OFD>',
    "Doc_0/Document.xml": f'<ofd:Document {XMLNS}><ofd:CommonData><ofd:MaxUnitID>99</ofd:MaxUnitID>'
               '<ofd:PageArea><ofd:PhysicalBox>0 0 210 140</ofd:PhysicalBox></ofd:PageArea>'
               '</ofd:CommonData><ofd:Pages><ofd:Page ID="2" BaseLoc="Pages/Page_0/Content.xml"/>'
               '</ofd:Pages><ofd:CustomTags>Tags/CustomTags.xml</ofd:CustomTags></ofd:Document>',
    "Doc_0/Pages/Page_0/Content.xml": f'<ofd:Page {XMLNS}><ofd:Content><ofd:Layer ID="3">'
               + "".join(drawn(*one) for one in texts.items())
               + '</ofd:Layer></ofd:Content></ofd:Page>',
    "Doc_0/Tags/CustomTags.xml": f'<ofd:CustomTags {XMLNS}><ofd:CustomTag NameSpace="urn:example">'
               '<ofd:FileLoc>CustomTag.xml</ofd:FileLoc></ofd:CustomTag></ofd:CustomTags>',
    "Doc_0/Tags/CustomTag.xml": f'<eInvoice {XMLNS}>{tags}</eInvoice>',
}
file = io.BytesIO()
with zipfile.ZipFile(file, "w") as package:
    for name, text in parts.items():
        package.writestr(name, '<?xml version="1.0" encoding="UTF-8"?>' + text)
invoice = ofdkit.extract_invoice(file.getvalue())
print("ofdkit", importlib.metadata.version("ofdkit"), invoice.invoice_number, invoice.issue_date,
      "total:", repr(invoice.total_amount), "warnings:", invoice.warnings)
assert invoice.invoice_number == "25330000000000000001", "CHANGED"
assert invoice.total_amount == "¥", "CHANGED"
PYTHON
