"""An audit takes closed days as an earlier one proved them, and sees every change of one."""

import pytest
from click.testing import Result

from service.audit import proofs
from service.core.calendar import start_of_day
from tests.audit.command import audit
from tests.audit.planted import PLANTED, live
from tests.builders import resident_id
from tests.conftest import House
from tests.finance.books import TODAY, close

pytestmark = pytest.mark.anyio

SHORT = "proved them"
FULL = "Everything was looked at"


@pytest.fixture
async def proved(house: House) -> House:
    """A house whose claims are all of a closed day, which an audit has proved."""
    await live(house)
    assert TODAY in await close(house)
    first = await audit(house)
    assert first.exit_code == 0, first.output
    assert f"{FULL}: no earlier audit" in first.output
    return house


def broken(answer: Result) -> str:
    assert answer.exit_code == 1, answer.output
    return "\n".join(line for line in answer.output.splitlines() if "broken:" in line)


async def test_what_was_proved_is_not_looked_at_again(proved: House) -> None:
    answer = await audit(proved)
    assert answer.exit_code == 0, answer.output
    assert SHORT in answer.output
    assert answer.output.count("holds") == 7
    (row,) = [line for line in answer.output.splitlines() if "claims booked" in line]
    assert [cell.strip() for cell in row.split("│")[2:4]] == ["0", "4"]


async def test_the_metrics_say_when_everything_was_looked_at(proved: House) -> None:
    assert SHORT in (await audit(proved)).output
    full, newest = await proved.sql("SELECT finished_at FROM audit_run ORDER BY run_no")
    async with proved.client() as client:
        lines = (await client.get("/metrics")).text.splitlines()
    shown = dict(
        line.split() for line in lines if line.startswith("butie_audit_") and "{" not in line
    )
    assert float(shown["butie_audit_full_finished_timestamp_seconds"]) == (
        pytest.approx(full["finished_at"].timestamp(), abs=0.001)
    )
    assert float(shown["butie_audit_finished_timestamp_seconds"]) == (
        pytest.approx(newest["finished_at"].timestamp(), abs=0.001)
    )


async def test_full_looks_at_everything(proved: House) -> None:
    answer = await audit(proved, "--full")
    assert answer.exit_code == 0, answer.output
    assert f"{FULL}: --full" in answer.output


@pytest.mark.parametrize("change", PLANTED)
async def test_a_breach_in_a_proved_day_is_named(proved: House, change: str) -> None:
    for constraint in ("quota_not_passed", "quota_not_negative"):
        await proved.slow_sql(f"ALTER TABLE quota_use DROP CONSTRAINT {constraint}")
    for guard in ("journal_append_only", "journal_open_days_only"):
        await proved.slow_sql(f"ALTER TABLE journal DISABLE TRIGGER {guard}")
    await proved.slow_sql(change)
    # Until the books tie, every audit names it.
    for _ in range(2):
        assert PLANTED[change] in broken(await audit(proved))


# Changes whose amounts or counts cancel out, and rows that are added or gone altogether.
HIDDEN = {
    "UPDATE quota_use SET used = 1 - used WHERE used <= 1": "rights kept",
    "UPDATE serial_claimed SET serial_no = serial_no || 'X'": "serials once",
    "UPDATE serial_claimed SET claim_id = gen_random_uuid()": "serials once",
    "UPDATE idempotency_key SET idempotency_key = idempotency_key || 'X'": "keys once",
    "WITH gone AS (DELETE FROM claim_line WHERE state = 'refunded') DELETE FROM claim WHERE NOT"
    " EXISTS (SELECT FROM serial_claimed AS s WHERE s.claim_id = claim.claim_id)": "keys once",
    "INSERT INTO claim_line SELECT claim_id, 2::smallint, category, scheme, pool, state, price_fen,"
    " rate_bp, cap_fen, subsidy_fen, energy_grade, 'Y' || serial_no, imei, barcode, brand, model,"
    " trade_in, '[]'::jsonb, facts FROM claim_line WHERE state = 'confirmed'": "claims booked",
    "UPDATE claim_line SET state = 'refunded' WHERE state = 'confirmed'": "claims booked",
    "UPDATE journal SET booked_on = booked_on - 1, amount_fen = amount_fen + 1"
    " WHERE kind = 'grant'": "claims booked",
}


@pytest.mark.parametrize("change", HIDDEN)
async def test_a_change_that_cancels_out_is_named(proved: House, change: str) -> None:
    await proved.slow_sql("ALTER TABLE journal DISABLE TRIGGER journal_append_only")
    await proved.slow_sql(change)
    assert HIDDEN[change] in broken(await audit(proved))


async def test_a_trigger_that_was_disabled_for_a_moment_is_noticed(proved: House) -> None:
    trigger = "TRIGGER audit_marks_update"
    await proved.slow_sql(f"ALTER TABLE claim DISABLE {trigger}")
    await proved.slow_sql("UPDATE claim SET policy = 'none'")
    answer = await audit(proved)
    assert "amounts right" in broken(answer)
    assert f"{FULL}: the triggers" in answer.output
    assert "ENABLE ALWAYS TRIGGER" in answer.output
    await proved.slow_sql(f"ALTER TABLE claim ENABLE ALWAYS {trigger}")
    answer = await audit(proved)
    assert "amounts right" in broken(answer)
    assert f"{FULL}: no earlier audit" in answer.output


async def test_a_trigger_that_is_enabled_again_is_another_one(proved: House) -> None:
    trigger = "TRIGGER audit_marks_update"
    await proved.slow_sql(f"ALTER TABLE claim DISABLE {trigger}")
    await proved.slow_sql("UPDATE claim SET policy = 'none'")
    await proved.slow_sql(f"ALTER TABLE claim ENABLE ALWAYS {trigger}")
    answer = await audit(proved)
    assert "amounts right" in broken(answer)
    assert f"{FULL}: the triggers" in answer.output


async def test_a_session_that_skips_triggers_is_seen(proved: House) -> None:
    async with proved.service.reports.connection() as connection:
        await connection.execute("SET session_replication_role = replica")
        await connection.execute("UPDATE claim SET policy = 'none' WHERE state = 'confirmed'")
        await connection.execute("RESET session_replication_role")
    answer = await audit(proved)
    assert "amounts right" in broken(answer)
    assert SHORT in answer.output


async def test_late_refunds_and_ended_holds_stay_short(proved: House) -> None:
    rows = await proved.sql("SELECT claim_id, state FROM claim ORDER BY claim_id")
    async with proved.client() as till:
        for row in rows:
            if row["state"] == "confirmed":
                await till.post(
                    f"/v1/claims/{row['claim_id']}/refunds",
                    json={"lines": [1], "reason": "returned"},
                    headers={"Idempotency-Key": f"late-{row['claim_id']}"},
                )
            elif row["state"] == "reserved":
                answer = await till.post(f"/v1/claims/{row['claim_id']}/confirm")
                assert answer.status_code == 200, answer.text
    await proved.quiet()
    for _ in range(2):  # the second time for their entries in an open day
        answer = await audit(proved)
        assert answer.exit_code == 0, answer.output
        assert SHORT in answer.output
        (row,) = [line for line in answer.output.splitlines() if "claims booked" in line]
        assert row.split("│")[2].strip() == "2", answer.output
        assert await proved.sql("SELECT FROM audit_mark") == []


async def test_a_claim_after_the_closed_days_is_looked_at(proved: House) -> None:
    later = start_of_day(TODAY).timestamp() + 26 * 3600
    new_id = f"{int(later * 1000):012x}-7000-8000-000000000001"
    claim_id = f"{new_id[:8]}-{new_id[8:]}"
    await proved.slow_sql(
        "INSERT INTO claim SELECT $1::uuid, jurisdiction, retailer_id, store_id, 'new', order_no,"
        " policy, state, sold_at, created_at, expires_at, id_type, consumer_digest,"
        " consumer_last4, price_fen, subsidy_fen, invoice_no, delivery_region FROM claim LIMIT 1",
        claim_id,
    )
    answer = await audit(proved)
    assert "keys once" in broken(answer)
    assert SHORT in answer.output


async def test_a_day_with_another_digest_is_looked_at_again(proved: House) -> None:
    await proved.slow_sql("ALTER TABLE journal_day DISABLE TRIGGER ALL")
    await proved.slow_sql("UPDATE journal_day SET digest = sha256(digest)")
    answer = await audit(proved)
    assert answer.exit_code == 0, answer.output
    assert f"looked at now: {TODAY}" in answer.output


async def test_a_breach_that_only_full_sees_stays_in_sight(proved: House) -> None:
    await proved.slow_sql("UPDATE claim SET policy = 'none'")
    await proved.slow_sql("DELETE FROM audit_mark")
    assert (await audit(proved)).exit_code == 0
    assert "amounts right" in broken(await audit(proved, "--full"))
    answer = await audit(proved)
    assert "amounts right" in broken(answer)
    assert f"{FULL}: no earlier audit" in answer.output
    rows = await proved.sql("SELECT everything FROM audit_run ORDER BY run_no")
    assert [row["everything"] for row in rows] == [True, False, True, True]


async def test_a_breach_removes_the_marks_that_were_looked_at(proved: House) -> None:
    await proved.slow_sql("UPDATE claim SET policy = 'none'")
    broken(await audit(proved))
    assert await proved.sql("SELECT FROM audit_mark") == []


@pytest.mark.parametrize("table", ["claim", "claim_line", "journal"])
async def test_a_table_that_was_emptied_and_filled_again_is_noticed(
    proved: House, table: str
) -> None:
    async with proved.service.reports.connection() as connection:
        await connection.execute("SET session_replication_role = replica")
        await connection.execute("ALTER TABLE journal DISABLE TRIGGER journal_append_only")
        for name in ("claim", "claim_line", "journal"):
            await connection.execute(f"CREATE TEMP TABLE kept_{name} AS SELECT * FROM {name}")
        await connection.execute(f"TRUNCATE {table} CASCADE")
        for name in ("claim", "claim_line", "journal"):
            await connection.execute(
                f"INSERT INTO {name} OVERRIDING SYSTEM VALUE SELECT k.* FROM kept_{name} AS k"
                f" WHERE NOT EXISTS (SELECT FROM {name})"
            )
        await connection.execute("RESET session_replication_role")
    assert f"{FULL}: the triggers, the tables" in (await audit(proved)).output


@pytest.mark.parametrize(
    ("change", "exit_code"),
    [
        ("DELETE FROM claim WHERE state = 'cancelled'", 1),
        ("UPDATE claim SET claim_id = gen_random_uuid() WHERE state = 'cancelled'", 1),
        ("UPDATE claim SET jurisdiction = '330403' WHERE state = 'cancelled'", 1),
        ("UPDATE claim_line SET line_no = 2 WHERE state = 'cancelled'", 0),
    ],
)
async def test_a_claim_that_is_gone_or_moved_marks_everything(
    proved: House, change: str, exit_code: int
) -> None:
    async with proved.service.reports.connection() as connection:
        await connection.execute("SET session_replication_role = replica")
        await connection.execute(change)
        await connection.execute("RESET session_replication_role")
    rows = await proved.sql("SELECT DISTINCT jurisdiction, claim_id FROM audit_mark")
    assert [tuple(row) for row in rows] == [("330402", None)]
    answer = await audit(proved)
    assert answer.exit_code == exit_code, answer.output
    assert f"{FULL}: very many rows were changed, or claims" in answer.output


async def test_marks_of_new_claims_are_not_too_many(
    proved: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proofs, "MARKS_MAX", 0)
    await proved.slow_sql(
        "INSERT INTO audit_mark (jurisdiction, relation, claim_id, former)"
        " VALUES ('330402', 'claim', 'ffffffff-0000-7000-8000-000000000000', '{}')"
    )
    assert SHORT in (await audit(proved)).output


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE claim SET price_fen = 3000000000",
        "UPDATE claim_line SET price_fen = 4000000000",
    ],
)
async def test_an_amount_too_large_for_the_sums_is_compared(house: House, change: str) -> None:
    await live(house)
    await house.slow_sql(f"UPDATE claim SET price_fen = {2**31 - 1}")
    await house.slow_sql(f"UPDATE claim_line SET price_fen = {2**31 - 1}")
    await house.slow_sql(change)
    assert "claims booked" in broken(await audit(house))


@pytest.mark.parametrize("options", [(), ("--full",)])
async def test_an_entry_without_a_line_is_named(proved: House, options: tuple[str, ...]) -> None:
    for guard in ("journal_append_only", "journal_open_days_only"):
        await proved.slow_sql(f"ALTER TABLE journal DISABLE TRIGGER {guard}")
    await proved.slow_sql(
        "INSERT INTO journal (jurisdiction, kind, booked_on, booked_at, pool, amount_fen, claim_id)"
        " SELECT jurisdiction, 'grant', booked_on, booked_at, pool, amount_fen, claim_id"
        " FROM journal WHERE kind = 'grant'"
    )
    assert "claims booked" in broken(await audit(proved, *options))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ('UPDATE audit_proof SET policies = \'{"nanhu-2025": ""}\'', "a policy file was changed"),
        ("UPDATE audit_proof SET guard = ''", "the triggers"),
        (
            "INSERT INTO audit_mark (jurisdiction, relation) VALUES ('330402', 'claim')",
            "very many rows were changed",
        ),
        ("DELETE FROM audit_proof", "no earlier audit"),
    ],
)
async def test_a_proof_that_cannot_be_relied_on_is_not(
    proved: House, change: str, why: str
) -> None:
    await proved.slow_sql(change)
    answer = await audit(proved)
    assert answer.exit_code == 0, answer.output
    assert f"{FULL}: {why}" in answer.output
    assert SHORT in (await audit(proved)).output


async def test_a_statement_that_changes_very_many_rows_leaves_one_mark(house: House) -> None:
    await house.slow_sql(
        "INSERT INTO claim SELECT gen_random_uuid(), '330402', 'sandbox', 'NH0001', n::text, 'o',"
        " 'nanhu-2025', 'cancelled', now(), now(), NULL, 'resident_id', ''::bytea, '0000', 1, 1"
        " FROM generate_series(1, $1) AS n",
        10_000,
    )
    await house.slow_sql("UPDATE claim SET order_no = 'p'")
    rows = await house.sql("SELECT jurisdiction, claim_id FROM audit_mark")
    assert [tuple(row) for row in rows] == [("330402", None)]


async def test_no_temporary_table_takes_the_place_of_the_marks(proved: House) -> None:
    async with proved.service.reports.connection() as connection:
        await connection.execute("CREATE TEMP TABLE audit_mark (LIKE audit_mark INCLUDING ALL)")
        await connection.execute("UPDATE claim SET policy = 'none'")
        assert await connection.fetchval("SELECT count(*) FROM audit_mark") == 0
        await connection.execute("DROP TABLE pg_temp.audit_mark")
    assert await proved.sql("SELECT FROM audit_mark") != []


async def test_a_claim_leaves_no_mark(house: House) -> None:
    answer = await house.claim("k", consumer={"id_type": "resident_id", "id_number": resident_id()})
    assert answer.status_code == 201
    assert await house.sql("SELECT FROM audit_mark") == []
