"""`comfy-gateway tokens`: made, listed, rotated and revoked, in the database that the configuration names, or with
`--url` at a gateway elsewhere. A new token's text is all that stdout gets, so that scripts can take it.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from gateway.cli.common import ConfigOption, fail, load, print_table, utc
from gateway.cli.http import JsonOption, NotDone

if TYPE_CHECKING:
    from gateway.cli.offices import TokensOffice

Result = TypeVar("Result")

tokens = typer.Typer(name="tokens", help="Make, list, rotate and revoke tokens.", no_args_is_help=True)

UrlOption = Annotated[
    str | None,
    typer.Option(
        "--url",
        envvar="COMFY_GATEWAY_URL",
        metavar="URL",
        help="A running gateway; without it, the database that the configuration names.",
    ),
]
TokenOption = Annotated[
    str | None,
    typer.Option("--token", envvar="COMFY_GATEWAY_TOKEN", metavar="TOKEN", help="An admin's token, with --url."),
]
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="As `tokens list` shows it.")]


@tokens.command()
def create(
    name: Annotated[str, typer.Argument(help="What it is for; the owner too, unless --owner names another.")],
    owner: Annotated[str | None, typer.Option(help="Whose jobs and files it reaches.")] = None,
    scope: Annotated[list[str], typer.Option(help="run, manage or admin; may be repeated.")] = ["run"],  # noqa: B006
    tag: Annotated[list[str] | None, typer.Option(help="A runners' tag it may ask for; may be repeated.")] = None,
    weight: Annotated[float, typer.Option(help="The owner's share where several wait.")] = 1.0,
    priority_ceiling: Annotated[int | None, typer.Option(help="The highest priority of its jobs.")] = None,
    rate: Annotated[int | None, typer.Option(help="Requests a minute.")] = None,
    pending: Annotated[int | None, typer.Option(help="Jobs that may wait.")] = None,
    running: Annotated[int | None, typer.Option(help="Jobs that may run.")] = None,
    sockets: Annotated[int | None, typer.Option(help="Websockets that may be open.")] = None,
    body_bytes: Annotated[int | None, typer.Option(help="Bytes of one request.")] = None,
    max_stored_bytes: Annotated[int | None, typer.Option(help="Bytes of the owner's files.")] = None,
    expires_in_days: Annotated[float | None, typer.Option(help="When it runs out; never without.")] = None,
    webhook: Annotated[str | None, typer.Option(metavar="URL", help="Is told of all of its jobs.")] = None,
    config: ConfigOption = Path("config.yaml"),
    url: UrlOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a token, and show it this once."""
    limits = {
        "rate": rate,
        "pending": pending,
        "running": running,
        "sockets": sockets,
        "body_bytes": body_bytes,
        "max_stored_bytes": max_stored_bytes,
    }
    body = {
        "name": name,
        "owner": owner,
        "scopes": scope,
        "tags": tag or [],
        "weight": weight,
        "priority_ceiling": priority_ceiling,
        "limits": limits,
        "expires_in_days": expires_in_days,
        "webhook": webhook,
    }
    _show_new(_ask(config, url, token, lambda office: office.create(body)), as_json)


@tokens.command("list")
def list_(
    owner: Annotated[str | None, typer.Option(help="Only this owner's.")] = None,
    dead: Annotated[bool, typer.Option("--all", help="Revoked and expired ones too.")] = False,
    config: ConfigOption = Path("config.yaml"),
    url: UrlOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the tokens, without their secrets."""
    found = _ask(config, url, token, lambda office: office.listed(owner))
    shown = [each for each in found if dead or each["state"] == "live"]
    if as_json:
        print(json.dumps({"tokens": shown}, indent=2))
        return
    print_table(_table(shown))


@tokens.command()
def rotate(
    id: IdArgument,  # noqa: A002  what the listing calls it
    grace_hours: Annotated[float | None, typer.Option(help="How long the old one lives on.")] = None,
    config: ConfigOption = Path("config.yaml"),
    url: UrlOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a token that permits the same; the old one lives on for a while."""
    body = {"grace_hours": grace_hours}
    _show_new(_ask(config, url, token, lambda office: office.rotate(id, body)), as_json)


@tokens.command()
def revoke(
    id: IdArgument,  # noqa: A002  what the listing calls it
    config: ConfigOption = Path("config.yaml"),
    url: UrlOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have a token refused from now on; its sessions and websockets end."""
    revoked = _ask(config, url, token, lambda office: office.revoke(id))
    if as_json:
        print(json.dumps(revoked, indent=2))
    else:
        print(f"Token {revoked['id']} ({revoked['name']}) of {revoked['owner']} is revoked.")


def _ask(
    config: Path, url: str | None, token: str | None, question: "Callable[[TokensOffice], Awaitable[Result]]"
) -> Result:
    """Puts a question to the database, or to a running gateway; out with one line where it cannot be answered."""
    from gateway.cli.offices import beside, remote

    async def ask() -> Result:
        if url is not None:
            async with remote(url, token) as office:
                return await question(office)
        settings = load(config)
        if not settings.access.wants_tokens:
            print("access.mode is anonymous: the gateway asks for no tokens", file=sys.stderr)
        async with beside(settings) as office:
            return await question(office)

    try:
        return asyncio.run(ask())
    except NotDone as error:
        fail(str(error))


def _show_new(made: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(made, indent=2))
        return
    ends = f", until {_time(made['expires_at'])}" if made["expires_at"] is not None else ""
    about = f"Token {made['id']} ({made['name']}) of {made['owner']}: {', '.join(made['scopes'])}{ends}."
    print(f"{about} It is shown this once:", file=sys.stderr)
    print(made["token"])


def _table(found: list[dict[str, Any]]) -> Any:
    from rich.markup import escape
    from rich.table import Table

    table = Table("id", "name", "owner", "scopes", "state", "created", "last used", "expires", box=None, pad_edge=False)
    for each in found:
        state = each["state"] + (f", now {each['replaced_by']}" if each["replaced_by"] else "")
        words = [each["id"], each["name"], each["owner"], ", ".join(each["scopes"]), state]
        times = [_time(each[name]) for name in ("created_at", "last_used_at", "expires_at")]
        table.add_row(*(escape(text) for text in words + times))
    return table


def _time(milliseconds: int | None) -> str:
    return "never" if milliseconds is None else utc(milliseconds)
