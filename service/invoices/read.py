"""Which reader a file needs, by its media type."""

from service.invoices.file import InvoiceFile

MEDIA_TYPES = ("application/xml", "text/xml", "application/ofd")


def read_file(content: bytes, media_type: str) -> InvoiceFile:
    """The invoice in a file of one of MEDIA_TYPES. Raises UnreadableInvoice."""
    # Imported for the first such file: most claims bring their invoice as JSON.
    if media_type == "application/ofd":
        from service.invoices.ofd import read_ofd

        return read_ofd(content)
    from service.invoices.xml import read_xml

    return read_xml(content)
