"""The ledger's URL, and the errors that say it is away, without SQLAlchemy.

A reconciliation's process speaks to the driver alone, and so starts in a fifth of the time.
"""

from urllib.parse import urlsplit, urlunsplit


class LedgerAway(Exception):
    """PostgreSQL did not answer. What became of the statement is unknown."""


class NeverSent(LedgerAway):
    """There was no connection to PostgreSQL, so nothing was sent."""


def driver_url(database_url: str) -> str:
    """The URL for the driver. It takes what libpq takes, such as several hosts and `sslrootcert`;
    SQLAlchemy would pass on less."""
    return urlunsplit(urlsplit(database_url)._replace(scheme="postgresql"))
