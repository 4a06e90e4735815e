"""Faults on the command line: one sentence each, and an exit code that is not 0."""

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError

from service.config import Misconfigured
from service.core.assumptions import ConfirmationError
from service.core.policy_file import PolicyFileError
from service.db.engine import LedgerAway
from service.db.reports import ReportsBusy
from service.embedded import EmbeddedError
from service.finance.files.faults import BadFile
from service.finance.journal.download import TooManyRows
from service.finance.journal.selection import BookersHang
from service.finance.journal.snapshot import StandbyBehind
from service.finance.reconcile.sentences import fault_sentence
from service.replay.faults import ReaderLost
from service.retailers.enrol import NotEnrolled

FAULTS_WITH_SENTENCE = (
    Misconfigured,
    EmbeddedError,
    NotEnrolled,
    LedgerAway,
    PolicyFileError,
    ConfirmationError,
)
# Sentences of faults that have none of their own.
SENTENCE_OF_FAULT: dict[type[Exception], str] = {
    ReportsBusy: "PostgreSQL has no connection left: try again in a moment.",
    BookersHang: "A transaction that books entries does not end: try again, or see "
    "pg_stat_activity.",
    StandbyBehind: "BUTIE_EXPORT_DATABASE_URL names a server that is too far behind the ledger, or "
    "is not its standby.",
    ReaderLost: "A process that reads the ledger for the replay has ended: is there enough memory?",
    TooManyRows: "A sheet holds 1,048,575 rows: ask for a shorter period, or for csv, ndjson or "
    "parquet.",
}

# Sentences for errors of PostgreSQL or the network when the settings or the schema are wrong.
DATABASE_FAULTS: tuple[tuple[type[Exception], str], ...] = (
    (
        asyncpg.InvalidAuthorizationSpecificationError,
        "PostgreSQL does not let in the user of BUTIE_DATABASE_URL",
    ),
    (asyncpg.InvalidCatalogNameError, "BUTIE_DATABASE_URL names a database that is not there"),
    (
        asyncpg.InsufficientPrivilegeError,
        "The role in BUTIE_DATABASE_URL may not do this: `butie migrate` is for the owner of the "
        "schema, and grants BUTIE_SERVICE_ROLE what the service needs",
    ),
    (asyncpg.UndefinedTableError, "The schema is not this release's: run `butie migrate`"),
    (asyncpg.UndefinedColumnError, "The schema is not this release's: run `butie migrate`"),
    (socket.gaierror, "The host in BUTIE_DATABASE_URL is not known"),
    (ConnectionError, "PostgreSQL cannot be reached at BUTIE_DATABASE_URL"),
    (TimeoutError, "PostgreSQL does not answer at BUTIE_DATABASE_URL"),
)
# Examples of the URLs: the validator's own sentence speaks of drivers and bases.
_POSTGRESQL = "PostgreSQL's: postgresql://USER:PASSWORD@HOST:5432/DATABASE"
URLS = {
    "BUTIE_DATABASE_URL": _POSTGRESQL,
    "BUTIE_EXPORT_DATABASE_URL": _POSTGRESQL,
    "BUTIE_REDIS_URL": "Redis's: redis://:PASSWORD@HOST:6379/0, or rediss:// with TLS",
}
CAUSES_MAX = 5  # an asyncpg error lies at most this deep under SQLAlchemy's


@contextmanager
def faults_reported(exit_code: int = 1) -> Iterator[None]:
    """Print the sentence of a fault that the user can correct, and exit."""
    try:
        yield
    except ValidationError as error:
        for fault in error.errors(include_url=False, include_input=False):
            name = "BUTIE_" + "_".join(str(step) for step in fault["loc"]).upper()
            _print(_setting_fault(name, fault["msg"]))
        raise SystemExit(exit_code) from None
    except BadFile as error:
        _print(f"The file cannot be used: {fault_sentence(error.fault, error.facts, 'en')}.")
        raise SystemExit(exit_code) from None
    except tuple(SENTENCE_OF_FAULT) as error:
        _print(SENTENCE_OF_FAULT[type(error)])
        raise SystemExit(exit_code) from None
    except (*FAULTS_WITH_SENTENCE, DBAPIError, asyncpg.PostgresError, OSError) as error:
        sentence = database_fault(error) or (
            str(error) if isinstance(error, FAULTS_WITH_SENTENCE) else None
        )
        if sentence is None:
            raise
        _print(sentence)
        raise SystemExit(exit_code) from None


def _print(sentence: str) -> None:
    print(sentence, file=sys.stderr)


def _setting_fault(name: str, message: str) -> str:
    if name not in URLS:
        return f"{name}: {message}"
    return (
        f"{name} is no URL. It looks like {URLS[name]} "
        "(in the password write %40 for @, %2F for /, %23 for #)."
    )


def database_fault(error: BaseException) -> str | None:
    """The sentence for the cause of an error, if the operator can correct it."""
    cause: BaseException | None = error
    for _ in range(CAUSES_MAX):
        if cause is None:
            return None
        for kind, sentence in DATABASE_FAULTS:
            if isinstance(cause, kind):
                return f"{sentence} ({cause or type(cause).__name__})."
        cause = getattr(cause, "orig", None) or cause.__cause__
    return None
