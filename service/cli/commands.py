"""All commands of `butie`."""

import typer

from service.cli import (
    audit,
    books,
    budget,
    doctor,
    enrol,
    journal,
    migrate,
    pii,
    policy,
    reconcile,
    serials,
    serve,
    settle,
)

app = typer.Typer(name="butie", no_args_is_help=True, add_completion=False)
app.add_typer(policy.app)
app.add_typer(budget.app)
app.add_typer(journal.app)
app.add_typer(pii.app)
app.add_typer(serials.app)
for group in (enrol.retailers, enrol.stores, enrol.keys):
    app.add_typer(group)
app.add_typer(settle.app)
app.command("export")(books.export_command)
app.command("totals")(books.totals_command)
app.command("reconcile")(reconcile.reconcile_command)
app.command("acts")(enrol.acts)
app.command("audit")(audit.audit_command)
app.command("doctor")(doctor.doctor_command)
app.command("serve")(serve.serve)
app.command("migrate")(migrate.migrate_command)
