"""`comfy-gateway jobs`: the jobs of a running gateway, listed, shown and cancelled over HTTP."""

import json
import sys
from typing import Annotated, Any

import typer

from gateway.cli.common import FAILED, print_table, utc
from gateway.cli.http import DEFAULT_URL, GatewayClient, JsonOption, TokenOption, UrlOption, answered, quoted

Told = dict[str, Any]

jobs = typer.Typer(name="jobs", help="List, show and cancel jobs.", no_args_is_help=True)


@jobs.command("list")
def list_(
    status: Annotated[
        str | None, typer.Option(help="pending, in_progress, completed, failed or cancelled; several with commas.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 50,
    url: UrlOption = DEFAULT_URL,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """List jobs, the newest first."""
    told = answered(url, token, lambda gateway: gateway.ask("GET", "/api/jobs", status=status, limit=limit))
    if as_json:
        print(json.dumps(told, indent=2))
    elif not told["jobs"]:
        print("There are no jobs.")
    else:
        print_table(_table(told["jobs"]))


@jobs.command()
def show(
    job: Annotated[str, typer.Argument(metavar="ID", help="Its prompt_id, as `jobs list` shows it.")],
    url: UrlOption = DEFAULT_URL,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the story of a job: where it stands, every change, every attempt; `explain` tells why it waits."""
    told = answered(url, token, lambda gateway: gateway.ask("GET", f"/gateway/api/jobs/{quoted(job)}"))
    if as_json:
        print(json.dumps(told, indent=2))
        return
    for line in _story(told):
        print(line)


@jobs.command()
def cancel(
    ids: Annotated[list[str], typer.Argument(metavar="ID…", help="As `jobs list` shows them.")],
    url: UrlOption = DEFAULT_URL,
    token: TokenOption = None,
) -> None:
    """Cancel jobs that wait or run. Exit code 1: one of them had ended already, or is not there."""

    async def cancelled(gateway: GatewayClient) -> list[bool]:
        return [bool((await gateway.ask("POST", f"/api/jobs/{quoted(job)}/cancel"))["cancelled"]) for job in ids]

    done = answered(url, token, cancelled)
    for job, is_done in zip(ids, done, strict=True):
        if is_done:
            print(f"Job {job} is cancelled.")
        else:
            print(f"error: job {job} neither waits nor runs", file=sys.stderr)
    if not all(done):
        raise typer.Exit(FAILED)


def _table(found: list[Told]) -> Any:
    from rich.markup import escape
    from rich.table import Table

    table = Table("id", "status", "created", "took", "files", "note", box=None, pad_edge=False)
    for each in found:
        start, end = each.get("execution_start_time"), each.get("execution_end_time")
        took = f"{(end - start) / 1_000:.1f} s" if start and end else ""
        files = each.get("outputs_count")
        words = [each["id"], each["status"], _time(each.get("create_time")), took, "" if files is None else str(files)]
        table.add_row(*(escape(word) for word in [*words, _note(each)]))
    return table


def _note(row: Told) -> str:
    if row.get("queue_position") is not None:
        return f"place {row['queue_position']} in the queue"
    error = row.get("execution_error") or {}
    return str(error.get("exception_message") or "").strip().split("\n")[0]


def _story(told: Told) -> list[str]:
    head = f"Job {told['id']} is {told['state']}" + (f" on {told['runner']}" if told["runner"] else "")
    lines = [head + (f": {told['reason']}" if told["reason"] else "")]
    about = {
        "owner": told["owner"],
        "client": told["client_id"],
        "tags": ", ".join(told["tags"]),
        "place": told["position"],
    }
    lines += [f"  {name}: {value}" for name, value in about.items() if value]
    lines += [f"  {_change(each)}" for each in told["changes"]]
    for attempt in told["attempts"]:
        lines.append(f"  attempt {attempt['ordinal']} on {attempt['runner']}: {attempt['state']}")
        lines += [f"    {_change(each)}" for each in attempt["changes"]]
    return lines


def _change(change: Told) -> str:
    reason = f": {change['reason']}" if change.get("reason") else ""
    return f"{_time(change['at'])} {change['state']}{reason}"


def _time(milliseconds: float | None) -> str:
    return "" if milliseconds is None else utc(milliseconds)
