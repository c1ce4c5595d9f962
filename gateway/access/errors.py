"""Why a request is refused, before any route has looked at it. The API that was called gives it its words."""

from __future__ import annotations

from collections.abc import Mapping

REALM = 'Bearer realm="comfy-gateway"'  # not Basic: browsers would ask for a password in a window of their own


class Refused(Exception):
    """Base of the refusals. ``kind`` is for programs, the message for people; neither holds a secret. ``headers`` go
    with the answer, whatever its form."""

    status = 403
    kind = "forbidden"

    @property
    def headers(self) -> Mapping[str, str]:
        """What the answer's headers have to say."""
        return {}


class Misdirected(Refused):
    """421: a host that the gateway does not answer to (RFC 9110, 7.4)."""

    status = 421
    kind = "misdirected_request"

    def __init__(self) -> None:
        super().__init__("The gateway does not answer to this host name; server.allowed_hosts has those that it does")


class NotAuthenticated(Refused):
    """401: no token, or one that is not taken. ``missing``: nothing was presented at all."""

    status = 401
    kind = "unauthorized"

    def __init__(self, message: str, *, missing: bool = False) -> None:
        super().__init__(message)
        self.missing = missing

    @property
    def headers(self) -> Mapping[str, str]:
        """How to authenticate (RFC 6750, 3)."""
        return {"WWW-Authenticate": REALM if self.missing else f'{REALM}, error="invalid_token"'}


class ScopeMissing(Refused):
    """403: the token lacks a scope."""

    def __init__(self, scope: str) -> None:
        super().__init__(f"This needs a token with the scope {scope!r}")
        self.scope = scope


class TooMany(Refused):
    """429: more than there may be, now."""

    status = 429
    kind = "too_many_requests"

    def __init__(self, message: str, retry_seconds: int) -> None:
        super().__init__(message)
        self.retry_seconds = retry_seconds

    @property
    def headers(self) -> Mapping[str, str]:
        """When to try again."""
        return {"Retry-After": str(self.retry_seconds)}


class TooManyAttempts(TooMany):
    """429: too many wrong tokens from one address."""

    kind = "too_many_attempts"

    def __init__(self, retry_seconds: int) -> None:
        super().__init__("Too many attempts from this address", retry_seconds)


class TooManyRequests(TooMany):
    """429: too many requests with a token, or from an address."""


class TooManySockets(TooMany):
    """429: an owner has as many websockets as it may."""

    kind = "too_many_sockets"

    def __init__(self, most: int, retry_seconds: int) -> None:
        super().__init__(f"{most} websockets are open already", retry_seconds)
