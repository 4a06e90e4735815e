"""The files of e-invoices: number, date, total, buyer and seller, as XML or OFD.

A file says what its maker wrote. Whether the tax authority knows the invoice is not checked here.
"""
