"""`butie audit`: the invariants of the claim protocol, each checked by one small module.

Everything is read from one snapshot of the ledger, without a lock that a claim could wait for.
Rows stay in PostgreSQL or come in a stream, so memory does not grow with the claims.
"""
