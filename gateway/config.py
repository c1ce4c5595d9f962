"""The whole configuration as pydantic models, and `load_config`, which reads it from YAML and the environment.

How the file is read (lines, substitution, overrides) is in `gateway.config_source`, the rules of single values are in
`gateway.config_values`.
"""

import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeGuard, get_args

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from gateway.config_source import ConfigError, Fault, KeyPath, Source, format_path, nearest, read_source
from gateway.config_values import (
    Endpoint,
    Folder,
    HeaderName,
    HeaderValue,
    Int,
    Number,
    RunnerName,
    Seconds,
    SecretUrl,
    Tag,
    value_fault,
)

__all__ = [
    "AccessConfig",
    "BlobsConfig",
    "Config",
    "ConfigError",
    "DatabaseConfig",
    "DispatchConfig",
    "FailoverConfig",
    "Fault",
    "FrontendConfig",
    "HealthConfig",
    "LogConfig",
    "PassthroughConfig",
    "QueueConfig",
    "RunnerConfig",
    "ServerConfig",
    "SessionsConfig",
    "UserDataConfig",
    "bind_fault",
    "is_loopback",
    "load_config",
]

DATABASE_FILE = "gateway.db"
BLOBS_FOLDER = "blobs"
_DUPLICATE_RUNNER = "duplicate_runner"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=True)


class ServerConfig(_Section):
    """Where the gateway listens. `max_upload_size` in bytes holds for every request body, as in ComfyUI;
    `shutdown_seconds` is how long open requests may take to finish after a stop signal.
    """

    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    port: Annotated[Int, Field(ge=0, le=65_535)] = 8188
    max_upload_size: Annotated[Int, Field(ge=1, le=1 << 40)] = 104_857_600
    body_seconds: Seconds = 120.0
    shutdown_seconds: Annotated[Number, Field(ge=0, le=3_600)] = 10.0


class RunnerConfig(_Section):
    """One ComfyUI server. `headers` go with every request to this runner and to no other; `prefetch` is how many
    prompts it may hold beyond the one it runs; `weight` is its share where runners are otherwise equal. `disabled` and
    `drain` ones get no new work; a job that runs on the first goes on, on the second it is moved after a while.
    """

    name: RunnerName
    endpoint: Endpoint
    tags: tuple[Tag, ...] = ()
    headers: dict[HeaderName, HeaderValue] = Field(default_factory=dict)
    prefetch: Annotated[Int, Field(ge=0, le=64)] = 1
    status: Literal["active", "disabled", "drain"] = "active"
    weight: Annotated[Number, Field(gt=0, le=1_000)] = 1.0

    @field_validator("tags")
    @classmethod
    def _tags_once(cls, tags: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(tags))

    @field_validator("headers")
    @classmethod
    def _headers_once(cls, headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
        if len({name.lower() for name in headers}) != len(headers):
            raise value_fault("has a header twice; the case of its letters does not matter")
        return headers

    def plain_headers(self) -> dict[str, str]:
        """The headers with their secrets, for requests to this runner only."""
        return {name: value.get_secret_value() for name, value in self.headers.items()}


class AccessConfig(_Section):
    """Who may use the gateway. `allow_anonymous` permits listening beyond loopback without access tokens."""

    allow_anonymous: bool = False


class DatabaseConfig(_Section):
    """Where jobs are kept: a SQLAlchemy URL, or None for SQLite in `data_dir`. `synchronous` is SQLite's: `full`
    survives a power cut, `normal` only a crash of the process.
    """

    url: SecretUrl | None = None
    synchronous: Literal["full", "normal"] = "full"


class BlobsConfig(_Section):
    """Where file contents are kept: an object store's URL, or None for a folder in `data_dir`."""

    url: SecretUrl | None = None


class ArchiveConfig(_Section):
    """Copies of outputs in the blob store, so that they outlive their runner; the oldest go first."""

    enabled: bool = True
    max_age_days: Annotated[Number, Field(gt=0, le=36_500)] = 30.0
    max_bytes: Annotated[Int, Field(ge=0)] = 53_687_091_200


class UserDataConfig(_Section):
    """Settings and workflows, which the gateway keeps in `data_dir`: of one user, or of several that the frontend asks
    for at its start. That keeps users' things apart, and is no protection: anyone may say to be anyone.
    """

    multi_user: bool = False


class HealthConfig(_Section):
    """How runners are watched, all in seconds. A runner is lost once it was unreachable for `grace_seconds`;
    `timeout_seconds` bounds one probe and `connect_seconds` any connection to a runner; what a runner can run is read
    anew after `catalogue_seconds`. A runner that answers is stuck once it had work for `stuck_seconds` while its queue
    did not move and the job that runs told nothing.
    """

    interval_seconds: Seconds = 5.0
    timeout_seconds: Seconds = 5.0
    grace_seconds: Seconds = 15.0
    connect_seconds: Seconds = 5.0
    catalogue_seconds: Seconds = 300.0
    stuck_seconds: Seconds = 600.0


class DispatchConfig(_Section):
    """How prompts are given to runners: `post_timeout_seconds` bounds the wait for the answer to one prompt."""

    post_timeout_seconds: Seconds = 60.0


class FailoverConfig(_Section):
    """What happens to the job of a lost runner: it is retried up to `retries` times on others, and fails at once when
    `poison_after_runners` runners were lost while they ran it. A node's exception is an answer and not retried; with
    `retry_out_of_memory` one that says that the GPU's memory was too small is, on another runner. A runner that is
    drained or was taken out of the configuration keeps its running job for up to `drain_seconds`; then the job moves to
    another one.
    """

    retries: Annotated[Int, Field(ge=0, le=100)] = 2
    poison_after_runners: Annotated[Int, Field(ge=1, le=100)] = 2
    retry_out_of_memory: bool = False
    drain_seconds: Annotated[Number, Field(ge=0, le=86_400)] = 600.0


class SessionsConfig(_Section):
    """How clients are told of jobs that run in parallel (`gateway.sessions.modes`), and the bounds of one client's
    websocket: frames and bytes waiting for a slow client, seconds between pings, and how often at most it is told the
    length of the queue.
    """

    mode: Literal["auto", "raw", "focus", "serial"] = "auto"
    queue_frames: Annotated[Int, Field(ge=16, le=1_000_000)] = 2_048
    queue_bytes: Annotated[Int, Field(ge=65_536, le=1 << 34)] = 67_108_864
    heartbeat_seconds: Seconds = 25.0
    status_per_second: Annotated[Number, Field(gt=0, le=1_000)] = 5.0


class QueueConfig(_Section):
    """Bounds of the queue: beyond `max_pending` jobs that have not ended, or `max_pending_per_client` of one client,
    new prompts are refused."""

    max_pending: Annotated[Int, Field(ge=1, le=10_000_000)] = 10_000
    max_pending_per_client: Annotated[Int, Field(ge=1, le=10_000_000)] | None = None


class FrontendConfig(_Section):
    """Where the web frontend comes from: the installed package, a runner, or nowhere. `root` is a folder with the
    frontend's files instead of the installed package's, as ComfyUI's `--front-end-root`.
    """

    source: Literal["package", "runner", "none"] = "package"
    root: Folder | None = None


class PassthroughConfig(_Section):
    """What is handed on to a runner as it comes: the routes of custom nodes. Those of ComfyUI-Manager that change
    something act on one runner only, and are refused unless `allow_manager` permits them.
    """

    allow_manager: bool = False


class LogConfig(_Section):
    """What is logged, and how: `auto` is `console` on a terminal and `json` elsewhere."""

    level: Literal["debug", "info", "warning", "error", "critical"] = "info"
    format: Literal["console", "json", "auto"] = "auto"


class Config(_Section):
    """The whole configuration of a gateway. Every key but `runners` has a default."""

    server: ServerConfig = Field(default_factory=ServerConfig)
    data_dir: Folder = Path("data")
    runners: tuple[RunnerConfig, ...]
    access: AccessConfig = Field(default_factory=AccessConfig)
    database: DatabaseConfig = Field(default_factory=DatabaseConfig)
    blobs: BlobsConfig = Field(default_factory=BlobsConfig)
    archive: ArchiveConfig = Field(default_factory=ArchiveConfig)
    userdata: UserDataConfig = Field(default_factory=UserDataConfig)
    health: HealthConfig = Field(default_factory=HealthConfig)
    dispatch: DispatchConfig = Field(default_factory=DispatchConfig)
    failover: FailoverConfig = Field(default_factory=FailoverConfig)
    sessions: SessionsConfig = Field(default_factory=SessionsConfig)
    queue: QueueConfig = Field(default_factory=QueueConfig)
    frontend: FrontendConfig = Field(default_factory=FrontendConfig)
    passthrough: PassthroughConfig = Field(default_factory=PassthroughConfig)
    log: LogConfig = Field(default_factory=LogConfig)

    @field_validator("runners")
    @classmethod
    def _names_once(cls, runners: tuple[RunnerConfig, ...]) -> tuple[RunnerConfig, ...]:
        if len({runner.name for runner in runners}) != len(runners):
            raise PydanticCustomError(_DUPLICATE_RUNNER, "two runners have the same name")
        return runners

    @property
    def database_url(self) -> str:
        """The database's URL with its password: `database.url`, or SQLite in `data_dir`."""
        if self.database.url is not None:
            return self.database.url.get_secret_value()
        return f"sqlite+aiosqlite:///{self.data_dir.absolute() / DATABASE_FILE}"

    @property
    def blobs_url(self) -> str:
        """Where the blobs are: `blobs.url`, or the path of a folder in `data_dir`."""
        if self.blobs.url is not None:
            return self.blobs.url.get_secret_value()
        return str(self.data_dir.absolute() / BLOBS_FOLDER)


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
    if access.allow_anonymous or is_loopback(server.host):
        return None
    message = (
        "is reachable from other machines, and anyone there could use the gateway: "
        "listen on 127.0.0.1, or set access.allow_anonymous to true"
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
            if details["type"] != _DUPLICATE_RUNNER:
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
        case "missing":
            return "is required"
        case "extra_forbidden":
            return _unknown_key(path)
        case "model_type" | "model_attributes_type" | "dict_type":
            return "must be a mapping of keys to values"
        case "tuple_type" | "list_type":
            return "must be a list"
        case "string_type":
            return "must be a string"
        case "int_type" | "int_parsing" | "int_from_float":
            return "must be a whole number"
        case "float_type" | "float_parsing":
            return "must be a number"
        case "bool_type" | "bool_parsing":
            return "must be true or false"
        case _:
            return details["msg"].replace("Input should be", "must be", 1)


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
    return isinstance(model, type) and issubclass(model, _Section)
