"""Every pool equals the sums of the journal and the holds.

A breach means that money moved without an entry, or that an entry moved no money: a statement took
effect only in part, or a row was changed by hand.
"""

from service.audit.invariant import Finding, Invariant, Snapshot, name_breaches

_COUNT = "SELECT count(*) FROM pool WHERE jurisdiction = $1"
# $1 jurisdiction; of the journal: $2 pools $3 allocated $4 confirmed, in fen
_BREACHES = """
WITH booked AS (
    SELECT * FROM unnest($2::text[], $3::bigint[], $4::bigint[])
        AS b (pool, allocated, confirmed)
),
held AS (
    SELECT l.pool, sum(l.subsidy_fen) AS reserved
    FROM claim AS c JOIN claim_line AS l USING (claim_id)
    WHERE c.jurisdiction = $1 AND c.state = 'reserved' GROUP BY l.pool
),
compared AS (
    SELECT pool, allocated_fen, confirmed_fen, reserved_fen, spent_fen,
        coalesce(allocated, 0) AS allocated, coalesce(confirmed, 0) AS confirmed,
        coalesce(reserved, 0) AS reserved
    FROM pool_total LEFT JOIN booked USING (pool) LEFT JOIN held USING (pool)
    WHERE jurisdiction = $1
)
SELECT format('%s: allocated %s, the journal says %s', pool, allocated_fen, allocated)
FROM compared WHERE allocated_fen <> allocated
UNION ALL
SELECT format('%s: confirmed %s, the journal says %s', pool, confirmed_fen, confirmed)
FROM compared WHERE confirmed_fen <> confirmed
UNION ALL
SELECT format('%s: reserved %s, the holds say %s', pool, reserved_fen, reserved)
FROM compared WHERE reserved_fen <> reserved
UNION ALL
SELECT format('%s: spent %s of %s', pool, spent_fen, allocated_fen)
FROM compared WHERE spent_fen < 0 OR spent_fen > allocated_fen
UNION ALL
SELECT format('%s: %s set aside for its slices, the slices have %s', pool, escrow_fen, slices_fen)
FROM pool, LATERAL (
    SELECT coalesce(sum(p.escrow_fen), 0) AS slices_fen FROM pool_part AS p
    WHERE p.jurisdiction = pool.jurisdiction AND p.pool = pool.pool
) AS slices
WHERE jurisdiction = $1 AND escrow_fen <> slices_fen
"""


async def _check(snapshot: Snapshot) -> Finding:
    connection, jurisdiction = snapshot.connection, snapshot.jurisdiction
    finding = Finding(checked=await connection.fetchval(_COUNT, jurisdiction))
    booked = snapshot.days.booked()
    columns = [[fen[part] for fen in booked.values()] for part in (0, 1)]
    await name_breaches(connection, finding, _BREACHES, jurisdiction, list(booked), *columns)
    return finding


INVARIANT = Invariant(
    "pools tie", "money moved without an entry, or an entry without money", _check
)
