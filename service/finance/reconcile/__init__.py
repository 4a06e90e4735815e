"""Reconciliation: compares a file of a retailer or a payment platform with the ledger, row by row.

`run.py` does the work. The API starts it in a child process (`child.py`); the command line calls it
directly. It never changes the journal or a claim.
"""
