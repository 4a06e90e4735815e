"""The command line: `butie`. One module for each group of commands."""

import typer

from service.cli import journal, policy, serve

app = typer.Typer(name="butie", no_args_is_help=True, add_completion=False)
app.add_typer(policy.app)
app.add_typer(journal.app)
app.command()(serve.serve)
app.command("migrate")(serve.migrate_command)


def main() -> None:
    app()
