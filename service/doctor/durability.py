"""PostgreSQL keeps what it has committed, through a power cut and a lost disk."""

from collections.abc import AsyncIterator

from service.doctor.check import CheckResult, Patient, fault, ok, warning

# Read on our own connection, because a role or a database may have its own values.
MUST_BE_ON = {
    "fsync": "a power cut corrupts the ledger",
    "full_page_writes": "a power cut may tear a page",
    "synchronous_commit": "a claim that was answered may be lost",
}


# Every role may read it, unlike pg_stat_replication. A client without a slot may miss log.
_STREAMED = """
SELECT string_agg(slot_name, ', ') FROM pg_replication_slots
WHERE active AND slot_type = 'physical'
"""


async def check_durability(patient: Patient) -> AsyncIterator[CheckResult]:
    for name, harm in MUST_BE_ON.items():
        if await patient.ask("SELECT current_setting($1)", name) == "off":
            yield fault(
                f"{name} is off: {harm}",
                f"ALTER SYSTEM RESET {name}; SELECT pg_reload_conf() "
                f"(and ALTER ROLE … RESET {name}, ALTER DATABASE … RESET {name})",
            )
    if await patient.ask("SHOW autovacuum") == "off":
        yield fault(
            "autovacuum is off: claims get slower by the day", "ALTER SYSTEM RESET autovacuum"
        )
    if await patient.ask("SHOW archive_mode") == "off":
        yield _streamed(await patient.ask(_STREAMED))
    if await patient.ask("SHOW data_checksums") == "off":
        yield warning("no checksums: a disk's error stays unnoticed", "pg_checksums --enable")
    yield ok("fsync, full_page_writes and synchronous_commit were checked")


def _streamed(slots: str | None) -> CheckResult:
    if slots:
        return ok(f"the WAL is streamed from slot {slots}")
    return warning(
        "no WAL is archived: a restore goes back to the last backup only",
        "run `deploy/postgres/backup.sh log`, set archive_mode and archive_command, or use a "
        "service that does",
    )
