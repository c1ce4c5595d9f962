"""Reading the configuration again while the gateway runs. What a change does to a runner is in `gateway.jobs.fleet`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from gateway.config import Config, ConfigError
from gateway.jobs.roster import Roster
from gateway.logging import configure_logging
from gateway.redaction import KNOWN, secrets_of
from gateway.tls import Certificates

AT_RUN_TIME = frozenset({"runners", "log", "tls"})  # sections that take effect without a restart

log = structlog.get_logger(__name__)


class Reloader:
    """Applies what changed in the configuration. A wrong one is refused as a whole, and the old one stays.

    Args:
        config: what the gateway runs with.
        read: reads the configuration; raises ConfigError.
        roster: carries out what changed among the runners.
        certificates: read again on every reload, since files are renewed under the same names; None: plain HTTP.
    """

    def __init__(
        self, config: Config, read: Callable[[], Config], roster: Roster, certificates: Certificates | None = None
    ) -> None:
        self._config = config
        self._read = read
        self._roster = roster
        self._certificates = certificates
        self._wanted = asyncio.Event()

    def want(self) -> None:
        """Asks for a reload: one more after the one under way, however often it is asked."""
        self._wanted.set()

    async def run(self) -> None:
        """Reloads whenever it is asked to, until cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            try:
                await self.reload()
            except Exception:  # what went wrong with one reload must not keep the next from being tried
                log.error("reload.failed", exc_info=True)

    async def reload(self) -> bool:
        """Reads and applies. Returns False where the configuration is wrong; its faults are in the log."""
        try:
            config = await asyncio.to_thread(self._read)
            if self._certificates is not None:
                await asyncio.to_thread(self._certificates.reload, config.tls)
        except ConfigError as error:
            for line in error.lines():
                log.error("reload.fault", fault=line)
            log.error("reload.refused", reason="the configuration is wrong; the old one stays")
            return False
        KNOWN.add(secrets_of(config))
        changed = {name for name in Config.model_fields if getattr(config, name) != getattr(self._config, name)}
        if "log" in changed:
            configure_logging(config.log)
        changes = await self._roster.apply(config.runners)
        waiting = changed - AT_RUN_TIME
        if (config.tls.certificate is None) != (self._config.tls.certificate is None):
            waiting.add("tls")  # from HTTP to HTTPS or back
        if waiting:
            log.warning("reload.needs_restart", sections=sorted(waiting))
        self._config = self._config.model_copy(update={name: getattr(config, name) for name in AT_RUN_TIME - waiting})
        log.info("reload.done", runners=[f"{change.kind.value} {change.name}" for change in changes])
        return True
