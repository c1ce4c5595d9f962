"""What the simulated node classes do. Their definitions are in `definitions`, the pictures they make in `pictures`."""

import hashlib
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gateway.simulator import pictures
from gateway.simulator.definitions import NodeDefinition, definitions
from gateway.simulator.folders import Folders, PathEscapes
from gateway.simulator.gpu import Gpu
from gateway.simulator.pictures import Pictures
from gateway.simulator.values import JSON, ConditioningValue, ImageValue, LatentValue, MaskValue, ModelValue

Progress = Callable[[int, int, bytes | None], None]
"""value, max, and a preview: a JPEG, or a PNG, which is then a result."""


class NodeRaised(Exception):
    """A node's own exception, under the name a client is to see."""

    def __init__(self, exception_type: str, message: str) -> None:
        super().__init__(message)
        self.exception_type = exception_type


@dataclass(slots=True)
class Equipment:
    """What every node of a runner works with."""

    gpu: Gpu
    pictures: Pictures
    folders: Folders
    seconds_per_node: float
    seconds_per_step: float


@dataclass(slots=True)
class NodeCall:
    """One execution of one node."""

    equipment: Equipment
    inputs: Mapping[str, Any]
    prompt: Mapping[str, Any]
    extra_pnginfo: Mapping[str, Any] | None
    temp_mark: str
    """The letters that PreviewImage puts into the names of its files, one set per node object."""
    progress: Progress


@dataclass(slots=True)
class NodeResult:
    """Values for the outputs, and what goes to the client and the history."""

    outputs: tuple[Any, ...] = ()
    ui: dict[str, list[Any]] | None = None


Run = Callable[[NodeCall], Awaitable[NodeResult]]


@dataclass(frozen=True)
class NodeClass:
    """A class that prompts can name.

    `fingerprint` is ComfyUI's IS_CHANGED: a value that makes the node run again when it differs.
    `checks` are its VALIDATE_INPUTS: per input a function that gives a complaint or None; such an input is not held
    against the list or the limits of its definition.
    """

    definition: NodeDefinition
    run: Run
    fingerprint: Callable[[Folders, Mapping[str, Any]], str | None] | None = None
    checks: Mapping[str, Callable[[Folders, Any], str | None]] = field(default_factory=dict)


async def _load_checkpoint(call: NodeCall) -> NodeResult:
    name = call.inputs["ckpt_name"]
    await call.equipment.gpu.load(name)
    return NodeResult(tuple(ModelValue(part, name) for part in ("model", "clip", "vae")))


async def _load_diffusion_model(call: NodeCall) -> NodeResult:
    name = call.inputs["unet_name"]
    await call.equipment.gpu.load(name)
    return NodeResult((ModelValue("model", name),))


async def _load_text_encoder(call: NodeCall) -> NodeResult:
    return NodeResult((ModelValue("clip", call.inputs["clip_name"]),))


async def _load_vae(call: NodeCall) -> NodeResult:
    return NodeResult((ModelValue("vae", call.inputs["vae_name"]),))


async def _shift_sampling(call: NodeCall) -> NodeResult:
    return NodeResult((call.inputs["model"],))


async def _encode_text(call: NodeCall) -> NodeResult:
    return NodeResult((ConditioningValue(call.inputs["text"]),))


async def _empty_latent(call: NodeCall) -> NodeResult:
    width, height = call.inputs["width"], call.inputs["height"]
    return NodeResult((LatentValue(width // 8 * 8, height // 8 * 8, call.inputs["batch_size"]),))


async def _sample(call: NodeCall) -> NodeResult:
    equipment, inputs = call.equipment, call.inputs
    model: ModelValue = inputs["model"]
    latent: LatentValue = inputs["latent_image"]
    seed, steps = inputs["seed"], inputs["steps"]
    await equipment.gpu.load(model.checkpoint)
    for step in range(steps):
        await equipment.gpu.work(equipment.seconds_per_step)
        equipment.gpu.check_interrupt()
        call.progress(step + 1, steps, equipment.pictures.preview(step, seed))
    return NodeResult((replace(latent, seed=seed, checkpoint=model.checkpoint),))


async def _decode(call: NodeCall) -> NodeResult:
    latent: LatentValue = call.inputs["samples"]
    title = latent.checkpoint.rsplit("/", 1)[-1].rsplit(".", 1)[0]
    return NodeResult((ImageValue(latent.width, latent.height, latent.batch, seed=latent.seed, title=title),))


async def _empty_image(call: NodeCall) -> NodeResult:
    inputs = call.inputs
    number = inputs["color"]
    color = (number >> 16 & 255, number >> 8 & 255, number & 255)
    return NodeResult((ImageValue(inputs["width"], inputs["height"], inputs["batch_size"], color),))


async def _invert(call: NodeCall) -> NodeResult:
    image: ImageValue = call.inputs["image"]
    return NodeResult((replace(image, inverted=not image.inverted),))


async def _load_image(call: NodeCall) -> NodeResult:
    source = call.equipment.folders.annotated(call.inputs["image"])
    try:
        width, height = pictures.size_of(source)
    except OSError as error:
        raise NodeRaised(type(error).__name__, str(error)) from error
    return NodeResult((ImageValue(width, height, source=source), MaskValue(source)))


async def _probe(call: NodeCall) -> NodeResult:
    equipment, inputs = call.equipment, call.inputs
    steps, seed = inputs["steps"], inputs["seed"]
    for step in range(steps):
        if step == inputs["fail_at"]:
            raise NodeRaised("RuntimeError", "probe was told to fail here")
        await equipment.gpu.work(inputs["seconds"] / steps)
        equipment.gpu.check_interrupt()
        call.progress(step + 1, steps, equipment.pictures.preview(step, seed))
    image: ImageValue = inputs["image"]
    return NodeResult((ImageValue(image.width, image.height, image.batch, seed=seed),))


async def _save(call: NodeCall) -> NodeResult:
    return await _written(call, "output", call.inputs["filename_prefix"])


async def _preview(call: NodeCall) -> NodeResult:
    return await _written(call, "temp", f"ComfyUI_temp_{call.temp_mark}")


async def _written(call: NodeCall, file_type: str, prefix: str) -> NodeResult:
    image: ImageValue = call.inputs["images"]
    folders = call.equipment.folders
    try:
        place = folders.save_place(prefix, file_type, image.width, image.height)
    except PathEscapes as error:
        raise NodeRaised("Exception", "Saving image outside the output folder is not allowed.") from error
    texts = dict(_metadata(call))
    items = []
    for index in range(image.batch):
        filename = f"{place.filename.replace('%batch_num%', str(index))}_{place.counter + index:05}_.png"
        data = await call.equipment.pictures.png(image, index, texts)
        (place.folder / filename).write_bytes(data)
        items.append({"filename": filename, "subfolder": place.subfolder, "type": file_type})
    folders.saved(place, place.counter + image.batch - 1)
    return NodeResult((image,), {"images": items})


def _metadata(call: NodeCall) -> Iterable[tuple[str, str]]:
    yield "prompt", json.dumps(call.prompt)
    for name, value in (call.extra_pnginfo or {}).items():
        yield name, json.dumps(value)


async def _save_websocket(call: NodeCall) -> NodeResult:
    image: ImageValue = call.inputs["images"]
    for index in range(image.batch):
        call.progress(index, image.batch, await call.equipment.pictures.png(image, index, {}))
    return NodeResult((), {})


async def pass_on(call: NodeCall) -> NodeResult:
    """A node that hands its first input on; a body for node classes that only need to exist."""
    return NodeResult((next(iter(call.inputs.values()), None),))


def extra_node(name: str) -> NodeClass:
    """A class that only some runners have: takes and gives an image. "SaveImageWebsocket" is the real one."""
    if name == "SaveImageWebsocket":
        return NodeClass(definitions(modern=True)[name], _save_websocket)
    definition = NodeDefinition(
        name=name,
        category="testing",
        required={"image": ["IMAGE"]},
        output=("IMAGE",),
        python_module=f"custom_nodes.{name.lower()}",
    )
    return NodeClass(definition, pass_on)


def _digest(folders: Folders, inputs: Mapping[str, Any]) -> str | None:
    path = folders.annotated(str(inputs.get("image")))
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def _missing(folders: Folders, value: JSON) -> str | None:
    path: Path = folders.annotated(value)
    return None if path.exists() else f"Invalid image file: {value}"


_RUNS: Mapping[str, Run] = {
    "KSampler": _sample,
    "CheckpointLoaderSimple": _load_checkpoint,
    "UNETLoader": _load_diffusion_model,
    "CLIPLoader": _load_text_encoder,
    "VAELoader": _load_vae,
    "ModelSamplingAuraFlow": _shift_sampling,
    "CLIPTextEncode": _encode_text,
    "EmptyLatentImage": _empty_latent,
    "EmptySD3LatentImage": _empty_latent,
    "VAEDecode": _decode,
    "SaveImage": _save,
    "PreviewImage": _preview,
    "LoadImage": _load_image,
    "EmptyImage": _empty_image,
    "ImageInvert": _invert,
    "ProgressProbe": _probe,
}


def node_classes(*, modern: bool, extra: Iterable[NodeClass] = ()) -> dict[str, NodeClass]:
    """The classes of one runner by name, built-in ones first."""
    known = definitions(modern=modern)
    classes = {name: NodeClass(known[name], run) for name, run in _RUNS.items()}
    classes["LoadImage"] = replace(classes["LoadImage"], fingerprint=_digest, checks={"image": _missing})
    return classes | {node.definition.name: node for node in extra}
