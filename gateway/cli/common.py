"""What all commands share. Exit codes: 0 good, 1 it did not work, 2 the configuration or the command line is wrong."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from gateway.config import Config

FAILED = 1
WRONG_CONFIGURATION = 2
PIPE_COLUMNS = 200  # width of tables where no terminal tells one

ConfigOption = Annotated[
    Path,
    typer.Option("--config", "-c", envvar="COMFY_GATEWAY_CONFIG", metavar="FILE", help="The YAML configuration."),
]


def load(path: Path) -> "Config":
    """The configuration; all faults on stderr, and out, where it is wrong."""
    from gateway.config import ConfigError, load_config
    from gateway.tls import Certificates

    try:
        loaded = load_config(path)
        Certificates.of(loaded.tls)
    except ConfigError as error:
        for line in error.lines():
            print(line, file=sys.stderr)
        raise typer.Exit(WRONG_CONFIGURATION) from None
    return loaded


def fail(message: str) -> NoReturn:
    """One line on stderr, and out."""
    print(f"error: {message}", file=sys.stderr)
    raise typer.Exit(FAILED)


def print_table(table: "Table") -> None:
    """Prints a table, as wide as the terminal is."""
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else PIPE_COLUMNS).print(table)


def utc(milliseconds: float) -> str:
    """A time in milliseconds since the epoch, for people."""
    return datetime.fromtimestamp(milliseconds / 1_000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
