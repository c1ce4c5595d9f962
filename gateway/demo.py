"""The demo: simulated runners and the gateway over them in one process, with a temporary data folder that is removed
at the end. What is simulated is `gateway.simulator`'s business.
"""

import asyncio
import importlib.util
import signal
import socket
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import aiohttp
import orjson
import typer

from gateway.config import Config, LogConfig, RunnerConfig, ServerConfig

if TYPE_CHECKING:  # its libraries may not be installed
    from gateway.simulator import SimulatorOptions

HOST = "127.0.0.1"
CHECKPOINT = "v1-5-pruned-emaonly-fp16.safetensors"  # what the default graph of older frontends names
MODELS = {  # what the default graph of newer ones names
    "diffusion_models": ("z_image_turbo_bf16.safetensors",),
    "text_encoders": ("qwen_3_4b.safetensors",),
    "vae": ("ae.safetensors",),
}
SECONDS_PER_STEP = 0.15  # 20 steps take three seconds
LOAD_SECONDS = 1.0
# Else the frontend's first start shows its templates over an empty graph, instead of the default graph.
FRONTEND_SETTINGS = {"Comfy.TutorialCompleted": True}
READY_POLL_SECONDS = 0.1
PICTURE = "demo_00001_.png"
FRONTEND = "comfyui_frontend_package"


class DemoError(Exception):
    """The demo cannot start; the message is for the user."""


async def run_demo(*, port: int, runners: int) -> None:
    """Run the demo until SIGINT or SIGTERM. `port` 0, or one that is taken, means a free one.

    Raises DemoError where the frontend is not installed.
    """
    if importlib.util.find_spec(FRONTEND) is None:
        raise DemoError("the stock frontend is not installed: pip install 'comfy-gateway[frontend]'")
    demo = asyncio.current_task()
    assert demo is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        # Until the gateway, once it runs, takes the signals over.
        asyncio.get_running_loop().add_signal_handler(number, demo.cancel)
    try:
        await _run(_port_for(port), runners)
    except asyncio.CancelledError:
        typer.echo("Stopped before the gateway was ready.")


async def _run(port: int, runners: int) -> None:
    from gateway.logging import configure_logging
    from gateway.serving import serve
    from gateway.simulator import Simulator

    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="comfy-gateway-demo-")))
        simulators = [await stack.enter_async_context(Simulator(_options(number))) for number in range(runners)]
        config = Config(
            server=ServerConfig(host=HOST, port=port),
            data_dir=folder / "data",
            runners=tuple(RunnerConfig(name=each.options.name, endpoint=each.url) for each in simulators),
            log=LogConfig(level="warning"),
        )
        configure_logging(config.log)
        announcement = asyncio.create_task(_announce(config, folder))
        try:
            await serve(config)
        finally:
            announcement.cancel()
            with suppress(asyncio.CancelledError):
                await announcement
        typer.echo("Stopped.")


def _options(number: int) -> "SimulatorOptions":
    from gateway.simulator import SimulatorOptions

    return SimulatorOptions(
        name=f"simulated-{number}",  # the pictures' colour follows from it
        checkpoints=(CHECKPOINT,),
        models=MODELS,
        seconds_per_step=SECONDS_PER_STEP,
        load_seconds=LOAD_SECONDS,
    )


def _port_for(wanted: int) -> int:
    """The wanted port if it is free, else one that is; says so."""
    if wanted and _is_free(wanted):
        return wanted
    with socket.create_server((HOST, 0)) as probe:
        port: int = probe.getsockname()[1]
    if wanted:
        typer.echo(f"Port {wanted} is taken; using {port}.")
    return port


def _is_free(port: int) -> bool:
    try:
        socket.create_server((HOST, port)).close()
    except OSError:
        return False
    return True


async def _announce(config: Config, folder: Path) -> None:
    """Wait until the gateway answers, then print what can be done with it."""
    base = f"http://{config.server.host}:{config.server.port}"
    async with aiohttp.ClientSession() as session:
        while not await _is_ready(session, base):  # noqa: ASYNC110 - seen from outside, as a client sees it
            await asyncio.sleep(READY_POLL_SECONDS)
        async with session.post(f"{base}/settings", json=FRONTEND_SETTINGS) as response:
            response.raise_for_status()
    prompt = folder / "prompt.json"
    prompt.write_bytes(orjson.dumps({"prompt": demo_graph()}, option=orjson.OPT_INDENT_2))
    typer.echo(banner(base, prompt, config))


async def _is_ready(session: aiohttp.ClientSession, base: str) -> bool:
    try:
        async with session.get(f"{base}/gateway/ready") as response:
            return response.status == 200
    except aiohttp.ClientError:
        return False


def banner(base: str, prompt: Path, config: Config) -> str:
    """What the demo prints when it is ready; every command in it can be pasted into a shell."""
    runners = "\n".join(f"    {runner.name}  {runner.endpoint}" for runner in config.runners)
    return f"""
comfy-gateway is ready.

  Open this URL and press Run:

    {base}/

  Submit a prompt:

    curl -s -H 'Content-Type: application/json' -d @{prompt} {base}/prompt

  See its state at once, and its result a few seconds later:

    curl -s '{base}/api/jobs?limit=1'

  Fetch the first picture as soon as it is there:

    curl -sf --retry 60 --retry-delay 1 --retry-all-errors -o {PICTURE} '{base}/view?filename={PICTURE}'

  The simulated runners behind it:

{runners}

  Ctrl-C ends all of it.
"""


def demo_graph() -> dict[str, Any]:
    """A prompt in ComfyUI's API format: text to image with 20 steps, saved under the prefix `demo`."""
    return {
        "3": {
            "class_type": "KSampler",
            "inputs": {
                "seed": 42,
                "steps": 20,
                "cfg": 8.0,
                "sampler_name": "euler",
                "scheduler": "normal",
                "denoise": 1.0,
                "model": ["4", 0],
                "positive": ["6", 0],
                "negative": ["7", 0],
                "latent_image": ["5", 0],
            },
        },
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": CHECKPOINT}},
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 512, "batch_size": 1}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a lighthouse at dusk", "clip": ["4", 1]}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "text, watermark", "clip": ["4", 1]}},
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
        "9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "demo", "images": ["8", 0]}},
    }
