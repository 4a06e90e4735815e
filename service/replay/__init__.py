"""The replay: prices the claims of a period anew under another policy.

The ledger's claims are read in slices by processes of their own (`reader.py`), which price each
line with the claim path's `quote` (`price.py`). One pass over all lines in the order in which they
were claimed then takes quotas and budgets, with the claim path's `Standing` (`run.py`). It never
writes to the ledger.
"""
