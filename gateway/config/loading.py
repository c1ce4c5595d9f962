"""`load_config` reads the configuration from YAML and the environment, and tells every fault at once."""

import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from gateway.config.access import AccessConfig
from gateway.config.model import DUPLICATE_RUNNER, Config
from gateway.config.section import Section
from gateway.config.sections import ServerConfig
from gateway.config.source import ConfigError, Fault, KeyPath, Source, format_path, nearest, read_source
from gateway.config.values import words_of


def load_config(path: str | Path, environ: Mapping[str, str] = os.environ, *, check_bind: bool = True) -> Config:
    """Read, substitute, override and validate a configuration file.

    `check_bind` applies the rule of `bind_fault`. Raises ConfigError with all faults at once.
    """
    source = read_source(Path(path), environ)
    config = _validated(source)
    if check_bind:
        _check_bind(source)
    if config is None or source.faults:
        raise ConfigError(str(path), source.faults)
    return config


def bind_fault(server: ServerConfig, access: AccessConfig) -> Fault | None:
    """Listening beyond loopback without access tokens is refused unless `access.allow_anonymous` permits it."""
    if access.wants_tokens or access.allow_anonymous or is_loopback(server.host):
        return None
    message = (
        "is reachable from other machines, and anyone there could use the gateway: "
        "set access.mode to tokens, listen on 127.0.0.1, or set access.allow_anonymous to true"
    )
    return Fault("server.host", message)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches `host`: localhost, 127.0.0.0/8 or ::1. Other names count as not."""
    if host.lower() == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def _validated(source: Source) -> Config | None:
    _note_duplicate_names(source)
    try:
        return Config.model_validate(source.data)
    except ValidationError as error:
        for details in error.errors(include_url=False, include_input=False, include_context=True):
            if details["type"] != DUPLICATE_RUNNER:
                path = tuple(part for part in details["loc"] if part != "[key]")
                source.add(path, _message(details, path))
    return None


def _note_duplicate_names(source: Source) -> None:
    """Looks at the raw data, so that duplicates are told together with the faults of single runners."""
    runners = source.data.get("runners")
    first: dict[str, int] = {}
    for index, runner in enumerate(runners if isinstance(runners, list) else []):
        name = runner.get("name") if isinstance(runner, dict) else None
        if not isinstance(name, str) or not name:
            continue
        if name in first:
            source.add(("runners", index, "name"), f"is also the name of runners[{first[name]}]")
        else:
            first[name] = index


def _check_bind(source: Source) -> None:
    """Looks at the raw data, so that the rule is told together with faults elsewhere."""
    server = source.data.get("server")
    host = server.get("host") if isinstance(server, dict) else None
    if not isinstance(host, str) or not host:
        return
    try:
        access = AccessConfig.model_validate(source.data.get("access", {}))
    except ValidationError:
        return  # told by the validation of the whole
    fault = bind_fault(ServerConfig(host=host), access)
    if fault:
        source.add(("server", "host"), fault.message)


def _message(details: ErrorDetails, path: KeyPath) -> str:
    match details["type"]:
        case "extra_forbidden":
            return _unknown_key(path)
        case "model_type" | "model_attributes_type" | "dict_type":
            return "must be a mapping of keys to values"
        case _:
            return words_of(details)


def _unknown_key(path: KeyPath) -> str:
    known = _keys_at(path[:-1])
    guess = nearest(str(path[-1]), known)
    if guess:
        return f"is not a known key; did you mean {format_path((*path[:-1], guess))}?"
    elsewhere = [f"{section}.{path[-1]}" for section in Config.model_fields if path[-1] in _keys_at((section,))]
    if elsewhere:
        return f"is not a known key here; did you mean {elsewhere[0]}?"
    return f"is not a known key; known here: {', '.join(known)}"


def _keys_at(path: KeyPath) -> list[str]:
    """The keys of the section at `path`, empty where there is no section."""
    model: Any = Config
    for part in path:
        if isinstance(part, str):
            fields = model.model_fields if _is_section(model) else {}
            model = fields[part].annotation if part in fields else None
        else:
            model = next(iter(get_args(model)), None)
    return list(model.model_fields) if _is_section(model) else []


def _is_section(model: object) -> TypeGuard[type[BaseModel]]:
    return isinstance(model, type) and issubclass(model, Section)
