"""The sections of the YAML as pydantic models: which keys there are, their bounds and defaults."""

from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator

from gateway.config.edge import HostName, PathPrefix, TrustedNetwork
from gateway.config.section import Section
from gateway.config.values import (
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


class ServerConfig(Section):
    """Where the gateway listens. `max_upload_size` in bytes holds for every request body, as in ComfyUI;
    `shutdown_seconds` is how long open requests may take to finish after a stop signal, `idle_seconds` how long a
    connection may wait for a whole request, `slow_reader_seconds` how long a client may take nothing of what it is
    sent. `prefix` is the path under which everything is. Of `trusted_proxies`, and of nobody else, X-Forwarded-For,
    -Proto and -Host count. With `allowed_hosts`, requests for other host names are refused, IP addresses and localhost
    aside.
    """

    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    port: Annotated[Int, Field(ge=0, le=65_535)] = 8188
    max_upload_size: Annotated[Int, Field(ge=1, le=1 << 40)] = 104_857_600
    body_seconds: Seconds = 120.0
    idle_seconds: Seconds = 75.0
    slow_reader_seconds: Seconds = 120.0
    shutdown_seconds: Annotated[Number, Field(ge=0, le=3_600)] = 10.0
    prefix: PathPrefix = ""
    trusted_proxies: tuple[TrustedNetwork, ...] = ()
    allowed_hosts: tuple[HostName, ...] = ()


class RunnerConfig(Section):
    """One ComfyUI server. `headers` go with every request to this runner and to no other; `prefetch` is how many
    prompts it may hold beyond the one it runs; `weight` is how fast it is, where that is not to be learned. `disabled`
    and `drain` ones get no new work; a job that runs on the first goes on, on the second it is moved after a while.
    With `reserved_for` it takes only jobs of these owners, or with one of these tags.
    """

    name: RunnerName
    endpoint: Endpoint
    tags: tuple[Tag, ...] = ()
    headers: dict[HeaderName, HeaderValue] = Field(default_factory=dict)
    prefetch: Annotated[Int, Field(ge=0, le=64)] = 1
    status: Literal["active", "disabled", "drain"] = "active"
    weight: Annotated[Number, Field(gt=0, le=1_000)] = 1.0
    reserved_for: tuple[Tag, ...] = ()

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


class DatabaseConfig(Section):
    """Where jobs are kept: a SQLAlchemy URL, or None for SQLite in `data_dir`. `synchronous` is SQLite's: `full`
    survives a power cut, `normal` only a crash of the process.
    """

    url: SecretUrl | None = None
    synchronous: Literal["full", "normal"] = "full"


class BlobsConfig(Section):
    """Where file contents are kept: an object store's URL, or None for a folder in `data_dir`."""

    url: SecretUrl | None = None


class ArchiveConfig(Section):
    """Copies of outputs in the blob store, so that they outlive their runner; the oldest go first."""

    enabled: bool = True
    max_age_days: Annotated[Number, Field(gt=0, le=36_500)] = 30.0
    max_bytes: Annotated[Int, Field(ge=0)] = 53_687_091_200


class UserDataConfig(Section):
    """Settings and workflows, which the gateway keeps in `data_dir`: of one user, or of several that the frontend asks
    for at its start. That keeps users' things apart, and is no protection: anyone may say to be anyone. With tokens the
    owner is the user, and nothing is asked.
    """

    multi_user: bool = False


class HealthConfig(Section):
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


class DispatchConfig(Section):
    """How prompts are given to runners: `post_timeout_seconds` bounds the wait for the answer to one prompt."""

    post_timeout_seconds: Seconds = 60.0


class FailoverConfig(Section):
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


class SessionsConfig(Section):
    """How clients are told of jobs that run in parallel (`gateway.sessions.modes`), and the bounds of one client's
    websocket: frames and bytes waiting for a slow client, seconds between pings, and how often at most it is told the
    length of the queue.
    """

    mode: Literal["auto", "raw", "focus", "serial"] = "auto"
    queue_frames: Annotated[Int, Field(ge=16, le=1_000_000)] = 2_048
    queue_bytes: Annotated[Int, Field(ge=65_536, le=1 << 34)] = 67_108_864
    heartbeat_seconds: Seconds = 25.0
    status_per_second: Annotated[Number, Field(gt=0, le=1_000)] = 5.0


class QueueConfig(Section):
    """Bounds of the queue: beyond `max_pending` jobs that have not ended, or `max_pending_per_client` of one client,
    new prompts are refused."""

    max_pending: Annotated[Int, Field(ge=1, le=10_000_000)] = 10_000
    max_pending_per_client: Annotated[Int, Field(ge=1, le=10_000_000)] | None = None


class WorkflowsConfig(Section):
    """Workflows and templates of `/v1`: for how long the URLs of a workflow's outputs are good, and how many templates
    an owner may have.
    """

    url_seconds: Annotated[Number, Field(gt=0, le=604_800)] = 3_600.0
    max_templates: Annotated[Int, Field(ge=1, le=10_000_000)] | None = 1_000


class FrontendConfig(Section):
    """Where the web frontend comes from: the installed package, a runner, or nowhere. `root` is a folder with the
    frontend's files instead of the installed package's, as ComfyUI's `--front-end-root`.
    """

    source: Literal["package", "runner", "none"] = "package"
    root: Folder | None = None


class PassthroughConfig(Section):
    """What is handed on to a runner as it comes: the routes of custom nodes. Those of ComfyUI-Manager that change
    something act on one runner only, and are refused unless `allow_manager` permits them.
    """

    allow_manager: bool = False


class LogConfig(Section):
    """What is logged, and how: `auto` is `console` on a terminal and `json` elsewhere."""

    level: Literal["debug", "info", "warning", "error", "critical"] = "info"
    format: Literal["console", "json", "auto"] = "auto"
