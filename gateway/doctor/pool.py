"""What the runners are together: where they differ although jobs may go to any of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gateway.comfyui import catalogue as catalogues
from gateway.comfyui import object_info
from gateway.doctor.findings import Finding, hint, named
from gateway.doctor.runners import Examined

MODEL_SUFFIXES = (".safetensors", ".sft", ".ckpt", ".pt", ".pt2", ".pth", ".bin", ".pkl", ".gguf", ".onnx")


def differences(examined: Sequence[Examined]) -> Iterator[Finding]:
    """Findings about the runners that answered, compared with each other."""
    runners = [each for each in examined if each.probe.ok]
    if len(runners) < 2:
        return
    yield from _versions(runners)
    yield from _definitions(runners)
    yield from _classes(runners)
    yield from _models(runners)


def _versions(runners: Sequence[Examined]) -> Iterator[Finding]:
    groups: dict[str, list[str]] = {}
    for runner in runners:
        groups.setdefault(runner.probe.comfyui_version or "unknown", []).append(runner.config.name)
    if len(groups) > 1:
        told = "; ".join(f"{version}: {named(names)}" for version, names in sorted(groups.items()))
        yield hint(
            f"the runners have different versions of ComfyUI ({told})",
            "the same prompt may look different, or be refused, depending on where it goes",
            "update them together, or keep the versions apart with tags",
        )


def _definitions(runners: Sequence[Examined]) -> Iterator[Finding]:
    by_groups: dict[tuple[tuple[str, ...], ...], list[str]] = {}
    for conflict in object_info.conflicts([(each.config.name, each.object_info) for each in runners]):
        by_groups.setdefault(conflict.groups, []).append(conflict.class_type)
    for groups, classes in by_groups.items():
        apart = " and ".join(named(group) for group in groups)
        yield hint(
            f"{len(classes)} node classes have other inputs or outputs on {apart}: {named(sorted(classes))}",
            "clients are told the first runner's definition; a prompt made by it may fail on the others",
            "install the same versions of the custom nodes that define them",
        )


def _classes(runners: Sequence[Examined]) -> Iterator[Finding]:
    everywhere = set.intersection(*(set(each.object_info) for each in runners))
    for runner in runners:
        others = set().union(*(each.object_info for each in runners if each is not runner))
        only = sorted(set(runner.object_info) - others)
        if only:
            yield hint(
                f"only it has {len(only)} node classes: {named(only)}",
                "prompts with them can run nowhere else, and wait while it is busy or down",
                f"install them on other runners too ({len(everywhere)} classes are everywhere)",
                runner.config.name,
            )


def _models(runners: Sequence[Examined]) -> Iterator[Finding]:
    models = {runner.config.name: _models_of(runner) for runner in runners}
    for name, own in models.items():
        only = sorted(own.difference(*(others for other, others in models.items() if other != name)))
        if only:
            yield hint(
                f"only it has {len(only)} model files: {named(only)}",
                "prompts with them can run nowhere else, and wait while it is busy or down",
                "put them on other runners too, or on storage that the runners share, if they are used much",
                name,
            )


def _models_of(runner: Examined) -> set[str]:
    """The values of its combo inputs that are names of model files."""
    return {
        option
        for node_class in catalogues.parse(runner.object_info).classes.values()
        for combo in node_class.combos.values()
        if combo.is_constraint
        for option in combo.options
        if isinstance(option, str) and option.lower().endswith(MODEL_SUFFIXES)
    }
