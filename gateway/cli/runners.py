"""`comfy-gateway runners`: the runners of a running gateway, listed, added, disabled, enabled, drained and removed over
its API. A runner is named by its key, its name or its id, as the list shows them."""

import asyncio
import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.cli.common import FAILED, fail, print_table
from gateway.cli.http import DEFAULT_URL, GatewayClient, JsonOption, NotDone, TokenOption, UrlOption, answered

PER_PAGE = 100
LOOK_SECONDS = 0.2  # between two looks at a new runner

Told = dict[str, Any]

runners = typer.Typer(name="runners", help="List, add, disable, drain and remove runners.", no_args_is_help=True)

NamesArgument = Annotated[list[str], typer.Argument(metavar="RUNNER…", help="As `runners list` shows them.")]
SecondsOption = Annotated[
    float | None,
    typer.Option(min=0, help="How long what runs may go on; then it moves to another. As the gateway says without."),
]


@runners.command("list")
def list_(
    status: Annotated[str | None, typer.Option(help="Only active or only disabled ones.")] = None,
    url: UrlOption = DEFAULT_URL,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the runners with their health."""
    found = answered(url, token, lambda gateway: _all(gateway, status))
    if as_json:
        print(json.dumps({"runners": found}, indent=2))
    elif not found:
        print("There are no runners.")
    else:
        print_table(_table(found))


@runners.command()
def add(
    name: Annotated[str, typer.Argument(help="For people, and in X-Gateway-Runner.")],
    endpoint: Annotated[str, typer.Argument(help="The URL of a ComfyUI, like http://10.0.0.11:8188.")],
    tag: Annotated[list[str] | None, typer.Option(help="May be repeated.")] = None,
    header: Annotated[
        list[str] | None, typer.Option(metavar="'NAME: VALUE'", help="Sent with every request to it; may be repeated.")
    ] = None,
    header_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The same, a line each: others see a command's arguments.")
    ] = None,
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait until it is up.")] = 5.0,
    url: UrlOption = DEFAULT_URL,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add a runner, and tell whether it can be used."""
    headers = _headers([*(header or []), *_lines(header_file)])
    body = {"name": name, "endpoint": endpoint, "tags": tag or [], "headers": headers}
    runner = answered(url, token, lambda gateway: _added(gateway, body, wait))
    _show([runner], as_json)
    if not runner["health"]["up"] and wait:
        raise typer.Exit(FAILED)


@runners.command()
def disable(
    names: NamesArgument, url: UrlOption = DEFAULT_URL, token: TokenOption = None, as_json: JsonOption = False
) -> None:
    """Give runners no new work; what they run goes on."""
    _show(answered(url, token, lambda gateway: _changed(gateway, names, {"status": "disabled"})), as_json)


@runners.command()
def enable(
    names: NamesArgument, url: UrlOption = DEFAULT_URL, token: TokenOption = None, as_json: JsonOption = False
) -> None:
    """Give runners work again."""
    _show(answered(url, token, lambda gateway: _changed(gateway, names, {"status": "active"})), as_json)


@runners.command()
def drain(
    names: NamesArgument,
    seconds: SecondsOption = None,
    url: UrlOption = DEFAULT_URL,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Empty runners: no new work, and what they still run moves after a while."""

    async def drained(gateway: GatewayClient) -> list[Told]:
        ids = await _ids(gateway, names)
        return [await gateway.ask("POST", f"/v1/runner/{each}/drain", seconds=seconds) for each in ids]

    _show(answered(url, token, drained), as_json)


@runners.command()
def remove(
    names: NamesArgument,
    seconds: SecondsOption = None,
    url: UrlOption = DEFAULT_URL,
    token: TokenOption = None,
) -> None:
    """Remove runners that were added over the API; each leaves when what it runs has ended or moved."""

    async def removed(gateway: GatewayClient) -> None:
        for each in await _ids(gateway, names):
            await gateway.ask("DELETE", f"/v1/runner/{each}", seconds=seconds)

    answered(url, token, removed)
    for name in names:
        print(f"Runner {name} is removed.")


# asking


async def _all(gateway: GatewayClient, status: str | None = None) -> list[Told]:
    found: list[Told] = []
    while True:
        page = len(found) // PER_PAGE + 1
        told = await gateway.ask("GET", "/v1/runner", page=page, per_page=PER_PAGE, status=status)
        found += told["runners"]
        if len(told["runners"]) < PER_PAGE:
            return found


async def _ids(gateway: GatewayClient, names: list[str]) -> list[str]:
    """The ids of runners, all of them or none. Raises NotDone."""
    found = await _all(gateway)
    return [_id_of(name, found) for name in names]


def _id_of(name: str, found: list[Told]) -> str:
    for field in ("key", "id", "name"):
        named = [runner for runner in found if runner[field] == name]
        if len(named) > 1:
            keys = ", ".join(sorted(runner["key"] for runner in named))
            raise NotDone(f"several runners are called {name}: {keys}")
        if named:
            return str(named[0]["id"])
    raise NotDone(f"there is no runner {name}")


async def _changed(gateway: GatewayClient, names: list[str], change: Told) -> list[Told]:
    return [await gateway.ask("PUT", f"/v1/runner/{each}", body=change) for each in await _ids(gateway, names)]


async def _added(gateway: GatewayClient, body: Told, wait_seconds: float) -> Told:
    runner: Told = await gateway.ask("POST", "/v1/runner", body=body)
    deadline = time.monotonic() + wait_seconds
    while not runner["health"]["up"] and time.monotonic() < deadline:
        await asyncio.sleep(LOOK_SECONDS)
        runner = await gateway.ask("GET", f"/v1/runner/{runner['id']}")
    return runner


# reading and showing


def _lines(file: Path | None) -> list[str]:
    if file is None:
        return []
    try:
        return [line for line in file.read_text().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        fail(f"{file}: {error}")


def _headers(lines: list[str]) -> dict[str, str]:
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            raise typer.BadParameter("a header is written 'Name: value'")
        headers[name.strip()] = value.strip()
    return headers


def _show(found: list[Told], as_json: bool) -> None:
    if as_json:
        print(json.dumps({"runners": found}, indent=2))
        return
    for runner in found:
        health = "up" if runner["health"]["up"] else f"down ({runner['health']['reason']})"
        print(f"Runner {runner['key']} is {runner['status']}, and {health}.")


def _table(found: list[Told]) -> Any:
    from rich.markup import escape
    from rich.table import Table

    table = Table("key", "name", "endpoint", "status", "health", "tags", "source", box=None, pad_edge=False)
    for each in found:
        health = "up" if each["health"]["up"] else f"{each['health']['state']}: {each['health']['reason']}"
        words = [each["key"], each["name"], each["endpoint"], each["status"], health, ", ".join(each["tags"])]
        table.add_row(*(escape(word) for word in (*words, each["source"])))
    return table
