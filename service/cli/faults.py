"""What goes wrong on the command line: one sentence, and an exit code that is not 0."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer
from pydantic import ValidationError

from service.config import Misconfigured
from service.core.assumptions import ConfirmationError
from service.core.policy_file import PolicyFileError
from service.db.engine import LedgerAway
from service.embedded import EmbeddedError
from service.retailers.enrol import NotEnrolled

FAULTS = (
    Misconfigured,
    EmbeddedError,
    NotEnrolled,
    LedgerAway,
    PolicyFileError,
    ConfirmationError,
)


@contextmanager
def told(exit_code: int = 1) -> Iterator[None]:
    """Print the sentence of a fault that the user can mend, and exit."""
    try:
        yield
    except ValidationError as error:
        for fault in error.errors(include_url=False, include_input=False):
            name = "_".join(str(step) for step in fault["loc"]).upper()
            typer.echo(f"BUTIE_{name}: {fault['msg']}", err=True)
        raise typer.Exit(exit_code) from None
    except FAULTS as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(exit_code) from None
