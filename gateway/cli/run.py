"""`comfy-gateway run`: one graph on a running gateway, with a progress bar, and its pictures in a folder."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.cli.common import FAILED, WRONG_CONFIGURATION, fail
from gateway.cli.http import DEFAULT_URL, NotDone, TokenOption, UrlOption, gateway_at

running = typer.Typer()


@running.command()
def run(
    workflow: Annotated[Path, typer.Argument(metavar="FILE", help="A graph in ComfyUI's API format.")],
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NODE.INPUT=VALUE", help="JSON if it is some, else text; may be repeated."),
    ] = None,
    tags: Annotated[str, typer.Option(metavar="TAG,…", help="That the runner must have.")] = "",
    priority: Annotated[int | None, typer.Option(help="Higher goes first.")] = None,
    output_dir: Annotated[Path, typer.Option(metavar="FOLDER", help="Where its files are saved.")] = Path("output"),
    url: UrlOption = DEFAULT_URL,
    token: TokenOption = None,
) -> None:
    """Run a graph, and save what it makes. Ctrl-C cancels it.

    Prints the paths of the files. Exit code 1: refused, failed or cancelled; 2: the file or a --set is wrong.
    """
    from gateway.cli.graphs import GraphError, apply, read_graph

    try:
        graph = read_graph(workflow)
        for setting in settings or ():
            apply(graph, setting)
    except GraphError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(WRONG_CONFIGURATION) from None
    wanted = [tag for part in tags.split(",") if (tag := part.strip())]
    for path in _run(url, token, graph, wanted, priority, output_dir):
        print(path)


def _run(url: str, token: str | None, graph: Any, tags: list[str], priority: int | None, folder: Path) -> list[Path]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    from gateway.cli.running import NotCompleted, Refused, Run, Step

    async def work(told: Progress) -> list[Path]:
        bar = told.add_task("submitting", total=None)

        def tell(step: Step) -> None:
            told.update(bar, description=step.what, total=step.nodes, completed=step.done)

        async with gateway_at(url, token) as gateway:
            one = Run(gateway, graph, tell)
            await one.to_its_end(tags, priority)
            return await one.save(folder)

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    try:
        with Progress(*columns, console=Console(stderr=True)) as told:
            return asyncio.run(work(told))
    except Refused as refused:
        for line in refused.lines:
            print(f"error: {line}", file=sys.stderr)
        raise typer.Exit(FAILED) from None
    except (NotCompleted, NotDone, OSError) as error:
        fail(str(error))
