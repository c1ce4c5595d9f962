"""What all commands share. Exit codes: 0 good, 1 it did not work, 2 the configuration or the command line is wrong."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
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
