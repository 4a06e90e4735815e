"""Reconciliation: a retailer's or a payment platform's file beside the books, row by row.

`run.py` is the whole of it; `child.py` runs it for the API in a process of its own, the command
line in its own. Nothing in the books is changed by it.
"""
