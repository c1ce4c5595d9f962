"""The application, and the commands that run or examine a gateway: they read arguments and the configuration, call the
rooms below, and turn their errors into one line and an exit code (`common`).
"""

import asyncio
import errno
import gc
import json
import signal
import socket
import sys
from collections.abc import Coroutine
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.common import FAILED, ConfigOption, fail, load, print_table

if TYPE_CHECKING:
    from gateway.config import Config

INTERRUPTED = 128 + signal.SIGINT
_BIND_ERRORS = {errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES, errno.EPERM}

app = typer.Typer(
    name="comfy-gateway",
    help="One URL that looks like one ComfyUI, with a pool of GPUs behind it.",
    no_args_is_help=True,
    add_completion=False,
    # Its tracebacks print local variables, which hold the runners' headers.
    pretty_exceptions_enable=False,
)


def main() -> None:
    """The entry point of `comfy-gateway`. Ctrl-C before or after a command's own handling ends without a traceback."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


@app.command()
def serve(config: ConfigOption = Path("config.yaml")) -> None:
    """Run the gateway until SIGINT or SIGTERM. SIGHUP reads the configuration again."""
    gc.disable()  # until the gateway serves: walks through what the start makes were a fifth of it
    settings = load(config)
    from gateway.logging import configure_logging

    configure_logging(settings.log)
    from gateway.config import load_config
    from gateway.serving import serve as serve_gateway
    from gateway.storage.errors import StorageError

    try:
        _run(serve_gateway(settings, lambda: load_config(config)))
    except StorageError as error:
        fail(str(error))
    except OSError as error:
        if error.errno not in _BIND_ERRORS and not isinstance(error, socket.gaierror):
            raise
        fail(_bind_reason(settings, error))


@app.command()
def check(
    config: ConfigOption = Path("config.yaml"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Validate the configuration and ask every runner who it is."""
    settings = load(config)
    from gateway.check import probe_all, reasons_of, table_of
    from gateway.redaction import redact, redact_text

    probes = asyncio.run(probe_all(settings.runners))
    if as_json:
        print(json.dumps({"runners": [redact(asdict(probe)) for probe in probes]}, indent=2))
    elif probes:
        print_table(table_of(probes))
        for reason in reasons_of(probes):
            print(redact_text(reason))
    else:
        print(f"{config} is valid and names no runners.")
    if not all(probe.ok for probe in probes):
        raise typer.Exit(FAILED)


@app.command()
def doctor(
    config: ConfigOption = Path("config.yaml"),
    url: Annotated[str | None, typer.Option(metavar="URL", help="A gateway that should be serving.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Tell what is wrong with the pool, why it matters and what to do.

    Exit code 0: nothing but hints; 1: a problem; 2: the configuration is wrong.
    """
    settings = load(config)
    from gateway.doctor.examination import diagnose
    from gateway.doctor.findings import Severity, report
    from gateway.redaction import redact, redact_text

    findings = asyncio.run(diagnose(settings, url))
    if as_json:
        print(json.dumps({"findings": [redact(asdict(finding)) for finding in findings]}, indent=2))
    else:
        print(redact_text(report(findings, len(settings.runners))))
    if any(finding.severity is Severity.PROBLEM for finding in findings):
        raise typer.Exit(FAILED)


@app.command()
def demo(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the gateway; 0 takes a free one.")] = 8188,
    runners: Annotated[int, typer.Option(min=1, max=16, help="How many simulated runners.")] = 3,
) -> None:
    """Run the gateway over simulated runners in this terminal, with the stock frontend."""
    from gateway.demo import DemoError, run_demo

    try:
        _run(run_demo(port=port, runners=runners))
    except DemoError as error:
        fail(str(error))


@app.command(
    # The arguments are the simulator's own; importing it here already would slow down every other command.
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
)
def simulate(context: typer.Context) -> None:
    """Run simulated ComfyUI runners (see simulate --help)."""
    from gateway.simulator import command

    command.app(context.args, prog_name=context.command_path)


def _run(coroutine: Coroutine[Any, Any, None]) -> None:
    if sys.platform == "win32":
        asyncio.run(coroutine)
    else:
        import uvloop

        uvloop.run(coroutine)


def _bind_reason(settings: "Config", error: OSError) -> str:
    server = settings.server
    reasons = {
        errno.EADDRINUSE: "the port is already in use",
        errno.EADDRNOTAVAIL: "this machine has no such address",
    }
    reason = reasons.get(error.errno or 0) or error.strerror or str(error)
    return f"cannot listen on {server.host} port {server.port}: {reason}"
