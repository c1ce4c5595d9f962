"""The OpenAPI document as one page of HTML that needs nothing else: no script, nothing from another host."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

STYLE = """
:root { color-scheme: light dark; --line: #8885; --soft: #8881; --dim: light-dark(#555, #aaa);
        --link: light-dark(#1a56c4, #8ab4ff); }
body { font: 15px/1.55 system-ui, sans-serif; margin: 0; display: grid;
       grid-template-columns: minmax(15rem, 20rem) minmax(0, 1fr); }
nav { position: sticky; top: 0; height: 100vh; overflow: auto; box-sizing: border-box; padding: 1.5rem 1rem;
      border-right: 1px solid var(--line); font-size: .85rem; }
nav h2 { font-size: .8rem; text-transform: uppercase; letter-spacing: .06em; margin: 1.25rem 0 .25rem; }
nav a { display: flex; padding: .1rem 0; overflow-wrap: anywhere; }
nav .method { flex: none; }
main { padding: 1.5rem clamp(1rem, 4vw, 3rem) 6rem; max-width: 60rem; }
a { color: var(--link); text-decoration: none; } a:hover { text-decoration: underline; }
h1 { margin-top: 0; } h2 { margin-top: 3rem; text-transform: capitalize; }
article { border-top: 1px solid var(--line); padding: 1rem 0; scroll-margin-top: 1rem; }
h3 { font: 600 1rem/1.4 ui-monospace, monospace; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h4 { margin: 1rem 0 .25rem; font-size: .85rem; color: var(--dim); }
.method { display: inline-block; min-width: 4rem; }
.GET { color: light-dark(#0a6b34, #6fd69a); } .POST { color: light-dark(#1a56c4, #8ab4ff); }
.PUT, .PATCH { color: light-dark(#8a5a00, #f0c060); } .DELETE { color: light-dark(#b3261e, #ff9d94); }
code { font: .9em ui-monospace, monospace; background: var(--soft); padding: .05em .3em; border-radius: 4px; }
.dim { color: var(--dim); } p { margin: .25rem 0; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: .9rem; }
td { text-align: left; vertical-align: top; padding: .3rem .75rem .3rem 0; border-bottom: 1px solid var(--line); }
@media (max-width: 50rem) { body { display: block; } nav { position: static; height: auto; } }
"""
REFERENCE = "#/components/schemas/"
LIMITS = {
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minimum": "at least {}",
    "maximum": "at most {}",
    "exclusiveMinimum": "more than {}",
    "maxItems": "at most {} items",
    "default": "default {}",
}


def page(document: Mapping[str, Any], source: str) -> str:
    """The whole page. ``source``: the path of the document itself."""
    info = document["info"]
    title = f"{escape(info['title'])} {escape(info['version'])}"
    tags = [tag["name"] for tag in document["tags"]]
    operations = [
        (method.upper(), path, operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
    ]
    by_tag = {tag: [each for each in operations if tag in each[2]["tags"]] for tag in tags}
    schemas = document["components"]["schemas"]
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>{STYLE}</style></head><body>
<nav aria-label="Contents"><strong>{title}</strong>{"".join(map(_contents, by_tag.items()))}
<h2>Schemas</h2>{"".join(f'<a href="#{escape(name)}">{escape(name)}</a>' for name in sorted(schemas))}</nav>
<main><h1>{title}</h1><p>{escape(info["summary"])}</p>
<p>This page shows the gateway's own routes; all others are ComfyUI's. <a href="{escape(source)}">The OpenAPI
document</a> is for programs.</p>
{"".join(map(_section, by_tag.items()))}
<h2>Schemas</h2>{"".join(_schema(name, schemas[name]) for name in sorted(schemas))}</main></body></html>"""


def _contents(tagged: tuple[str, list[tuple[str, str, Any]]]) -> str:
    tag, operations = tagged
    links = (
        f'<a href="#{operation["operationId"]}"><span class="method {method}">{method}</span> {escape(path)}</a>'
        for method, path, operation in operations
    )
    return f"<h2>{escape(tag)}</h2>{''.join(links)}"


def _section(tagged: tuple[str, list[tuple[str, str, Any]]]) -> str:
    tag, operations = tagged
    return f"<h2>{escape(tag)}</h2>{''.join(_operation(*each) for each in operations)}"


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> str:
    scopes = [scope for needed in operation["security"] for scope in next(iter(needed.values()))]
    parts = [
        f"<h3><span class='method {method}'>{method}</span> {escape(path)}</h3>",
        f"<p><strong>{_text(operation['summary'])}</strong></p>",
        "".join(f"<p>{_text(part)}</p>" for part in operation.get("description", "").split("\n\n") if part),
        f"<p class='dim'>{_access(scopes)}</p>",
        _parameters(operation.get("parameters", [])),
        _body(operation.get("requestBody")),
        _answers(operation["responses"]),
    ]
    return f'<article id="{operation["operationId"]}">{"".join(parts)}</article>'


def _access(scopes: list[str]) -> str:
    return f"Where tokens are asked for: one with the scope <code>{scopes[0]}</code>." if scopes else "Needs no token."


def _parameters(parameters: list[Mapping[str, Any]]) -> str:
    rows = (
        (
            f"<code>{escape(each['name'])}</code>{'' if each['required'] else ' <span class=dim>optional</span>'}",
            escape(each["in"]),
            _type(each["schema"]),
            _text(each["description"]),
        )
        for each in parameters
    )
    return _table("Parameters", rows) if parameters else ""


def _body(body: Mapping[str, Any] | None) -> str:
    if body is None:
        return ""
    media, content = next(iter(body["content"].items()))
    return f"<h4>Body</h4><p><code>{escape(media)}</code>: {_type(content['schema'])}</p>"


def _answers(responses: Mapping[str, Any]) -> str:
    return _table(
        "Answers", ((status, _content(each), _text(each["description"])) for status, each in responses.items())
    )


def _content(response: Mapping[str, Any]) -> str:
    if "content" not in response:
        return "no body"
    media, content = next(iter(response["content"].items()))
    return _type(content["schema"]) if media == "application/json" else f"<code>{escape(media)}</code>"


def _schema(name: str, schema: Mapping[str, Any]) -> str:
    description = f"<p>{_text(schema['description'])}</p>" if "description" in schema else ""
    properties: Mapping[str, Any] = schema.get("properties", {})
    required = schema.get("required", [])
    rows = (
        (
            f"<code>{escape(key)}</code>{'' if key in required else ' <span class=dim>optional</span>'}",
            _type(value),
            _text(value.get("description", "")),
        )
        for key, value in properties.items()
    )
    table = _table("Fields", rows) if properties else f"<p>{_type(schema)}</p>"
    return f'<article id="{escape(name)}"><h3>{escape(name)}</h3>{description}{table}</article>'


def _table(title: str, rows: Iterable[tuple[str, ...]]) -> str:
    cells = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f'<h4>{title}</h4><div class="scroll"><table>{cells}</table></div>'


def _type(schema: Mapping[str, Any]) -> str:
    """A schema in a few words; named ones as links."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(REFERENCE)
        return f'<a href="#{escape(name)}">{escape(name)}</a>'
    limits = [text.format(escape(str(schema[key]))) for key, text in LIMITS.items() if schema.get(key) is not None]
    return ", ".join([_kind(schema), *limits])


def _kind(schema: Mapping[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(map(_type, schema["anyOf"]))
    if "const" in schema or "enum" in schema:
        values = schema.get("enum", [schema.get("const")])
        return " | ".join(f"<code>{escape(str(value))}</code>" for value in values)
    kind = schema.get("type")
    if kind == "array":
        return f"array of {_type(schema['items'])}" if "items" in schema else "array"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object of {_type(schema['additionalProperties'])}"
    return escape(str(kind or "any")) + (f" ({escape(schema['format'])})" if "format" in schema else "")


def _text(text: str) -> str:
    """Escaped; what stands between backticks is code."""
    return re.sub(r"(`+)(.+?)\1", r"<code>\2</code>", escape(text, quote=False))
