"""Every migration of tables that have claims can run while claims go on."""

import re
from types import SimpleNamespace
from typing import Any

import pytest
from alembic import op

from tests.upgrade.former import EMPTY_REVISION
from tests.upgrade.migrations import chain
from tests.upgrade.online import faults


def test_migrations_have_four_digits_and_ascend() -> None:
    numbers = [script.revision for script in chain()]
    assert numbers == [f"{n:04d}" for n in range(1, len(numbers) + 1)]


def test_every_new_migration_can_run_while_claims_go_on() -> None:
    new = (script for script in chain() if script.revision > EMPTY_REVISION)
    assert {script.revision: wrong for script in new if (wrong := faults(script.module))} == {}


BLOCKING = {
    "CREATE INDEX i ON claim (order_no)": "CONCURRENTLY",
    "CREATE UNIQUE INDEX IF NOT EXISTS i ON public.claim_line (serial_no)": "CONCURRENTLY",
    "ALTER TABLE claim ADD COLUMN channel text NOT NULL": "default",
    "ALTER TABLE claim ADD COLUMN a text, ADD COLUMN b text NOT NULL": "default",
    "ALTER TABLE claim ALTER COLUMN price_fen TYPE numeric": "new column",
    "ALTER TABLE claim ALTER order_no SET NOT NULL": "NOT VALID",
    "ALTER TABLE claim ADD COLUMN n bigint GENERATED ALWAYS AS IDENTITY": "plain column",
    "ALTER TABLE claim ADD COLUMN u uuid DEFAULT gen_random_uuid()": "constant",
    "ALTER TABLE journal ADD CONSTRAINT c CHECK (amount_fen <> 0)": "NOT VALID",
    "ALTER TABLE ONLY claim ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES b": "NOT VALID",
    "ALTER TABLE claim ADD CONSTRAINT u UNIQUE (order_no)": "USING INDEX",
    "ALTER TABLE claim RENAME COLUMN order_no TO order_number": "former release",
    "ALTER TABLE claim DROP COLUMN delivery_region": "former release",
    "ALTER TABLE claim DROP delivery_region": "former release",
    "DROP TABLE refund": "former release",
    "UPDATE claim SET channel = 'pos'": "small steps",
    "DELETE FROM quota_use WHERE used = 0": "small steps",
    "LOCK TABLE claim": "small steps",
}

PASSING = [
    "CREATE INDEX CONCURRENTLY i ON claim (order_no)",
    "CREATE INDEX i ON retailer (name)",
    "ALTER TABLE claim ADD COLUMN n numeric(9, 2) NOT NULL DEFAULT 0",
    "ALTER TABLE claim ADD COLUMN n text DEFAULT 'none' NOT NULL",
    "ALTER TABLE claim ADD COLUMN channel text",
    "ALTER TABLE claim ADD COLUMN channel text NOT NULL DEFAULT 'pos'",
    "ALTER TABLE claim ADD COLUMN a text NOT NULL DEFAULT '', ADD COLUMN b text",
    "ALTER TABLE claim ADD CONSTRAINT c CHECK (price_fen > 0) NOT VALID",
    "ALTER TABLE claim VALIDATE CONSTRAINT c",
    "ALTER TABLE claim DROP CONSTRAINT c",
    "ALTER TABLE claim ALTER COLUMN delivery_region DROP NOT NULL",
    "ALTER TABLE claim ADD CONSTRAINT u UNIQUE USING INDEX i",
    "CREATE TABLE thing (a text NOT NULL)",
    "UPDATE retailer SET name = ''",
]


def migration(*statements: str, **more: Any) -> Any:
    def upgrade() -> None:
        for statement in statements:
            op.execute(statement)

    return SimpleNamespace(upgrade=upgrade, **more)


@pytest.mark.parametrize("statement", BLOCKING)
def test_a_statement_that_would_stop_the_tills_is_a_fault(statement: str) -> None:
    sentences = faults(migration(statement))
    assert sentences and re.search(BLOCKING[statement], sentences[0]), sentences


@pytest.mark.parametrize("statement", PASSING)
def test_a_statement_that_stops_no_till_passes(statement: str) -> None:
    assert faults(migration(statement)) == []


def test_a_new_table_may_be_indexed_at_once() -> None:
    assert faults(migration("CREATE TABLE claim (a text)", "CREATE INDEX i ON claim (a)")) == []


def test_a_contracting_migration_says_since_when_the_dropped_column_is_unused() -> None:
    drop = "ALTER TABLE claim DROP COLUMN delivery_region"
    assert faults(migration(drop, unused_since="0.2.0")) == []


def test_a_migration_of_a_table_in_use_sets_no_lock_timeout_of_its_own() -> None:
    patient = "SET LOCAL lock_timeout = '5s'"
    assert faults(migration(patient, "ALTER TABLE pool ADD COLUMN a text")) != []
    assert faults(migration(patient, "CREATE TABLE a (b text)", "CREATE INDEX i ON a (b)")) == []
