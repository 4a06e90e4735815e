"""`butie audit`: the invariants of the claim protocol, each checked by one small module.

All that is read from the ledger is read from one snapshot, without a lock that a claim could
wait for; rows either stay in PostgreSQL or come in a stream.
"""
