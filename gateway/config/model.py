"""The whole configuration as one model, put together from its sections."""

from pathlib import Path

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from gateway.config.access import AccessConfig
from gateway.config.edge import BrowsersConfig, EndpointsConfig, TlsConfig
from gateway.config.limits import LimitsConfig
from gateway.config.scheduling import SchedulingConfig
from gateway.config.section import Section
from gateway.config.sections import (
    ArchiveConfig,
    BlobsConfig,
    DatabaseConfig,
    DispatchConfig,
    FailoverConfig,
    FrontendConfig,
    HealthConfig,
    LogConfig,
    PassthroughConfig,
    QueueConfig,
    RunnerConfig,
    ServerConfig,
    SessionsConfig,
    UserDataConfig,
    WorkflowsConfig,
)
from gateway.config.tags import TagsConfig
from gateway.config.v1 import V1Config
from gateway.config.values import Folder
from gateway.config.webhooks import WebhooksConfig

DATABASE_FILE = "gateway.db"
BLOBS_FOLDER = "blobs"
DUPLICATE_RUNNER = "duplicate_runner"


class Config(Section):
    """The whole configuration of a gateway. Every key but `runners` has a default."""

    server: ServerConfig = Field(default_factory=ServerConfig)
    tls: TlsConfig = Field(default_factory=TlsConfig)
    browsers: BrowsersConfig = Field(default_factory=BrowsersConfig)
    endpoints: EndpointsConfig = Field(default_factory=EndpointsConfig)
    data_dir: Folder = Path("data")
    runners: tuple[RunnerConfig, ...]
    access: AccessConfig = Field(default_factory=AccessConfig)
    database: DatabaseConfig = Field(default_factory=DatabaseConfig)
    blobs: BlobsConfig = Field(default_factory=BlobsConfig)
    archive: ArchiveConfig = Field(default_factory=ArchiveConfig)
    userdata: UserDataConfig = Field(default_factory=UserDataConfig)
    health: HealthConfig = Field(default_factory=HealthConfig)
    dispatch: DispatchConfig = Field(default_factory=DispatchConfig)
    scheduling: SchedulingConfig = Field(default_factory=SchedulingConfig)
    failover: FailoverConfig = Field(default_factory=FailoverConfig)
    sessions: SessionsConfig = Field(default_factory=SessionsConfig)
    queue: QueueConfig = Field(default_factory=QueueConfig)
    limits: LimitsConfig = Field(default_factory=LimitsConfig)
    workflows: WorkflowsConfig = Field(default_factory=WorkflowsConfig)
    frontend: FrontendConfig = Field(default_factory=FrontendConfig)
    passthrough: PassthroughConfig = Field(default_factory=PassthroughConfig)
    v1: V1Config = Field(default_factory=V1Config)
    webhooks: WebhooksConfig = Field(default_factory=WebhooksConfig)
    tags: TagsConfig = Field(default_factory=TagsConfig)
    log: LogConfig = Field(default_factory=LogConfig)

    @field_validator("runners")
    @classmethod
    def _names_once(cls, runners: tuple[RunnerConfig, ...]) -> tuple[RunnerConfig, ...]:
        if len({runner.name for runner in runners}) != len(runners):
            raise PydanticCustomError(DUPLICATE_RUNNER, "two runners have the same name")
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
