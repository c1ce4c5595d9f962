"""The configuration: sections of keys, the whole of them, and how they are read from YAML and the environment."""

from gateway.config.access import AccessConfig
from gateway.config.edge import AddressesConfig, BrowsersConfig, EndpointsConfig, TlsConfig
from gateway.config.limits import LimitsConfig
from gateway.config.loading import bind_fault, is_loopback, load_config
from gateway.config.model import Config
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
from gateway.config.source import ConfigError, Fault
from gateway.config.tags import TagsConfig
from gateway.config.v1 import V1Config
from gateway.config.webhooks import WebhooksConfig

__all__ = [
    "AccessConfig",
    "AddressesConfig",
    "ArchiveConfig",
    "BlobsConfig",
    "BrowsersConfig",
    "Config",
    "ConfigError",
    "DatabaseConfig",
    "DispatchConfig",
    "EndpointsConfig",
    "FailoverConfig",
    "Fault",
    "FrontendConfig",
    "HealthConfig",
    "LimitsConfig",
    "LogConfig",
    "PassthroughConfig",
    "QueueConfig",
    "RunnerConfig",
    "ServerConfig",
    "SessionsConfig",
    "TagsConfig",
    "TlsConfig",
    "UserDataConfig",
    "V1Config",
    "WebhooksConfig",
    "WorkflowsConfig",
    "bind_fault",
    "is_loopback",
    "load_config",
]
