"""The books close: closed days with their digests, funding shares, settlements."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# What a policy says of who bears the subsidy, as it was when the policy was first met: a later
# change of the file cannot change what was exported.
FUNDING = """
CREATE TABLE policy_funding (
    jurisdiction  text NOT NULL,
    policy        text NOT NULL,
    centre_bp     integer NOT NULL,
    province_bp   integer NOT NULL,
    city_bp       integer NOT NULL,
    district_bp   integer NOT NULL,
    PRIMARY KEY (jurisdiction, policy),
    CONSTRAINT policy_funding_is_whole
        CHECK (centre_bp + province_bp + city_bp + district_bp = 10000)
);

-- The largest remainder; of equal ones the higher level's comes first. The same as
-- service/core/funding.py; the sign is taken out first, so that a refund's shares are the exact
-- negative of its grant's.
CREATE FUNCTION funding_shares(
    amount_fen bigint, centre_bp integer, province_bp integer, city_bp integer,
    district_bp integer
) RETURNS TABLE (centre_fen bigint, province_fen bigint, city_fen bigint, district_fen bigint)
LANGUAGE sql IMMUTABLE ROWS 1 AS $$
    SELECT
        sgn * (centre / 10000 + (left_over > (p > c)::int + (ci > c)::int + (d > c)::int)::int),
        sgn * (province / 10000 + (left_over > (c >= p)::int + (ci > p)::int + (d > p)::int)::int),
        sgn * (city / 10000 + (left_over > (c >= ci)::int + (p >= ci)::int + (d > ci)::int)::int),
        sgn * (district / 10000
            + (left_over > (c >= d)::int + (p >= d)::int + (ci >= d)::int)::int)
    FROM (
        SELECT *, (c + p + ci + d) / 10000 AS left_over
        FROM (
            SELECT *, centre % 10000 AS c, province % 10000 AS p, city % 10000 AS ci,
                district % 10000 AS d
            FROM (
                SELECT sign(amount_fen)::bigint AS sgn, abs(amount_fen) * centre_bp AS centre,
                    abs(amount_fen) * province_bp AS province, abs(amount_fen) * city_bp AS city,
                    abs(amount_fen) * district_bp AS district
            ) AS product
        ) AS remainder
    ) AS share
$$;

CREATE VIEW journal_funded AS
SELECT journal.*, centre_fen, province_fen, city_fen, district_fen
FROM journal
LEFT JOIN policy_funding AS f USING (jurisdiction, policy)
LEFT JOIN LATERAL funding_shares(
    amount_fen, f.centre_bp, f.province_bp, f.city_bp, f.district_bp
) ON f.policy IS NOT NULL;
"""

CLOSED_DAYS = """
CREATE TABLE journal_day (
    jurisdiction     text NOT NULL,
    day              date NOT NULL,
    closed_at        timestamptz NOT NULL,
    entries          bigint NOT NULL,
    sum_fen          bigint NOT NULL,
    previous_digest  bytea NOT NULL,
    digest           bytea NOT NULL,
    PRIMARY KEY (jurisdiction, day)
);

-- One row for each entry of a closed day: its place in the day, without gaps, and its hash.
CREATE TABLE journal_seal (
    jurisdiction  text NOT NULL,
    entry_no      bigint NOT NULL,
    day           date NOT NULL,
    seq           bigint NOT NULL,
    leaf          bytea NOT NULL,
    PRIMARY KEY (jurisdiction, entry_no),
    CONSTRAINT journal_seal_seq_key UNIQUE (jurisdiction, day, seq)
);

CREATE TRIGGER journal_day_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON journal_day
    FOR EACH STATEMENT EXECUTE FUNCTION journal_is_append_only();

CREATE TRIGGER journal_seal_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON journal_seal
    FOR EACH STATEMENT EXECUTE FUNCTION journal_is_append_only();

CREATE TRIGGER policy_funding_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON policy_funding
    FOR EACH STATEMENT EXECUTE FUNCTION journal_is_append_only();

-- The hash of an entry: SHA-256 of a JSON array of all that it says, in UTF-8.
CREATE FUNCTION journal_leaf(e journal_funded) RETURNS bytea LANGUAGE sql STABLE AS $$
    SELECT sha256(convert_to(jsonb_build_array(
        e.jurisdiction, e.entry_no, e.kind, e.booked_on,
        to_char(e.booked_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        e.pool, e.amount_fen, e.retailer_id, e.store_id, e.claim_id, e.line_no, e.category,
        e.policy, e.document_no, e.note, e.centre_fen, e.province_fen, e.city_fen,
        e.district_fen
    )::text, 'UTF8'))
$$;

-- The digest of a day: of the digest before it, the day's head, and its leaves in order.
CREATE FUNCTION journal_day_digest(
    previous bytea, place text, day date, entries bigint, sum_fen bigint, leaves bytea
) RETURNS bytea LANGUAGE sql STABLE AS $$
    SELECT sha256(
        previous || convert_to(jsonb_build_array(place, day, entries, sum_fen)::text, 'UTF8')
        || leaves)
$$;

-- A day's lock: shared by those who book into it until their commit, exclusive for who closes.
CREATE FUNCTION journal_day_key(day date) RETURNS integer LANGUAGE sql IMMUTABLE AS $$
    SELECT day - DATE '2000-01-01'
$$;

-- The day to book on: the wanted one, or the first open one after it. It stays open until the
-- caller's transaction ends.
CREATE FUNCTION booking_day(place text, wanted date) RETURNS date LANGUAGE plpgsql AS $$
DECLARE
    closed date;
BEGIN
    LOOP
        PERFORM pg_advisory_xact_lock_shared(hashtext('journal ' || place),
            journal_day_key(wanted));
        -- Read after the lock is had: a statement of its own, so with a new snapshot.
        SELECT max(day) INTO closed FROM journal_day WHERE jurisdiction = place;
        IF closed IS NULL OR wanted > closed THEN
            RETURN wanted;
        END IF;
        wanted := closed + 1;
    END LOOP;
END
$$;

-- Whoever books without asking for the day is refused when it is closed. Once a statement.
CREATE FUNCTION journal_day_is_open() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    booked record;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        -- An older snapshot does not see that the day was closed meanwhile.
        RAISE EXCEPTION 'book into the journal at READ COMMITTED'
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    FOR booked IN SELECT DISTINCT jurisdiction, booked_on FROM new_entries LOOP
        IF booking_day(booked.jurisdiction, booked.booked_on) <> booked.booked_on THEN
            RAISE EXCEPTION 'the day % is closed: ask booking_day() where to book',
                booked.booked_on USING ERRCODE = 'object_not_in_prerequisite_state';
        END IF;
    END LOOP;
    RETURN NULL;
END
$$;

CREATE TRIGGER journal_open_days_only AFTER INSERT ON journal
    REFERENCING NEW TABLE AS new_entries
    FOR EACH STATEMENT EXECUTE FUNCTION journal_day_is_open();
"""

SETTLEMENTS = """
CREATE TABLE settlement (
    jurisdiction       text NOT NULL,
    settlement_id      uuid NOT NULL,
    retailer_id        text NOT NULL,
    kind               text NOT NULL,
    from_on            date NOT NULL,
    to_on              date NOT NULL,
    state              text NOT NULL,
    entries            bigint NOT NULL,
    granted_fen        bigint NOT NULL,
    refunded_fen       bigint NOT NULL,
    clawed_back_fen    bigint NOT NULL,
    advanced_fen       bigint NOT NULL,
    net_fen            bigint NOT NULL,
    drafted_by         text NOT NULL,
    drafted_at         timestamptz NOT NULL,
    approved_by        text,
    approved_at        timestamptz,
    paid_by            text,
    paid_at            timestamptz,
    payment_reference  text,
    netted_in          uuid,
    PRIMARY KEY (jurisdiction, settlement_id),
    CONSTRAINT settlement_kind_known CHECK (kind IN ('final', 'advance')),
    CONSTRAINT settlement_state_known CHECK (state IN ('drafted', 'approved', 'paid')),
    CONSTRAINT settlement_by_two_keys CHECK (approved_by <> drafted_by),
    CONSTRAINT settlement_state_told CHECK (
        (state <> 'drafted') = (approved_by IS NOT NULL AND approved_at IS NOT NULL)
        AND (state = 'paid') = (payment_reference IS NOT NULL AND paid_at IS NOT NULL)
    ),
    CONSTRAINT settlement_adds_up CHECK (
        kind = 'advance'
        OR net_fen = granted_fen + refunded_fen + clawed_back_fen - advanced_fen
    )
);

CREATE INDEX settlement_retailer_idx ON settlement (jurisdiction, retailer_id, drafted_at);

CREATE UNIQUE INDEX settlement_one_advance_key ON settlement (jurisdiction, retailer_id)
    WHERE kind = 'advance' AND netted_in IS NULL;

-- Refunds are few, and grants do not pay for this.
CREATE INDEX journal_refund_idx ON journal (jurisdiction, retailer_id, entry_no)
    WHERE kind = 'refund';

CREATE TABLE settled_entry (
    jurisdiction   text NOT NULL,
    entry_no       bigint NOT NULL,
    settlement_id  uuid NOT NULL,
    part           text NOT NULL,
    claim_id       uuid NOT NULL,
    line_no        smallint NOT NULL,
    amount_fen     bigint NOT NULL,
    PRIMARY KEY (jurisdiction, entry_no),
    CONSTRAINT settled_entry_settlement_fkey
        FOREIGN KEY (jurisdiction, settlement_id) REFERENCES settlement,
    CONSTRAINT settled_entry_part_known CHECK (part IN ('grant', 'refund', 'claw_back'))
);

CREATE INDEX settled_entry_settlement_idx ON settled_entry (jurisdiction, settlement_id, entry_no);

CREATE INDEX settled_entry_claim_idx ON settled_entry (claim_id, line_no);

CREATE TRIGGER settled_entry_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON settled_entry
    FOR EACH STATEMENT EXECUTE FUNCTION journal_is_append_only();
"""


def upgrade() -> None:
    for part in (FUNDING, CLOSED_DAYS, SETTLEMENTS):
        for command in part.strip().split("\n\n"):
            op.execute(command)
