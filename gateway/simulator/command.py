"""The command that runs simulated runners: `comfy-gateway simulate`, or `python -m gateway.simulator`."""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from gateway.simulator.nodes import extra_node
from gateway.simulator.options import DEFAULT_CHECKPOINTS, SimulatorOptions
from gateway.simulator.personality import PERSONALITIES
from gateway.simulator.server import Simulator, run

app = typer.Typer(add_completion=False)


def _required_header(text: str | None) -> tuple[str, str] | None:
    """("Authorization", "Bearer x") of "Authorization: Bearer x"."""
    if text is None:
        return None
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise typer.BadParameter('must be "Name: value"', param_hint="--require-header")
    return (name.strip(), value.strip())


def _by_folder(models: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """{"loras": ("a.safetensors",)} of ["loras/a.safetensors"]."""
    folders: dict[str, tuple[str, ...]] = {}
    for model in models:
        folder, slash, name = model.partition("/")
        if not folder or not slash or not name:
            raise typer.BadParameter("must be FOLDER/NAME", param_hint="--model")
        folders[folder] = (*folders.get(folder, ()), name)
    return folders


@app.command()
def simulate(
    port: Annotated[list[int], typer.Option("--port", "-P", help="Port to listen on; several make several runners.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    name: Annotated[str | None, typer.Option(help="Name drawn on the pictures; default runner-<port>.")] = None,
    version: Annotated[
        str, typer.Option("--comfyui", help=f"ComfyUI to imitate: {', '.join(PERSONALITIES)}.")
    ] = "0.33.0",
    base_directory: Annotated[
        Path | None, typer.Option(help="Folder for input, output, temp and user data; default a temporary one.")
    ] = None,
    checkpoint: Annotated[list[str] | None, typer.Option(help="Checkpoint to offer; may be repeated.")] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="Further model to offer, as FOLDER/NAME; may be repeated.")
    ] = None,
    extra: Annotated[list[str] | None, typer.Option("--extra-node", help="Further node class to offer.")] = None,
    seconds_per_step: Annotated[float, typer.Option(help="Duration of a sampling step.")] = 0.1,
    load_seconds: Annotated[float, typer.Option(help="Duration of loading a checkpoint.")] = 3.0,
    models_kept: Annotated[int, typer.Option(help="Checkpoints that stay loaded.")] = 1,
    speed: Annotated[float, typer.Option(help="Divides all durations.")] = 1.0,
    draw: Annotated[bool, typer.Option(help="Draw seed and runner on the pictures, or make tiny flat ones.")] = True,
    previews: Annotated[bool, typer.Option(help="Send preview pictures while sampling.")] = True,
    require_header: Annotated[str | None, typer.Option(help='Header every request needs: "Name: value".')] = None,
) -> None:
    """Run simulated ComfyUI servers until interrupted."""
    all_options = [
        SimulatorOptions(
            name=name if name is not None and len(port) == 1 else f"{name or 'runner'}-{number}",
            host=host,
            port=number,
            version=version,
            base_dir=base_directory / str(number) if base_directory is not None and len(port) > 1 else base_directory,
            checkpoints=tuple(checkpoint or DEFAULT_CHECKPOINTS),
            models=_by_folder(model or ()),
            extra_nodes=tuple(extra_node(node) for node in extra or ()),
            seconds_per_step=seconds_per_step,
            load_seconds=load_seconds,
            models_kept=models_kept,
            speed=speed,
            draw=draw,
            preview_size=512 if previews else 0,
            required_header=_required_header(require_header),
        )
        for number in port
    ]
    if version not in PERSONALITIES:
        raise typer.BadParameter(f"must be one of {', '.join(PERSONALITIES)}", param_hint="--comfyui")
    run_all(all_options, on_start=lambda runner: typer.echo(f"{runner.options.name}: {runner.url}"))


def run_all(options: Sequence[SimulatorOptions], *, on_start: Callable[[Simulator], None] | None = None) -> None:
    """Serve all of these in one event loop until SIGINT or SIGTERM."""
    import uvloop

    async def serve() -> None:
        serving = asyncio.gather(*(run(one, on_start=on_start) for one in options))
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, serving.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await serving

    uvloop.run(serve())
