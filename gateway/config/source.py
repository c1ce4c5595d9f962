"""What stands between a configuration file and its models: YAML with line numbers, `${…}` substitution, environment
overrides, and faults. Which keys exist, and what their values may be, is `gateway.config`'s business.
"""

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

KeyPath = tuple[str | int, ...]
"""Where a value stands: `("runners", 1, "endpoint")`."""

OVERRIDE_PREFIX = "COMFY_GATEWAY__"
_SUBSTITUTION = re.compile(r"\$\$\{|\$\{([^}]*)\}|\$\{")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FILE_PREFIX = "file:"
# PyYAML's messages quote names taken from the file; a pasted secret can look like one.
_QUOTED_NAME = re.compile(r"(alias|anchor|tag|handle) (['\"]).*?\2")
_STANDARD_TAGS = {"tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a configuration. `path` names the key (`runners[1].endpoint`, empty for the file itself);
    `line` counts from 1. No value of the configuration is ever part of `message`.
    """

    path: str
    message: str
    line: int | None = None


class ConfigError(Exception):
    """A configuration that cannot be used, with every fault found; as text it is one line per fault."""

    def __init__(self, source: str, faults: Iterable[Fault]) -> None:
        self.source = source
        self.faults = sorted(faults, key=lambda fault: (fault.line is None, fault.line or 0))
        super().__init__("\n".join(self.lines()))

    def lines(self) -> list[str]:
        """The faults as `file:line: key: message`."""
        return [self._line(fault) for fault in self.faults]

    def _line(self, fault: Fault) -> str:
        place = self.source if fault.line is None else f"{self.source}:{fault.line}"
        line = ": ".join(part for part in (place, fault.path, fault.message) if part)
        return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in line)


def format_path(path: KeyPath) -> str:
    """`("runners", 1, "endpoint")` as `runners[1].endpoint`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that `word` is most likely a slip of, if any is close."""
    matches = difflib.get_close_matches(word.lower(), list(known), n=1, cutoff=0.6)
    return matches[0] if matches else None


@dataclass(slots=True)
class Source:
    """The plain data of a configuration, where each value came from, and the faults found on the way."""

    data: dict[str, Any] = field(default_factory=dict)
    lines: dict[KeyPath, int] = field(default_factory=dict)
    overrides: dict[KeyPath, str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def line_of(self, path: KeyPath) -> int | None:
        """The line of the key at `path`, or of the nearest key around it. None where the environment set the value."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.overrides:
                return None
            if path[:length] in self.lines:
                return self.lines[path[:length]]
        return None

    def add(self, path: KeyPath, message: str) -> None:
        """Note a fault at `path`; the first one at a path stays, since later ones follow from it."""
        name = format_path(path)
        if any(fault.path == name for fault in self.faults):
            return
        variable = next((self.overrides[path[:n]] for n in range(len(path), 0, -1) if path[:n] in self.overrides), None)
        if variable:
            message = f"{message} (set by {variable})"
        self.faults.append(Fault(name, message, self.line_of(path)))


def read_source(path: Path, environ: Mapping[str, str]) -> Source:
    """Read `path`, substitute `${NAME}` and `${file:…}` in its string values, then apply `COMFY_GATEWAY__…` overrides.

    Raises ConfigError where the file cannot be read or is not YAML; all other faults are kept in the result.
    """
    source = Source()
    try:
        node = yaml.compose(path.read_text(encoding="utf-8-sig"), Loader=yaml.SafeLoader)
        builder = _Builder(source, environ)
        data = {} if node is None else builder.build(node, ())
    except OSError as error:
        raise ConfigError(str(path), [Fault("", f"cannot be read: {error.strerror}")]) from None
    except UnicodeDecodeError:
        raise ConfigError(str(path), [Fault("", "is not UTF-8 text")]) from None
    except yaml.YAMLError as error:
        raise ConfigError(str(path), [_syntax_fault(error)]) from None
    except RecursionError:
        raise ConfigError(str(path), [Fault("", "is nested too deeply, or an alias contains itself")]) from None
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise ConfigError(str(path), [Fault("", "must be a mapping of keys to values", 1)])
    source.data = data
    _apply_overrides(source, environ)
    return source


def _syntax_fault(error: yaml.YAMLError) -> Fault:
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem is None:
        return Fault("", "is not YAML: it contains characters that YAML does not allow")
    problem = _QUOTED_NAME.sub(r"\1", error.problem)
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return Fault("", f"is not valid YAML: {problem}")
    return Fault("", f"is not valid YAML: {problem} (column {mark.column + 1})", mark.line + 1)


class _Builder:
    """Turns YAML nodes into plain data, noting lines and faults in a Source."""

    def __init__(self, source: Source, environ: Mapping[str, str]) -> None:
        self._source = source
        self._environ = environ
        self._constructor = yaml.SafeLoader("")

    def build(self, node: yaml.Node, path: KeyPath) -> object:
        self._source.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        if node.tag not in _STANDARD_TAGS:
            self._source.add(path, "carries a YAML tag that is not supported here")
            return None
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, (*path, index)) for index, item in enumerate(node.value)]
        assert isinstance(node, yaml.MappingNode)
        return self._mapping(node, path)

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        self._note_duplicates(node, path)
        self._constructor.flatten_mapping(node)
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag != "tag:yaml.org,2002:str":
                line = key_node.start_mark.line + 1
                self._source.faults.append(Fault(format_path(path), "has a key that is not a string; quote it", line))
                continue
            key_path = (*path, key_node.value)
            self._source.lines[key_path] = key_node.start_mark.line + 1
            result[key_node.value] = self.build(value_node, key_path)
        return result

    def _note_duplicates(self, node: yaml.MappingNode, path: KeyPath) -> None:
        first_lines: dict[str, int] = {}
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                continue
            line = key_node.start_mark.line + 1
            if key_node.value in first_lines:
                message = f"is given twice; the first is on line {first_lines[key_node.value]}"
                self._source.faults.append(Fault(format_path((*path, key_node.value)), message, line))
            else:
                first_lines[key_node.value] = line

    def _scalar(self, node: yaml.ScalarNode, path: KeyPath) -> object:
        try:
            value = self._constructor.construct_object(node)
        except (yaml.YAMLError, ValueError):
            self._source.add(path, "cannot be read as a YAML value")
            return None
        return self._substituted(value, path) if isinstance(value, str) else value

    def _substituted(self, text: str, path: KeyPath) -> str:
        def replacement(match: re.Match[str]) -> str:
            if match[0] == "$${":
                return "${"
            return self._resolved(match[1], path)

        return _SUBSTITUTION.sub(replacement, text)

    def _resolved(self, reference: str | None, path: KeyPath) -> str:
        if reference is not None and reference.startswith(_FILE_PREFIX):
            return self._file_content(reference.removeprefix(_FILE_PREFIX), path)
        if reference is None or not _VARIABLE.fullmatch(reference):
            self._source.add(path, "has a malformed ${…}: write ${NAME}, ${file:/path}, or $${ for a literal ${")
            return ""
        if reference not in self._environ:
            self._source.add(path, f"environment variable {reference} is not set")
            return ""
        return self._environ[reference]

    def _file_content(self, name: str, path: KeyPath) -> str:
        try:
            return Path(name).read_text(encoding="utf-8").rstrip("\r\n")
        except OSError as error:
            self._source.add(path, f"cannot read the file {name}: {error.strerror}")
        except ValueError:
            self._source.add(path, f"the file {name} is not UTF-8 text")
        return ""


def _apply_overrides(source: Source, environ: Mapping[str, str]) -> None:
    for variable in sorted(name for name in environ if name.upper().startswith(OVERRIDE_PREFIX)):
        parts = variable[len(OVERRIDE_PREFIX) :].split("__")
        if not all(parts):
            source.faults.append(Fault("", f"environment variable {variable} names no key"))
            continue
        _override(source, variable, parts, environ[variable])


def _override(source: Source, variable: str, parts: list[str], text: str) -> None:
    container: Any = source.data
    path: KeyPath = ()
    for part in parts[:-1]:
        key = _key_in(container, part)
        if key is None:
            break
        path = (*path, key)
        if isinstance(container, dict) and not isinstance(container.get(key), (dict, list)):
            container[key] = {}
            source.overrides[path] = variable
        container = container[key]
    key = _key_in(container, parts[-1])
    if key is None or len(path) != len(parts) - 1:
        source.faults.append(Fault(format_path(path), f"environment variable {variable} names no key of it"))
        return
    container[key] = _override_value(text)
    source.overrides[(*path, key)] = variable
    source.faults[:] = [fault for fault in source.faults if fault.path != format_path((*path, key))]


def _key_in(container: object, part: str) -> str | int | None:
    """The key of `container` that `part` of a variable's name means; the case of names does not matter."""
    if isinstance(container, list):
        return int(part) if part.isdecimal() and int(part) < len(container) else None
    if isinstance(container, dict):
        return next((key for key in container if key.lower() == part.lower()), part.lower())
    return None


def _override_value(text: str) -> object:
    """Lists and mappings are given as JSON; anything else is a plain string that the models convert."""
    if text.lstrip().startswith(("[", "{")):
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text
