"""What a request presents: where a token may stand in it. Whether it is taken is decided in ``gate``.

Order of what counts, the first that has a token's form: ``Authorization``, as bearer or as the password of basic
authentication (the user, where there is no password); ``X-API-Key``; ``token`` in the query of a websocket. Then the
session's cookie. Credentials of another form are somebody else's, a proxy's perhaps, and matter only where there is
nothing else.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote_plus

from aiohttp import hdrs, web

from gateway.access import secrets

API_KEY_HEADER = "X-API-Key"
TOKEN_QUERY = "token"  # of a websocket, as Comfy Cloud's clients send it
SESSION_COOKIE = "comfy_gateway_session"
_HAD_TOKEN = web.RequestKey("had_token", bool)


@dataclass(frozen=True, slots=True)
class Presented:
    """``token`` has a token's form, ``session`` is the cookie; ``foreign``: there was something else."""

    token: str | None
    session: str | None
    foreign: bool


def presented(request: web.Request) -> Presented:
    """What the request presents."""
    given = list(_given(request))
    token = next((each for each in given if secrets.is_token(each)), None)
    return Presented(token, request.cookies.get(SESSION_COOKIE) or None, bool(given))


def is_upgrade(request: web.Request) -> bool:
    """Whether the client wants a websocket."""
    return request.headers.get(hdrs.UPGRADE, "").lower() == "websocket"


def without_token(request: web.Request) -> web.Request:
    """The request without the token in its query, as everything after authentication sees it."""
    text = request.query.get(TOKEN_QUERY)
    if text is None or not secrets.is_token(text):
        return request
    kept = [(name, value) for name, value in request.query.items() if not secrets.is_token(value)]
    request[_HAD_TOKEN] = True
    return request.clone(rel_url=request.rel_url.with_query(kept))


def follows_owner(request: web.Request) -> bool:
    """Whether a websocket was asked for with a token in its query: Comfy Cloud's way, where a socket is the user's."""
    return TOKEN_QUERY in request.query or request.get(_HAD_TOKEN, False)


def path_without_tokens(path: str) -> str:
    """A percent-encoded path with its query, as a runner may see it: what has a token's form is not for it. All else
    stays as it was sent."""
    bare, mark, query = path.partition("?")
    if not secrets.ANY_SECRET.search(unquote_plus(query)):
        return path
    kept = [part for part in query.split("&") if not secrets.ANY_SECRET.search(unquote_plus(part))]
    return f"{bare}{mark}{'&'.join(kept)}" if kept else bare


def _given(request: web.Request) -> Iterator[str]:
    for value in request.headers.getall(hdrs.AUTHORIZATION, ()):
        scheme, _, rest = value.strip().partition(" ")
        if scheme.lower() == "bearer":
            yield rest.strip()
        elif scheme.lower() == "basic":
            yield _of_basic(rest.strip())
        else:
            yield value
    yield from (value.strip() for value in request.headers.getall(API_KEY_HEADER, ()))
    if is_upgrade(request):
        yield from request.query.getall(TOKEN_QUERY, ())


def _of_basic(encoded: str) -> str:
    """The password, or the user where there is none; "" for what is not basic authentication (RFC 7617)."""
    try:
        user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return ""
    return password or user
