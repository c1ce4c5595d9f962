"""The command line. `commands` has the application and what runs a gateway; each other family has a file of its own."""

from gateway.cli.commands import app, main
from gateway.cli.explain import explaining
from gateway.cli.jobs import jobs
from gateway.cli.run import running
from gateway.cli.runners import runners
from gateway.cli.tokens import tokens

app.add_typer(explaining)
app.add_typer(running)
app.add_typer(jobs)
app.add_typer(runners)
app.add_typer(tokens)

__all__ = ["app", "main"]
