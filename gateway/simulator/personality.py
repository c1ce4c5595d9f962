"""In what ComfyUI 0.33 and 0.3.64 differ, as data. No behaviour: whoever answers a request asks the personality."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.simulator.blueprints import BLUEPRINTS

CONTENT_SECURITY_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self'; connect-src 'self' data:; frame-src 'self'; object-src 'self';"
)

MODEL_EXTENSIONS = (".bin", ".ckpt", ".pkl", ".pt", ".pt2", ".pth", ".safetensors", ".sft")


@dataclass(frozen=True)
class ModelFolder:
    """One kind of model: its folders under the base directory, and the file endings it takes."""

    name: str
    folders: tuple[str, ...]
    extensions: tuple[str, ...] = MODEL_EXTENSIONS


def _folder(name: str, *further: str, extensions: tuple[str, ...] = MODEL_EXTENSIONS) -> ModelFolder:
    return ModelFolder(name, further or (f"models/{name}",), extensions)


_COMMON_FOLDERS = (
    _folder("checkpoints", "models/checkpoints", "output/checkpoints"),
    _folder("configs", extensions=(".yaml",)),
    _folder("loras", "models/loras", "output/loras"),
    _folder("vae", "models/vae", "output/vae"),
    _folder("text_encoders", "models/text_encoders", "models/clip", "output/clip"),
    _folder("diffusion_models", "models/unet", "models/diffusion_models", "output/diffusion_models"),
    _folder("clip_vision"),
    _folder("style_models"),
    _folder("embeddings"),
    _folder("diffusers", extensions=("folder",)),
    _folder("vae_approx"),
    _folder("controlnet", "models/controlnet", "models/t2i_adapter"),
    _folder("gligen"),
    _folder("upscale_models"),
)
_LATENT_UPSCALE = (_folder("latent_upscale_models"),)
_CUSTOM_NODES = (_folder("custom_nodes", "custom_nodes", extensions=()),)
_DATASETS = (_folder("datasets", "datasets", extensions=()),)
_LATER_FOLDERS = (
    _folder("hypernetworks"),
    _folder("photomaker"),
    _folder("classifiers", extensions=("",)),
    _folder("model_patches"),
    _folder("audio_encoders"),
)
_NEWEST_FOLDERS = (
    _folder("background_removal"),
    _folder("frame_interpolation"),
    _folder("geometry_estimation"),
    _folder("optical_flow"),
    _folder("detection"),
)


@dataclass(frozen=True, kw_only=True)
class Personality:
    """One version of ComfyUI. Every field is a difference that a client can see."""

    version: str
    feature_flags: Mapping[str, Any]
    """Answer to feature_flags and /features, without max_upload_size."""
    system: Mapping[str, Any]
    """Version-dependent part of /system_stats."""
    model_folders: tuple[ModelFolder, ...]
    global_subgraphs: Mapping[str, Any] = field(default_factory=dict)
    node_replacements: Mapping[str, Any] = field(default_factory=dict)

    modern: bool
    """Node definitions and messages of the line that began with 0.4: `is_input_list`, `search_aliases`, categories …"""
    jobs_api: bool
    """/api/jobs, /api/assets, /global_subgraphs, /node_replacements exist."""
    canonical_prompt_ids: bool
    """A prompt_id must be a UUID as `str(UUID)` writes it; else anything is taken and turned into a string."""
    create_time: bool
    """extra_data gets create_time (milliseconds)."""
    secrets_apart: bool
    """API keys never show in /queue."""
    cache_nodes: int
    """Nodes the execution cache holds beyond those of the current prompt."""
    root_cache_control: str
    nosniff: bool
    """X-Content-Type-Options on files, and attachments for what a browser could run."""
    checks_fetch_site: bool
    """Sec-Fetch-Site: cross-site is refused."""
    integer_file_times: bool
    """Times of user data in whole milliseconds; else seconds as a float."""
    annotated_listing: bool
    """/internal/files names carry their folder: "a.png [output]"."""
    log_prefix: str

    @property
    def folder_names(self) -> tuple[str, ...]:
        """The names that /models lists, in its order."""
        return tuple(folder.name for folder in self.model_folders)

    def folder(self, name: str) -> ModelFolder | None:
        """The model folder of that name."""
        return next((folder for folder in self.model_folders if folder.name == name), None)


def _packages(**versions: str) -> list[dict[str, str]]:
    return [
        {"name": name.replace("_", "-"), "installed": version, "required": version}
        for name, version in versions.items()
    ]


MODERN = Personality(
    version="0.33.0",
    feature_flags={
        "supports_preview_metadata": True,
        "supports_model_type_tags": True,
        "max_upload_size": 0,
        "extension": {"manager": {"supports_v4": True}},
        "node_replacements": True,
        "assets": False,
    },
    system={
        "os": "linux",
        "comfyui_version": "0.33.0",
        "required_frontend_version": "1.49.6",
        "installed_templates_version": "0.11.44",
        "required_templates_version": "0.11.44",
        "comfy_package_versions": _packages(
            comfyui_frontend_package="1.49.6",
            comfyui_workflow_templates="0.11.44",
            comfyui_embedded_docs="0.5.10",
            comfy_kitchen="0.2.31",
            comfy_aimdo="0.4.13",
        ),
        "deploy_environment": "local-git",
    },
    model_folders=(_COMMON_FOLDERS + _LATENT_UPSCALE + _CUSTOM_NODES + _DATASETS + _LATER_FOLDERS + _NEWEST_FOLDERS),
    global_subgraphs=BLUEPRINTS,
    node_replacements={
        "ResizeImagesByLongerEdge": [
            {
                "new_node_id": "ImageScaleToMaxDimension",
                "old_node_id": "ResizeImagesByLongerEdge",
                "old_widget_ids": ["longer_edge"],
                "input_mapping": [
                    {"new_id": "image", "old_id": "images"},
                    {"new_id": "largest_size", "old_id": "longer_edge"},
                    {"new_id": "upscale_method", "set_value": "lanczos"},
                ],
                "output_mapping": [{"new_idx": 0, "old_idx": 0}],
            }
        ]
    },
    modern=True,
    jobs_api=True,
    canonical_prompt_ids=True,
    create_time=True,
    secrets_apart=True,
    cache_nodes=1000,
    root_cache_control="no-store, must-revalidate",
    nosniff=True,
    checks_fetch_site=True,
    integer_file_times=True,
    annotated_listing=True,
    log_prefix="\x1b[32m[INFO]\x1b[0m ",
)

CLASSIC = Personality(
    version="0.3.64",
    feature_flags={"supports_preview_metadata": True, "max_upload_size": 0},
    system={
        "os": "posix",
        "comfyui_version": "0.3.64",
        "required_frontend_version": "1.27.10",
        "installed_templates_version": "0.1.95",
        "required_templates_version": "0.1.95",
    },
    model_folders=_COMMON_FOLDERS + _CUSTOM_NODES + _LATER_FOLDERS,
    modern=False,
    jobs_api=False,
    canonical_prompt_ids=False,
    create_time=False,
    secrets_apart=False,
    cache_nodes=0,
    root_cache_control="no-cache",
    nosniff=False,
    checks_fetch_site=False,
    integer_file_times=False,
    annotated_listing=False,
    log_prefix="",
)

PERSONALITIES: Mapping[str, Personality] = {personality.version: personality for personality in (MODERN, CLASSIC)}


def personality_of(version: str) -> Personality:
    """The personality for a version.

    Raises:
        ValueError: no such version is imitated.
    """
    if version not in PERSONALITIES:
        raise ValueError(f"no personality for ComfyUI {version}; there are {', '.join(PERSONALITIES)}")
    return PERSONALITIES[version]
