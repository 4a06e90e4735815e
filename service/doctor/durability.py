"""What PostgreSQL has said is kept, is kept: through a power cut, and through a lost disk."""

from collections.abc import AsyncIterator

from service.doctor.check import Check, Finding, Patient, fault, ok, warning

# Asked on our own connection: a role or a database may have a value of its own.
MUST_BE_ON = {
    "fsync": "a power cut corrupts the ledger",
    "full_page_writes": "a power cut may tear a page",
    "synchronous_commit": "a claim that was answered may be lost",
}


async def _find(patient: Patient) -> AsyncIterator[Finding]:
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
        yield warning(
            "no WAL is archived: a restore goes back to the last backup only",
            "set archive_mode and archive_command, or use a service that does",
        )
    if await patient.ask("SHOW data_checksums") == "off":
        yield warning("no checksums: a disk's error goes unseen", "pg_checksums --enable")
    yield ok("fsync, full_page_writes and synchronous_commit were looked at")


CHECK = Check("durability", _find, needs="ledger")
