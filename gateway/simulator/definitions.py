"""The /object_info definitions of the simulated node classes, as each personality words them. No behaviour of nodes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from gateway.simulator.values import JSON

MAX_RESOLUTION = 16384  # pixels


class Options(Enum):
    """A combo whose options are the files of a folder at the time of asking."""

    CHECKPOINTS = "checkpoints"
    DIFFUSION_MODELS = "diffusion_models"
    TEXT_ENCODERS = "text_encoders"
    VAES = "vae"
    INPUT_FILES = "input files"


@dataclass(frozen=True, kw_only=True)
class NodeDefinition:
    """What ComfyUI's node_info (server.py) tells of a class. An input is `[type or options, config?]`."""

    name: str
    display_name: str = ""
    category: str
    required: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    optional: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    hidden: Mapping[str, str] = field(default_factory=dict)
    output: tuple[str, ...] = ()
    output_name: tuple[str, ...] | None = None
    output_tooltips: tuple[str, ...] | None = None
    description: str = ""
    output_node: bool = False
    python_module: str = "nodes"
    search_aliases: tuple[str, ...] = ()
    essentials_category: str | None = None

    def lists(self, options: Options) -> bool:
        """Whether one of the inputs has these options."""
        return any(options in given for given in (*self.required.values(), *self.optional.values()))

    def info(self, *, modern: bool, options: Mapping[Options, Sequence[str]]) -> dict[str, Any]:
        """The class's object in /object_info."""
        groups = {"required": self.required, "optional": self.optional, "hidden": self.hidden}
        inputs = {
            group: {name: _resolved(given, options) for name, given in members.items()}
            for group, members in groups.items()
            if members or group == "required"
        }
        info: dict[str, Any] = {
            "input": inputs,
            "input_order": {group: list(members) for group, members in inputs.items()},
        }
        if modern:
            info["is_input_list"] = False
        info |= {
            "output": list(self.output),
            "output_is_list": [False] * len(self.output),
            "output_name": list(self.output if self.output_name is None else self.output_name),
            "name": self.name,
            "display_name": self.display_name or self.name,
            "description": self.description,
            "python_module": self.python_module,
            "category": self.category,
            "output_node": self.output_node,
        }
        if modern:
            info["has_intermediate_output"] = False
        if self.output_tooltips is not None:
            info["output_tooltips"] = list(self.output_tooltips)
        if modern:
            info["search_aliases"] = list(self.search_aliases)
            if self.essentials_category is not None:
                info["essentials_category"] = self.essentials_category
        return info


def _resolved(given: Sequence[Any] | str, options: Mapping[Options, Sequence[str]]) -> JSON:
    if isinstance(given, str):
        return given
    return [list(options[item]) if isinstance(item, Options) else item for item in given]


_SAMPLERS = [
    "euler",
    "euler_cfg_pp",
    "euler_ancestral",
    "euler_ancestral_cfg_pp",
    "heun",
    "heunpp2",
    "dpm_2",
    "dpm_2_ancestral",
    "lms",
    "dpm_fast",
    "dpm_adaptive",
    "dpmpp_2s_ancestral",
    "dpmpp_2s_ancestral_cfg_pp",
    "dpmpp_sde",
    "dpmpp_sde_gpu",
    "dpmpp_2m",
    "dpmpp_2m_cfg_pp",
    "dpmpp_2m_sde",
    "dpmpp_2m_sde_gpu",
    "dpmpp_3m_sde",
    "dpmpp_3m_sde_gpu",
    "ddpm",
    "lcm",
    "ipndm",
    "ipndm_v",
    "deis",
    "res_multistep",
    "gradient_estimation",
    "er_sde",
    "seeds_2",
    "seeds_3",
    "ddim",
    "uni_pc",
    "uni_pc_bh2",
]
_SCHEDULERS = [
    "simple",
    "sgm_uniform",
    "karras",
    "exponential",
    "ddim_uniform",
    "beta",
    "normal",
    "linear_quadratic",
    "kl_optimal",
]

_TEXT_ENCODER_TYPES = ["stable_diffusion", "sd3", "ltxv", "lumina2", "wan", "hidream", "chroma", "qwen_image"]


def _pixels(default: int, minimum: int, step: int, tooltip: str | None = None) -> list[Any]:
    config: dict[str, Any] = {"default": default, "min": minimum, "max": MAX_RESOLUTION, "step": step}
    return ["INT", config | ({"tooltip": tooltip} if tooltip else {})]


_SAVE_PREFIX = {
    "default": "ComfyUI",
    "tooltip": "The prefix for the file to save. This may include formatting information such as %date:yyyy-MM-dd% "
    "or %Empty Latent Image.width% to include values from nodes.",
}
_HIDDEN = {"prompt": "PROMPT", "extra_pnginfo": "EXTRA_PNGINFO"}

_SAVE_IMAGE = NodeDefinition(
    name="SaveImage",
    display_name="Save Image",
    category="image",
    required={"images": ["IMAGE", {"tooltip": "The images to save."}], "filename_prefix": ["STRING", _SAVE_PREFIX]},
    hidden=_HIDDEN,
    output=("IMAGE",),
    output_name=("images",),
    description="Saves the input images to your ComfyUI output directory.",
    output_node=True,
    search_aliases=("save", "save image", "export image", "output image", "write image", "download"),
    essentials_category="Basics",
)

_MODERN = (
    NodeDefinition(
        name="KSampler",
        category="model/sampling",
        required={
            "model": ["MODEL", {"tooltip": "The model that denoises the latent."}],
            "seed": ["INT", {"default": 0, "min": 0, "max": 2**64 - 1, "control_after_generate": True}],
            "steps": ["INT", {"default": 20, "min": 1, "max": 10000}],
            "cfg": ["FLOAT", {"default": 8.0, "min": 0.0, "max": 100.0, "step": 0.1, "round": 0.01}],
            "sampler_name": [_SAMPLERS, {"tooltip": "How the noise is taken away."}],
            "scheduler": [_SCHEDULERS, {"tooltip": "How much of it in which step."}],
            "positive": ["CONDITIONING", {"tooltip": "What the picture should show."}],
            "negative": ["CONDITIONING", {"tooltip": "What the picture should not show."}],
            "latent_image": ["LATENT", {"tooltip": "The latent to denoise."}],
            "denoise": ["FLOAT", {"default": 1.0, "min": 0.0, "max": 1.0, "step": 0.01}],
        },
        output=("LATENT",),
        output_tooltips=("The denoised latent.",),
        description="Denoises a latent with a model, towards one conditioning and away from another.",
        search_aliases=("sampler", "denoise", "txt2img"),
    ),
    NodeDefinition(
        name="CheckpointLoaderSimple",
        display_name="Load Checkpoint",
        category="model/loaders",
        required={"ckpt_name": [Options.CHECKPOINTS, {"tooltip": "The name of the checkpoint (model) to load."}]},
        output=("MODEL", "CLIP", "VAE"),
        output_tooltips=("Denoises latents.", "Encodes texts.", "Encodes and decodes pictures."),
        description="Loads a diffusion model's checkpoint.",
        search_aliases=("checkpoint", "ckpt", "model"),
    ),
    NodeDefinition(
        name="UNETLoader",
        display_name="Load Diffusion Model",
        category="model/loaders",
        required={
            "unet_name": [Options.DIFFUSION_MODELS],
            "weight_dtype": [["default", "fp8_e4m3fn", "fp8_e4m3fn_fast", "fp8_e5m2"], {"advanced": True}],
        },
        output=("MODEL",),
    ),
    NodeDefinition(
        name="CLIPLoader",
        display_name="Load CLIP",
        category="model/loaders",
        required={"clip_name": [Options.TEXT_ENCODERS], "type": [_TEXT_ENCODER_TYPES]},
        optional={"device": [["default", "cpu"], {"advanced": True}]},
        output=("CLIP",),
        description="Loads a text encoder, as the given type of model wants it.",
    ),
    NodeDefinition(
        name="VAELoader",
        display_name="Load VAE",
        category="model/loaders",
        required={"vae_name": [Options.VAES]},
        output=("VAE",),
    ),
    NodeDefinition(
        name="ModelSamplingAuraFlow",
        category="model/patch",
        required={
            "model": ["MODEL"],
            "shift": ["FLOAT", {"default": 1.73, "min": 0.0, "max": 100.0, "step": 0.01}],
        },
        output=("MODEL",),
        python_module="comfy_extras.nodes_model_advanced",
    ),
    NodeDefinition(
        name="CLIPTextEncode",
        display_name="CLIP Text Encode (Prompt)",
        category="model/conditioning",
        required={
            "text": ["STRING", {"multiline": True, "dynamicPrompts": True, "tooltip": "What to encode."}],
            "clip": ["CLIP", {"tooltip": "What encodes it."}],
        },
        output=("CONDITIONING",),
        output_tooltips=("The text, as the model takes it.",),
        description="Encodes a text to guide a diffusion model.",
        search_aliases=("text", "prompt"),
    ),
    NodeDefinition(
        name="EmptyLatentImage",
        display_name="Empty Latent Image",
        category="model/latent",
        required={
            "width": _pixels(512, 16, 8, "Width in pixels."),
            "height": _pixels(512, 16, 8, "Height in pixels."),
            "batch_size": ["INT", {"default": 1, "min": 1, "max": 4096}],
        },
        output=("LATENT",),
        output_tooltips=("The empty latents.",),
        description="Makes a batch of empty latents to be denoised.",
        search_aliases=("empty latent", "blank"),
    ),
    NodeDefinition(
        name="EmptySD3LatentImage",
        category="model/latent/stable diffusion",
        required={
            "width": _pixels(1024, 16, 16),
            "height": _pixels(1024, 16, 16),
            "batch_size": ["INT", {"default": 1, "min": 1, "max": 4096}],
        },
        output=("LATENT",),
        python_module="comfy_extras.nodes_sd3",
    ),
    NodeDefinition(
        name="VAEDecode",
        display_name="VAE Decode",
        category="model/latent",
        required={
            "samples": ["LATENT", {"tooltip": "The latent to be decoded."}],
            "vae": ["VAE", {"tooltip": "What decodes it."}],
        },
        output=("IMAGE",),
        output_tooltips=("The decoded picture.",),
        description="Turns latents into pictures.",
        search_aliases=("decode", "latent to image"),
    ),
    _SAVE_IMAGE,
    replace(
        _SAVE_IMAGE,
        name="PreviewImage",
        display_name="Preview Image",
        required={"images": ["IMAGE"]},
        description="Shows pictures without saving them to the output folder.",
        search_aliases=("preview", "show image"),
    ),
    NodeDefinition(
        name="LoadImage",
        display_name="Load Image",
        category="image",
        required={"image": [Options.INPUT_FILES, {"image_upload": True}]},
        output=("IMAGE", "MASK"),
        search_aliases=(
            "load image",
            "open image",
            "import image",
            "image input",
            "upload image",
            "read image",
            "image loader",
        ),
        essentials_category="Basics",
    ),
    NodeDefinition(
        name="EmptyImage",
        display_name="Empty Image",
        category="image",
        required={
            "width": _pixels(512, 1, 1),
            "height": _pixels(512, 1, 1),
            "batch_size": ["INT", {"default": 1, "min": 1, "max": 4096}],
            "color": ["INT", {"default": 0, "min": 0, "max": 0xFFFFFF, "step": 1, "display": "color"}],
        },
        output=("IMAGE",),
    ),
    NodeDefinition(
        name="ImageInvert",
        display_name="Invert Image Colors",
        category="image/color",
        required={"image": ["IMAGE"]},
        output=("IMAGE",),
        search_aliases=("negative",),
        essentials_category="Image Tools",
    ),
    NodeDefinition(
        name="ProgressProbe",
        category="testing",
        required={
            "image": ["IMAGE"],
            "steps": ["INT", {"default": 4, "min": 1, "max": 1000}],
            "seconds": ["FLOAT", {"default": 1.0, "min": 0.0, "max": 3600.0}],
            "seed": ["INT", {"default": 0, "min": 0, "max": 2**64 - 1}],
            "fail_at": ["INT", {"default": -1, "min": -1, "max": 1000}],
        },
        output=("IMAGE",),
        python_module="custom_nodes.progress_probe",
    ),
    NodeDefinition(
        name="SaveImageWebsocket",
        category="api/image",
        required={"images": ["IMAGE"]},
        output_node=True,
        python_module="custom_nodes.websocket_image_save",
    ),
)

_CLASSIC_DIFFERENCES: Mapping[str, Mapping[str, Any]] = {
    "KSampler": {"category": "sampling"},
    "CheckpointLoaderSimple": {"category": "loaders"},
    "CLIPTextEncode": {"category": "conditioning"},
    "EmptyLatentImage": {"category": "latent"},
    "EmptySD3LatentImage": {"category": "latent/sd3"},
    "UNETLoader": {"category": "advanced/loaders"},
    "CLIPLoader": {"category": "advanced/loaders"},
    "VAELoader": {"category": "loaders"},
    "ModelSamplingAuraFlow": {"category": "advanced/model"},
    "VAEDecode": {"category": "latent"},
    "SaveImage": {"output": (), "output_name": None},
    "PreviewImage": {"output": (), "output_name": None, "description": _SAVE_IMAGE.description},
    "EmptyImage": {"display_name": "EmptyImage"},
    "ImageInvert": {"display_name": "Invert Image", "category": "image"},
}


def definitions(*, modern: bool) -> dict[str, NodeDefinition]:
    """The built-in classes by name, SaveImageWebsocket included."""
    return {
        definition.name: definition if modern else replace(definition, **_CLASSIC_DIFFERENCES.get(definition.name, {}))
        for definition in _MODERN
    }
