"""Invoices as files, of invented companies, in each dialect and container."""

import io
import zipfile

NUMBER = "25332000000012345678"
BUYER, BUYER_ID = "演示顾客", "330402196003071233"
SELLER, SELLER_ID = "演示商贸有限公司", "91330402MA00000058"
TOTAL = "5999.00"

ENGLISH = """<?xml version="1.0" encoding="UTF-8"?>
<EInvoice>
  <Header><EIid>{number}</EIid><InherentLabel><InIssuType><LabelCode>{label}</LabelCode></InIssuType>
    <GeneralOrSpecialVAT><LabelName>普通发票</LabelName></GeneralOrSpecialVAT></InherentLabel></Header>
  <EInvoiceData>
    <SellerInformation><SellerIdNum>{seller_id}</SellerIdNum><SellerName>{seller}</SellerName></SellerInformation>
    <BuyerInformation><BuyerIdNum>{buyer_id}</BuyerIdNum><BuyerName>{buyer}</BuyerName></BuyerInformation>
    <BasicInformation><TotalAmWithoutTax>5308.85</TotalAmWithoutTax><TotalTaxAm>690.15</TotalTaxAm>
      <TotalTax-includedAmount>{total}</TotalTax-includedAmount></BasicInformation>
    <IssuItemInformation><ItemName>*家用电器*空调</ItemName><Amount>5308.85</Amount>
      <TotaltaxIncludedAmount>1.00</TotaltaxIncludedAmount></IssuItemInformation>
    {specific}
  </EInvoiceData>
  <TaxSupervisionInfo><InvoiceNumber>{number}</InvoiceNumber>
    <IssueTime>2025-06-18 10:15:00</IssueTime></TaxSupervisionInfo>
  <Signature><InvoiceNumber>1</InvoiceNumber></Signature>
</EInvoice>"""

CHINESE = """<?xml version="1.0" encoding="UTF-8"?>
<发票><发票号码>{number}</发票号码><开票日期>2025年06月18日</开票日期>
<购买方><购买方名称>{buyer}</购买方名称><购买方纳税人识别号>{buyer_id}</购买方纳税人识别号></购买方>
<销售方><销售方名称>{seller}</销售方名称><销售方纳税人识别号>{seller_id}</销售方纳税人识别号></销售方>
<合计金额>5308.85</合计金额><合计税额>690.15</合计税额><价税合计>¥{total}</价税合计></发票>"""

PINYIN = """<?xml version="1.0" encoding="{encoding}"?>
<FPXX><FPHM>{number}</FPHM><KPRQ>20250618</KPRQ><GMFMC>{buyer}</GMFMC><GMFNSRSBH>{buyer_id}</GMFNSRSBH>
<XSFMC>{seller}</XSFMC><XSFNSRSBH>{seller_id}</XSFNSRSBH><HJJE>5308.85</HJJE><HJSE>690.15</HJSE>
<JSHJXX>{total}</JSHJXX></FPXX>"""


def filled(layout: str, **other: str) -> str:
    """The layout of an invoice, with other values where they are given."""
    values = {
        "number": NUMBER,
        "buyer": BUYER,
        "buyer_id": BUYER_ID,
        "seller": SELLER,
        "seller_id": SELLER_ID,
        "total": TOTAL,
        "label": "Y",
        "specific": "",
        "encoding": "UTF-8",
    }
    return layout.format_map(values | other)


OFD_ROOT = """<?xml version="1.0" encoding="UTF-8"?>
<ofd:OFD xmlns:ofd="http://www.ofdspec.org/2016" Version="1.1" DocType="OFD"><ofd:DocBody>
<ofd:DocInfo><ofd:DocID>1</ofd:DocID><ofd:CustomDatas>{custom}</ofd:CustomDatas></ofd:DocInfo>
<ofd:DocRoot>Doc_0/Document.xml</ofd:DocRoot></ofd:DocBody></ofd:OFD>"""
OFD_DOCUMENT = """<?xml version="1.0" encoding="UTF-8"?>
<ofd:Document xmlns:ofd="http://www.ofdspec.org/2016"><ofd:CommonData><ofd:MaxUnitID>9</ofd:MaxUnitID>
</ofd:CommonData><ofd:Pages/>{attachments}</ofd:Document>"""
OFD_ATTACHMENTS = """<?xml version="1.0" encoding="UTF-8"?>
<ofd:Attachments xmlns:ofd="http://www.ofdspec.org/2016"><ofd:Attachment ID="1"
 Name="original_invoice" Format="xml"><ofd:FileLoc>{place}</ofd:FileLoc>
</ofd:Attachment></ofd:Attachments>"""
ORIGINAL_INVOICE = """<?xml version="1.0" encoding="UTF-8"?>
<eInvoice xmlns:fp="urn:example" Version="1.0"><fp:InvoiceCode>{code}</fp:InvoiceCode>
<fp:InvoiceNo>{number}</fp:InvoiceNo><fp:IssueDate>2025年06月18日</fp:IssueDate>
<fp:Buyer><fp:BuyerName>{buyer}</fp:BuyerName><fp:BuyerTaxID>{buyer_id}</fp:BuyerTaxID></fp:Buyer>
<fp:Seller><fp:SellerName>{seller}</fp:SellerName><fp:SellerTaxID>{seller_id}</fp:SellerTaxID></fp:Seller>
<fp:TaxExclusiveTotalAmount>5308.85</fp:TaxExclusiveTotalAmount><fp:TaxTotalAmount>690.15</fp:TaxTotalAmount>
<fp:TaxInclusiveTotalAmount>{total}</fp:TaxInclusiveTotalAmount></eInvoice>"""


def ofd(
    original: str | None = None,
    custom: dict[str, str] | None = None,
    place: str = "original_invoice.xml",
    more: dict[str, str] | None = None,
) -> bytes:
    """An OFD package whose attachment is this XML, or whose heading has these values alone."""
    data = "".join(
        f'<ofd:CustomData Name="{name}">{text}</ofd:CustomData>'
        for name, text in (custom or {}).items()
    )
    parts = {
        "OFD.xml": OFD_ROOT.format(custom=data),
        "Doc_0/Document.xml": OFD_DOCUMENT.format(
            attachments="<ofd:Attachments>Attachs/Attachments.xml</ofd:Attachments>"
            if original
            else ""
        ),
    }
    if original:
        parts["Doc_0/Attachs/Attachments.xml"] = OFD_ATTACHMENTS.format(place=place)
        parts["Doc_0/Attachs/original_invoice.xml"] = original
    parts |= more or {}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as package:
        for name, text in parts.items():
            package.writestr(name, text)
    return buffer.getvalue()
