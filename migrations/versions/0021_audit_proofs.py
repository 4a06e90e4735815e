"""An audit keeps what it proved, and looks again only at what is new or was touched."""

from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

# `audit_day` and `audit_proof` are what the newest audit without a breach proved. `audit_mark` has
# the claims, lines and entries that were changed or deleted since, each with what the next audit
# needs of the former row; it removes them. A mark without `claim_id` stands for everything.
# `audit_run.everything` is true for the audits of a former release: they looked at everything.
TABLES = """
CREATE TABLE IF NOT EXISTS audit_mark (
    mark_no       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    jurisdiction  text NOT NULL,
    relation      text NOT NULL,
    claim_id      uuid,
    line_no       smallint,
    former        jsonb
);

CREATE TABLE IF NOT EXISTS audit_day (
    jurisdiction  text NOT NULL,
    day           date NOT NULL,
    digest        bytea NOT NULL,
    entries       bigint NOT NULL,
    pools         jsonb NOT NULL,
    PRIMARY KEY (jurisdiction, day)
);

CREATE TABLE IF NOT EXISTS audit_proof (
    jurisdiction  text NOT NULL,
    proved_at     timestamptz NOT NULL,
    since_claim   uuid NOT NULL,
    seed          bigint NOT NULL,
    claims        bigint NOT NULL,
    lines         bigint NOT NULL,
    keys_sum      numeric NOT NULL,
    serials_sum   numeric NOT NULL,
    quotas_sum    numeric NOT NULL,
    policies      jsonb NOT NULL,
    guard         text NOT NULL,
    PRIMARY KEY (jurisdiction)
);

ALTER TABLE audit_run ADD COLUMN IF NOT EXISTS everything boolean NOT NULL DEFAULT true;
"""

# For this transaction: the functions keep it. Temporary tables come last, so that none takes the
# place of a table here.
PATH = """
SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true)
"""

# Once a statement, and never for a claim that is new: commits only insert. A statement that changes
# very many rows, as a rotation of keys does, gets one mark for everything. No statement of the
# claim path has so many: a batch has up to 256 claims of 20 lines. The service deletes no claim and
# no line, and gives none another id or jurisdiction. A statement that does gets a mark for
# everything in every jurisdiction, for the audits count the rows of all. The functions have the
# owner's privileges: the service's role cannot write marks of its own.
FUNCTIONS = """
CREATE OR REPLACE FUNCTION audit_marks_everything(relation text) RETURNS void LANGUAGE sql
AS $$
    INSERT INTO audit_mark (jurisdiction, relation)
    SELECT DISTINCT jurisdiction, audit_marks_everything.relation FROM pool
$$;

CREATE OR REPLACE FUNCTION audit_marks_claims() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        PERFORM audit_marks_everything('claim') WHERE EXISTS (SELECT FROM former_row);
    ELSIF EXISTS (SELECT claim_id, jurisdiction FROM new_row
            EXCEPT SELECT claim_id, jurisdiction FROM former_row) THEN
        PERFORM audit_marks_everything('claim');
    ELSIF (SELECT count(*) FROM former_row) >= 10000 THEN
        INSERT INTO audit_mark (jurisdiction, relation)
        SELECT DISTINCT jurisdiction, 'claim' FROM former_row;
    ELSE
        INSERT INTO audit_mark (jurisdiction, relation, claim_id, former)
        SELECT jurisdiction, 'claim', claim_id, jsonb_build_object(
            'retailer_id', retailer_id, 'idempotency_key', idempotency_key)
        FROM former_row;
    END IF;
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION audit_marks_lines() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        PERFORM audit_marks_everything('claim_line') WHERE EXISTS (SELECT FROM former_row);
    ELSIF EXISTS (SELECT claim_id, line_no FROM new_row
            EXCEPT SELECT claim_id, line_no FROM former_row) THEN
        PERFORM audit_marks_everything('claim_line');
    ELSIF (SELECT count(*) FROM former_row) >= 10000 THEN
        INSERT INTO audit_mark (jurisdiction, relation)
        SELECT DISTINCT c.jurisdiction, 'claim_line'
        FROM former_row AS l JOIN claim AS c USING (claim_id);
    ELSE
        INSERT INTO audit_mark (jurisdiction, relation, claim_id, line_no, former)
        SELECT c.jurisdiction, 'claim_line', l.claim_id, l.line_no, jsonb_build_object(
            'state', l.state, 'serial_no', l.serial_no, 'imei', l.imei,
            'imei2', l.facts ->> 'imei2', 'quotas', l.quotas)
        FROM former_row AS l JOIN claim AS c USING (claim_id);
    END IF;
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION audit_marks_entries() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    IF (SELECT count(*) FROM former_row) >= 10000 THEN
        INSERT INTO audit_mark (jurisdiction, relation)
        SELECT DISTINCT jurisdiction, 'journal' FROM former_row;
    ELSE
        INSERT INTO audit_mark (jurisdiction, relation, claim_id, line_no, former)
        SELECT jurisdiction, 'journal', coalesce(claim_id, '00000000-0000-0000-0000-000000000000'),
            line_no, jsonb_build_object('booked_on', booked_on)
        FROM former_row;
    END IF;
    RETURN NULL;
END
$$;
"""

MARKED = {
    "claim": "audit_marks_claims",
    "claim_line": "audit_marks_lines",
    "journal": "audit_marks_entries",
}


EVENTS = {
    "UPDATE": "OLD TABLE AS former_row NEW TABLE AS new_row",
    "DELETE": "OLD TABLE AS former_row",
}


def upgrade() -> None:
    op.execute(PATH)
    for part in (TABLES, FUNCTIONS):
        for command in part.strip().split("\n\n"):
            op.execute(command)
    # Each in a transaction of its own: claims that wait for one table hold no other that this waits
    # for. A run that was ended is repeated. `ENABLE ALWAYS`: also for a session that replicates.
    with op.get_context().autocommit_block():
        for table, function in MARKED.items():
            for event, rows in EVENTS.items():
                trigger = f"audit_marks_{event.lower()}"
                op.execute(
                    f"CREATE OR REPLACE TRIGGER {trigger} AFTER {event} ON {table} "
                    f"REFERENCING {rows} FOR EACH STATEMENT EXECUTE FUNCTION {function}()"
                )
                op.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {trigger}")
