"""The node classes and model names that the stock frontend's default graph needs beyond the simulator's own: newer
frontends open with a graph that loads the diffusion model, the text encoder and the VAE from files of their own.
"""

from gateway.simulator.definitions import NodeDefinition
from gateway.simulator.nodes import NodeCall, NodeClass, NodeResult
from gateway.simulator.values import LatentValue, ModelValue

MODELS = {
    "diffusion_models": ("z_image_turbo_bf16.safetensors",),
    "text_encoders": ("qwen_3_4b.safetensors",),
    "vae": ("ae.safetensors",),
}


async def _load_diffusion_model(call: NodeCall) -> NodeResult:
    name = call.inputs["unet_name"]
    await call.equipment.gpu.load(name)
    return NodeResult((ModelValue("model", name),))


async def _keep_model(call: NodeCall) -> NodeResult:
    return NodeResult((call.inputs["model"],))


async def _load_text_encoder(call: NodeCall) -> NodeResult:
    return NodeResult((ModelValue("clip", call.inputs["clip_name"]),))


async def _load_vae(call: NodeCall) -> NodeResult:
    return NodeResult((ModelValue("vae", call.inputs["vae_name"]),))


async def _empty_latent(call: NodeCall) -> NodeResult:
    width, height = call.inputs["width"], call.inputs["height"]
    return NodeResult((LatentValue(width // 16 * 16, height // 16 * 16, call.inputs["batch_size"]),))


def demo_nodes() -> tuple[NodeClass, ...]:
    """The classes, for `SimulatorOptions.extra_nodes`; their models are MODELS."""
    return (
        NodeClass(
            NodeDefinition(
                name="UNETLoader",
                display_name="Load Diffusion Model",
                category="model/loaders",
                required={
                    "unet_name": [list(MODELS["diffusion_models"])],
                    "weight_dtype": [["default", "fp8_e4m3fn", "fp8_e4m3fn_fast", "fp8_e5m2"]],
                },
                output=("MODEL",),
            ),
            _load_diffusion_model,
        ),
        NodeClass(
            NodeDefinition(
                name="CLIPLoader",
                display_name="Load CLIP",
                category="model/loaders",
                required={"clip_name": [list(MODELS["text_encoders"])], "type": [["stable_diffusion", "lumina2"]]},
                optional={"device": [["default", "cpu"]]},
                output=("CLIP",),
            ),
            _load_text_encoder,
        ),
        NodeClass(
            NodeDefinition(
                name="VAELoader",
                display_name="Load VAE",
                category="model/loaders",
                required={"vae_name": [list(MODELS["vae"])]},
                output=("VAE",),
            ),
            _load_vae,
        ),
        NodeClass(
            NodeDefinition(
                name="ModelSamplingAuraFlow",
                category="model/patch",
                required={"model": ["MODEL"], "shift": ["FLOAT", {"default": 1.73, "min": 0.0, "max": 100.0}]},
                output=("MODEL",),
            ),
            _keep_model,
        ),
        NodeClass(
            NodeDefinition(
                name="EmptySD3LatentImage",
                category="latent",
                required={
                    "width": ["INT", {"default": 1024, "min": 16, "max": 16384, "step": 16}],
                    "height": ["INT", {"default": 1024, "min": 16, "max": 16384, "step": 16}],
                    "batch_size": ["INT", {"default": 1, "min": 1, "max": 4096}],
                },
                output=("LATENT",),
            ),
            _empty_latent,
        ),
    )
