"""How `/object_info` writes a node class: its inputs, and combo inputs in both encodings.

A definition is `{"input": {"required": {name: spec}, "optional": {…}}, "output": […], "output_node": bool, …}`, a spec
`[type]` or `[type, options]`.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

INPUT_SECTIONS: Final = ("required", "optional")

_DYNAMIC_TYPE_PREFIX: Final = "COMFY_"  # COMFY_AUTOGROW_V3, COMFY_DYNAMICCOMBO_V3…


def input_specs(definition: Mapping[str, Any]) -> Iterator[tuple[str, str, list[Any]]]:
    """Every well-formed input of a class's definition as (section, name, [type, options])."""
    sections = definition.get("input")
    for section in INPUT_SECTIONS:
        specs = sections.get(section) if isinstance(sections, Mapping) else None
        for name, spec in specs.items() if isinstance(specs, Mapping) else ():
            if isinstance(spec, list) and spec:
                yield section, name, spec


def combo_options(spec: list[Any]) -> list[Any] | None:
    """The list of a combo input in either encoding, `[[…], {…}]` or `["COMBO", {"options": […]}]`; None for others."""
    if isinstance(spec[0], list):
        return spec[0]
    options = spec_options(spec).get("options") if spec[0] == "COMBO" else None
    return options if isinstance(options, list) else None


def spec_options(spec: list[Any]) -> Mapping[str, Any]:
    """The object beside an input's type; {} if there is none."""
    return spec[1] if len(spec) > 1 and isinstance(spec[1], Mapping) else {}


def upload_flag(spec: list[Any]) -> str | None:
    """The flag that lets clients upload into a combo (`image_upload`, `audio_upload`, `upload`…), or None."""
    return next((key for key, value in spec_options(spec).items() if key.endswith("upload") and value), None)


def is_dynamic(spec: list[Any]) -> bool:
    """Whether the input stands for others: a prompt then has names that the definition doesn't list."""
    return isinstance(spec[0], str) and spec[0].startswith(_DYNAMIC_TYPE_PREFIX)
