"""How the gateway logs: one stream on stderr for structlog and the standard library alike, as text or as JSON lines,
with the context of the job and the runner and without secrets. What is logged is each room's own business.
"""

import logging
import sys
from typing import Literal, TextIO

import structlog
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web import RequestPayloadError
from structlog.typing import EventDict, Processor, WrappedLogger

from gateway.config import LogConfig
from gateway.redaction import redact

# Libraries whose `info` is about their own workings.
_QUIET_LOGGERS = ("aiosqlite", "alembic", "asyncio", "sqlalchemy")


class _StderrHandler(logging.StreamHandler[TextIO]):
    """Writes to whatever `sys.stderr` is at that moment, as tests and terminals may exchange it."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stderr


def _briefly(record: logging.LogRecord) -> bool:
    """What is no HTTP is not worth a traceback each time: whoever reaches the port could fill the disk with them."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, HttpProcessingError | RequestPayloadError):
        record.msg, record.args = "%s: %s", (record.getMessage(), type(error).__name__)
        record.exc_info, record.levelno, record.levelname = None, logging.INFO, "INFO"
    return record.levelno >= logging.getLogger().level


def configure_logging(config: LogConfig) -> None:
    """Send structlog's and the standard library's records to stderr. May be called again; the last call holds.

    Names bound with `structlog.contextvars.bound_contextvars(job=…, runner=…)` appear in every record within.
    """
    level = logging.getLevelNamesMapping()[config.level.upper()]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_shared_processors(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=False,
    )
    handler = _StderrHandler()
    handler.setFormatter(_formatter(_format_for_here(config.format)))
    root = logging.getLogger()
    for old in [each for each in root.handlers if isinstance(each, _StderrHandler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    logging.getLogger("aiohttp.server").addFilter(_briefly)  # twice is once
    for name in _QUIET_LOGGERS:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))


def _redact_event(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    # Names that begin with an underscore are structlog's own.
    return {name: item if name.startswith("_") else redact(item, name) for name, item in event.items()}


def _shared_processors() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        # As plain text: structlog's richer tracebacks print local variables, which hold headers.
        structlog.processors.format_exc_info,
        _redact_event,
    ]


def _formatter(style: Literal["console", "json"]) -> logging.Formatter:
    renderer: Processor
    if style == "json":
        renderer = structlog.processors.JSONRenderer(default=str)
    else:
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_shared_processors(),
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
    )


def _format_for_here(style: Literal["console", "json", "auto"]) -> Literal["console", "json"]:
    if style != "auto":
        return style
    return "console" if sys.stderr.isatty() else "json"
