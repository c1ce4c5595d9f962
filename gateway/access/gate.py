"""The gate: whether a request's credentials are taken, and whose they are; the first admin; and what has to be done
from time to time: noticing what others changed, closing the websockets of dead tokens, forgetting what is old.

    presented         found            answer
    token             live             its owner
    token             expired          NotAuthenticated
    token             unknown, dead    NotAuthenticated, after a look at what the command line may have added
    session           live             its token's owner
    session           over             NotAuthenticated, as if nothing was presented: the browser logs in again
    something else    -                NotAuthenticated
    nothing           -                NotAuthenticated, missing
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog
from aiohttp import web

from gateway.access.attempts import Attempts
from gateway.access.callers import ANONYMOUS, Identity
from gateway.access.credentials import presented
from gateway.access.errors import NotAuthenticated
from gateway.access.logins import Logins
from gateway.access.token import ALL_SCOPES, Token
from gateway.access.tokens import CONFIGURED_OWNER, Tokens
from gateway.access.trail import Trail
from gateway.clock import DAY_MS, HOUR_MS, Clock
from gateway.config import AccessConfig
from gateway.storage.database import Database
from gateway.storage.errors import StorageError
from gateway.tasks import kept

REFRESH_SECONDS = 1.0  # between two looks at what other processes have changed
GATHER_SECONDS = 0.02  # in which unknown tokens come together for one look at the database
SAVE_SECONDS = 60.0  # between two writings of when tokens were used
FORGET_SECONDS = 3_600.0

log = structlog.get_logger(__name__)


class Gate:
    """Who may come in. ``start`` has to be called before the first request."""

    def __init__(self, config: AccessConfig, db: Database, clock: Clock) -> None:
        self.config = config
        self.tokens = Tokens(db, clock, config.configured_secret)
        self.logins = Logins(db, clock, self.tokens.of_digest, round(config.login_hours * HOUR_MS))
        self.trail = Trail(db, clock)
        self.attempts = Attempts(config.login_attempts_per_minute)
        self._clock = clock
        self._sockets: dict[int, tuple[web.Request, Identity]] = {}  # by the id of the request
        self._next_look: asyncio.Task[None] | None = None
        self._looks: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None
        self.tokens.on_change = self._tokens_changed
        self.on_change: Callable[[], None] = lambda: None  # called when tokens, and so limits, have changed

    async def start(self) -> None:
        """Reads tokens and sessions, and begins to watch them. Raises StorageError."""
        await self.tokens.load()
        await self.logins.load()
        if not self.config.wants_tokens and any(token.is_live(self._clock.wall_ms()) for token in self.tokens.all()):
            log.warning("access.tokens_not_asked_for", hint="access.mode is anonymous: set it to tokens")
        self._task = asyncio.create_task(self._watch(), name="access")

    async def close(self) -> None:
        """Stops watching, and has written down what is not yet."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self.tokens.save_uses()

    async def first_admin(self) -> str | None:
        """Where tokens are asked for and nobody has an admin's: makes one, and returns its secret. Raises
        StorageError."""
        if not self.config.wants_tokens or self.tokens.has_admin:
            return None
        wanted = Token("", "first admin", CONFIGURED_OWNER, ALL_SCOPES, created_at=0)
        return (await self.tokens.create(wanted))[1]

    # --- a request

    async def identify(self, request: web.Request) -> Identity:
        """Who sent a request. Raises NotAuthenticated, StorageError."""
        if not self.config.wants_tokens:
            return ANONYMOUS
        found = presented(request)
        login = None
        if found.token is not None:
            token = await self.authenticate(found.token)
        elif found.session is not None and (known := self.logins.find(found.session)) is not None:
            login, token = known
        elif found.foreign:
            raise NotAuthenticated("This is not a token of this gateway")
        else:
            raise NotAuthenticated("A token is needed", missing=True)
        self.tokens.used(token)
        return Identity.of(token, login)

    async def authenticate(self, secret: str) -> Token:
        """The live token with this secret. Raises NotAuthenticated, StorageError."""
        token = self.tokens.find(secret)
        if token is None:
            await self._look_again()
            token = self.tokens.find(secret)
        if token is None or token.revoked:
            raise NotAuthenticated("This token is not known")
        if token.expired(self._clock.wall_ms()):
            raise NotAuthenticated("This token has expired")
        return token

    async def _look_again(self) -> None:
        """Returns after a look at the database that began after the call; all callers of the moment share one."""
        if self._next_look is None:
            self._next_look = kept(self._look(), self._looks, name="access look")
        await asyncio.shield(self._next_look)

    async def _look(self) -> None:
        await asyncio.sleep(GATHER_SECONDS)
        self._next_look = None
        await self.tokens.refresh()

    # --- what goes on

    @contextmanager
    def open_socket(self, request: web.Request, identity: Identity) -> Iterator[None]:
        """For as long as a websocket stands: it is closed when its token or its session dies."""
        self._sockets[id(request)] = request, identity
        try:
            yield
        finally:
            del self._sockets[id(request)]

    def _tokens_changed(self) -> None:
        self.close_dead_sockets()
        self.on_change()

    def close_dead_sockets(self) -> None:
        """Closes the websockets of those who would not get in any more."""
        for request, identity in list(self._sockets.values()):
            if not self._is_alive(identity) and request.transport is not None:
                log.info("access.socket_closed", owner=identity.owner)
                request.transport.close()

    def _is_alive(self, identity: Identity) -> bool:
        if identity.token is None:
            return True
        if identity.login is not None:
            return self.logins.token(identity.login) is not None
        return self.tokens.is_live(identity.token.id)

    async def _watch(self) -> None:
        saved = forgot = self._clock.monotonic() - FORGET_SECONDS
        while True:
            await self._refresh()
            self.close_dead_sockets()
            now = self._clock.monotonic()
            if now - saved >= SAVE_SECONDS:
                self.tokens.save_uses()
                saved = now
            if now - forgot >= FORGET_SECONDS:
                self._forget()
                forgot = now
            await asyncio.sleep(REFRESH_SECONDS)

    async def _refresh(self) -> None:
        try:
            await self.tokens.refresh()
        except StorageError as error:  # whoever is known stays known; the database tells of its own troubles
            log.warning("access.not_refreshed", reason=str(error))

    def _forget(self) -> None:
        self.logins.forget_ended()
        kept_ms = round(self.config.audit_days * DAY_MS)
        self.tokens.forget_dead(kept_ms)
        self.trail.forget(kept_ms)


GATE = web.AppKey("gate", Gate)
