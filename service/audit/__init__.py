"""`butie audit`: the invariants of the claim protocol, each checked by one small module.

A module exports its check as `INVARIANT`; `run` has the list. `gate` alone differs: it compares two
stores, so it reads no snapshot.

Everything is read from one snapshot of the ledger, without a lock that a claim could wait for.
Rows stay in PostgreSQL or come in a stream, so memory does not grow with the claims.
"""
