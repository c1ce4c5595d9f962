"""``/gateway/login`` and ``/gateway/logout``: where a browser exchanges a token for a session's cookie, so that a page,
its websocket and its pictures need no headers of their own.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from html import escape
from string import Template
from urllib.parse import parse_qs

import structlog
from aiohttp import hdrs, web

from gateway.access.addresses import client_address, is_secure
from gateway.access.callers import IDENTITY, Identity
from gateway.access.credentials import SESSION_COOKIE
from gateway.access.errors import NotAuthenticated, TooManyAttempts
from gateway.access.gate import GATE
from gateway.access.trail import audit
from gateway.api.authentication import LOGIN
from gateway.api.prefix import outward
from gateway.api.services import services

FORM_BYTES_MOST = 8 * 1024
FIELDS_MOST = 10
# A path of this site: browsers read backslashes as slashes, leave out control characters, and take // for a host.
_PATH = re.compile(r"/(?![/\\])[^\\\x00-\x20\x7f]*")

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; background: #17181b; color: #e6e6e6; margin: 0;
       display: grid; min-height: 100vh; place-items: center; }
main { width: min(24rem, calc(100vw - 3rem)); }
h1 { font-size: 1.25rem; margin: 0 0 .75rem; }
a { color: #8ab4ff; }
label { display: block; margin: 1rem 0 .25rem; }
input { box-sizing: border-box; width: 100%; font: inherit; padding: .5rem .6rem; color: inherit;
        background: #24262b; border: 1px solid #5b5f69; border-radius: 6px; }
button { font: inherit; margin-top: 1rem; padding: .5rem 1.25rem; border: 0; border-radius: 6px;
         background: #2f6fed; color: #fff; cursor: pointer; }
:focus-visible { outline: 3px solid #8ab4ff; outline-offset: 2px; }
code { white-space: nowrap; } .fault { color: #ff9d94; } .hint { color: #a9adb7; font-size: .9rem; }
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
HEADERS = {
    hdrs.CACHE_CONTROL: "no-store",
    hdrs.CONTENT_SECURITY_POLICY: (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
PAGE = Template(
    f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Log in</title><style>{STYLE}</style></head>
<body><main>$content</main></body></html>
"""
)
FORM = Template(
    """<h1>Log in to ComfyUI</h1>
$fault<form method="post" action="$action">
<label for="token">Token</label>
<input id="token" name="token" type="password" autocomplete="current-password" spellcheck="false" required autofocus>
<input type="hidden" name="next" value="$next">
<button>Log in</button></form>
<p class="hint">Whoever runs this gateway gives out tokens: <code>comfy-gateway tokens create</code></p>"""
)
LOGGED_IN = Template(
    """<h1>Logged in as $owner</h1>
<p class="hint">With the token “$token”.</p>
<p><a href="$home">Open ComfyUI</a></p>
<form method="post" action="$action"><button>Log out</button></form>"""
)
NOT_NEEDED = "<h1>No login is needed</h1><p>Whoever reaches this gateway may use it.</p>"

log = structlog.get_logger(__name__)


async def get_login(request: web.Request) -> web.Response:
    """The form; for who is logged in already, the way out."""
    if not services(request).config.access.wants_tokens:
        return _page(NOT_NEEDED)
    who = request[IDENTITY]
    if who.token is None:
        return _form(request, request.query.get("next", ""))
    names = {"owner": escape(who.owner), "token": escape(who.token.name)}
    paths = {"home": outward(request, "/"), "action": outward(request, "/gateway/logout")}
    return _page(LOGGED_IN.substitute(names | paths))


async def post_login(request: web.Request) -> web.Response:
    """A token becomes a cookie, and the browser goes where it wanted to; else the form again, with what was wrong."""
    gate = request.app[GATE]
    if not gate.config.wants_tokens:
        return _page(NOT_NEEDED)
    fields = await _fields(request)
    address = client_address(request)
    try:
        gate.attempts.check(address)
        token = await gate.authenticate(fields.get("token", "").strip())
    except NotAuthenticated as refused:
        gate.attempts.failed(address)
        log.warning("access.login_failed", address=address, reason=str(refused))
        return _form(request, fields.get("next", ""), str(refused), status=401)
    except TooManyAttempts as refused:
        fault = f"{refused}: try again in {refused.retry_seconds} s"
        return _form(request, fields.get("next", ""), fault, status=429, headers=dict(refused.headers))
    secret = await gate.logins.open(gate.tokens.digest_of(token))
    gate.tokens.used(token)
    request[IDENTITY] = Identity.of(token)
    audit(request, "login", token.id)
    answer = web.Response(status=303, headers={hdrs.LOCATION: _next(request, fields.get("next", "")), **HEADERS})
    answer.set_cookie(
        SESSION_COOKIE,
        secret,
        max_age=gate.logins.lifetime_ms // 1_000,
        path=outward(request, "/"),
        httponly=True,
        samesite="Lax",
        secure=is_secure(request),
    )
    return answer


async def post_logout(request: web.Request) -> web.Response:
    """Ends the browser's session, and its websockets."""
    gate, who = request.app[GATE], request[IDENTITY]
    if who.login is not None:
        await gate.logins.close(who.login)
        gate.close_dead_sockets()
        audit(request, "logout", who.token.id if who.token is not None else "")
    answer = web.Response(status=303, headers={hdrs.LOCATION: outward(request, LOGIN), **HEADERS})
    answer.del_cookie(SESSION_COOKIE, path=outward(request, "/"))
    return answer


async def get_logout(request: web.Request) -> web.Response:
    """A link must log nobody out: the page with the button."""
    return web.Response(status=303, headers={hdrs.LOCATION: outward(request, LOGIN), **HEADERS})


async def _fields(request: web.Request) -> dict[str, str]:
    """The form's fields. Raises HTTPException for what is no small form, or comes too slowly."""
    if request.content_type != "application/x-www-form-urlencoded":
        raise web.HTTPUnsupportedMediaType
    if request.content_length is None:
        raise web.HTTPLengthRequired
    if request.content_length > FORM_BYTES_MOST:
        raise web.HTTPRequestEntityTooLarge(FORM_BYTES_MOST, request.content_length)
    try:
        async with asyncio.timeout(services(request).config.server.body_seconds):
            body = await request.read()
        fields = parse_qs(body.decode(), max_num_fields=FIELDS_MOST)
    except TimeoutError:
        raise web.HTTPRequestTimeout from None
    except ValueError:
        raise web.HTTPBadRequest from None
    return {name: values[0] for name, values in fields.items()}


def _next(request: web.Request, wanted: str) -> str:
    """Where to go after the login: a path of this site, or the frontend."""
    return wanted if _PATH.fullmatch(wanted) else outward(request, "/")


def _form(
    request: web.Request, wanted: str, fault: str = "", *, status: int = 200, headers: dict[str, str] | None = None
) -> web.Response:
    content = FORM.substitute(
        fault=f'<p class="fault" role="alert">{escape(fault)}</p>' if fault else "",
        action=outward(request, LOGIN),
        next=escape(wanted) if _PATH.fullmatch(wanted) else "",
    )
    return _page(content, status=status, headers=headers)


def _page(content: str, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    text = PAGE.substitute(content=content)
    return web.Response(status=status, text=text, content_type="text/html", headers={**HEADERS, **(headers or {})})
