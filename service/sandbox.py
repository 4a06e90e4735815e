"""The sandbox: invented money for an invented retailer, and a clock that starts in June 2025.

The data folder has the engines' data, `clock.json` with the start of the business clock, and
`sandbox.json` with the keys.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from service.config import Misconfigured
from service.core.calendar import SHANGHAI
from service.core.policy import PolicyBook
from service.db.acts import ActContext
from service.db.engine import connect
from service.db.tables import api_key, claim, journal, pool, retailer
from service.pools.budgets import Allocation, allocate
from service.retailers.enrol import NewStore, add_retailer, add_stores
from service.retailers.issue import create_key
from service.retailers.keys import ROLES, hash_secret

_OWN_FOLDER = "set BUTIE_DATA_DIR to a folder of your own, or start as its owner."

STARTS_AT = datetime(2025, 6, 18, 10, 0, tzinfo=SHANGHAI)

# A first start shares the machine with the engines' own.
START_S = 20

RETAILER_ID = "sandbox"
RETAILER_USCC = "91330402MA0000000Q"
STORE_ID = "NH0001"

# 46 million yuan: what the district set aside in 2025 for all of consumption.
BUDGETS_YUAN = {
    "appliances": 20_000_000,
    "cars": 15_000_000,
    "digital": 5_000_000,
    "home": 4_000_000,
    "ebike": 1_500_000,
    "elderly": 500_000,
}
# For a scheme of a policy file that is not named above.
OTHER_BUDGET_YUAN = 1_000_000


# --- the clock --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class KeptClock:
    """Where the business clock began, and what the real time then was."""

    started_at: datetime
    real_at: datetime

    @property
    def offset(self) -> timedelta:
        return self.started_at - self.real_at


def decide_clock(
    setting: str | None, kept: KeptClock | None, newest: datetime | None, real_now: datetime
) -> KeptClock:
    """The clock of this start. Time never goes backwards over one folder.

    `setting` is BUTIE_CLOCK, `newest` the latest business instant in the ledger. Without a
    setting, or with the one of the first start, the clock runs on.
    Raises Misconfigured.
    """
    start = _start_of(setting, real_now)
    if kept is not None and start in (None, kept.started_at):
        now = max(real_now + kept.offset, newest or kept.started_at)
        return kept if now == real_now + kept.offset else KeptClock(now, real_now)
    if start is None:  # the file that kept the clock is lost: time goes on where it came to
        return KeptClock(max(STARTS_AT, newest or STARTS_AT), real_now)
    if newest is not None and start < newest:
        raise Misconfigured(
            f"BUTIE_CLOCK is {_text(start)}, but this data folder has entries up to "
            f"{_text(newest)}, and its time cannot go backwards: leave BUTIE_CLOCK unset to run "
            "on, set a later instant, or set BUTIE_DATA_DIR to a new folder."
        )
    return KeptClock(start, real_now)


def _start_of(setting: str | None, real_now: datetime) -> datetime | None:
    if setting is None:
        return None
    if setting == "now":
        return real_now
    try:
        start = datetime.fromisoformat(setting)
    except ValueError:
        start = datetime.min
    if start.tzinfo is None or not 2000 <= start.year <= 2100:
        raise Misconfigured(
            f"BUTIE_CLOCK is {setting!r}: write an instant of the years 2000 to 2100 with "
            f"its zone, like {_text(STARTS_AT)}, or now."
        )
    return start


def _text(instant: datetime) -> str:
    return instant.astimezone(SHANGHAI).isoformat(timespec="seconds")


def read_clock(folder: Path) -> KeptClock | None:
    """The clock that the folder keeps. Raises Misconfigured when the file is spoilt."""
    path = folder / "clock.json"
    try:
        kept = json.loads(path.read_text())
        return KeptClock(
            datetime.fromisoformat(kept["started_at"]), datetime.fromisoformat(kept["real_at"])
        )
    except FileNotFoundError:
        return None
    except PermissionError:
        raise Misconfigured(f"{path} belongs to somebody else: {_OWN_FOLDER}") from None
    except (ValueError, KeyError, TypeError):
        raise Misconfigured(
            f"{path} is spoilt: delete it, and the clock goes on from the newest entry."
        ) from None


def write_clock(folder: Path, clock: KeptClock) -> None:
    kept = {"started_at": clock.started_at.isoformat(), "real_at": clock.real_at.isoformat()}
    _write(folder / "clock.json", kept)


async def newest_instant(engine: AsyncEngine) -> datetime | None:
    """The latest business instant in the ledger, by its newest claim and newest entry."""
    newest_claim = sa.select(claim.c.created_at).order_by(claim.c.claim_id.desc()).limit(1)
    newest_entry = sa.select(journal.c.booked_at).order_by(journal.c.entry_no.desc()).limit(1)
    async with connect(engine, within_s=START_S) as connection:
        instants = [await connection.scalar(query) for query in (newest_claim, newest_entry)]
    return max((instant for instant in instants if instant is not None), default=None)


# --- who and what is in it --------------------------------------------------------------


async def enrol(engine: AsyncEngine, book: PolicyBook, folder: Path, now: datetime) -> None:
    """Make sure that the retailer, the store, a budget for each scheme and the keys are there.

    Keys that `sandbox.json` still has stay valid. Lost ones are issued again, and so are keys from
    before their role got a scope.
    """
    async with connect(engine, within_s=START_S) as connection:
        context = ActContext(connection, book.jurisdiction, "sandbox", now)
        if not await connection.scalar(_count(retailer, book.jurisdiction)):
            await _add_shop(context)
        await _allocate_missing(connection, book, now)
        keys = await _keys(context, _read(folder / "sandbox.json"))
    _write(folder / "sandbox.json", {"keys": keys})


def write_address(folder: Path, base_url: str, clock: str) -> dict[str, str]:
    """Complete `sandbox.json` with where the service listens; returns its keys by role."""
    keys: dict[str, str] = _read(folder / "sandbox.json")["keys"]
    shown = {
        "base_url": base_url,
        "clock": clock,
        "retailer_id": RETAILER_ID,
        "store_id": STORE_ID,
        "keys": keys,
    }
    _write(folder / "sandbox.json", shown)
    return keys


async def _add_shop(context: ActContext) -> None:
    await add_retailer(
        context, retailer_id=RETAILER_ID, uscc_number=RETAILER_USCC, name="演示商贸有限公司"
    )
    await add_stores(context, RETAILER_ID, [NewStore(STORE_ID, "演示门店", "新嘉街道")])


async def _allocate_missing(connection: AsyncConnection, book: PolicyBook, now: datetime) -> None:
    """Money for each pool that is not there: on the first start all, later a new scheme's."""
    schemes = {scheme for policy in book.policies for scheme in policy.schemes}
    budgets_yuan = {**dict.fromkeys(sorted(schemes), OTHER_BUDGET_YUAN), **BUDGETS_YUAN}
    known = await connection.scalars(
        sa.select(pool.c.pool).where(pool.c.jurisdiction == book.jurisdiction)
    )
    for name in sorted(budgets_yuan.keys() - set(known)):
        allocation = Allocation(name, budgets_yuan[name] * 100, "SANDBOX-2025", "sandbox budget")
        await allocate(connection, book.jurisdiction, allocation, now)


async def _keys(context: ActContext, known: Mapping[str, object]) -> dict[str, str]:
    kept = known.get("keys")
    keys = dict(kept) if isinstance(kept, dict) else {}
    for role in ROLES:
        good = sa.select(api_key.c.key_id).where(
            api_key.c.secret_sha256 == hash_secret(str(keys.get(role, ""))),
            api_key.c.revoked_at.is_(None),
            api_key.c.scopes.contains(list(ROLES[role])),
        )
        if await context.connection.scalar(good) is None:
            key = await create_key(
                context,
                role=role,
                retailer_id=RETAILER_ID if role == "pos" else None,
                label=f"sandbox {role}",
            )
            keys[role] = key.secret
    return {role: str(keys[role]) for role in ROLES}


def _count(table: sa.Table, jurisdiction: str) -> sa.Select[Any]:
    return sa.select(sa.func.count()).where(table.c.jurisdiction == jurisdiction)


def _read(path: Path) -> dict[str, dict[str, str]]:
    try:
        content = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    except PermissionError:
        raise Misconfigured(f"{path} belongs to somebody else: {_OWN_FOLDER}") from None
    return content if isinstance(content, dict) else {}


def _write(path: Path, content: object) -> None:
    """Whole or not at all, and for the owner's eyes only: there are keys in it. Raises
    Misconfigured when the folder does not let us."""
    try:
        _put(path, content)
    except OSError as error:
        raise Misconfigured(f"{path} cannot be written ({error.strerror}): {_OWN_FOLDER}") from None


def _put(path: Path, content: object) -> None:
    draft = path.with_suffix(".new")
    with open(draft, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        json.dump(content, file, ensure_ascii=False, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
        # A start as root leaves the folder's owner able to start again.
        folder = path.parent.stat()
        if os.geteuid() == 0:
            os.fchown(file.fileno(), folder.st_uid, folder.st_gid)
    draft.replace(path)


def real_now() -> datetime:
    return datetime.now(UTC)
