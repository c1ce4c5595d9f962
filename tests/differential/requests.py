"""One request, as a line of a table has it, and what of its answer is compared."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from differential.intended import NEW, OLD
from support.wording import normal
from yarl import URL

HEADERS = (  # those that matter
    "Accept-Ranges",
    "Allow",
    "Cache-Control",
    "Content-Disposition",
    "Content-Range",
    "Content-Security-Policy",
    "Content-Type",
    "Expires",
    "Location",
    "Pragma",
    "Vary",
    "X-Content-Type-Options",
)


@dataclass(frozen=True)
class Case:
    """One request. ``path`` is sent as it stands.

    ``body`` is sent as it is if it is bytes, else as JSON; ``form`` are the fields of an upload instead, a file as
    (name, bytes); ``versions`` are those of the runners that it is for.
    """

    method: str
    path: str
    body: Any = None
    form: dict[str, Any] | None = None
    headers: dict[str, str] = field(default_factory=dict)
    versions: tuple[str, ...] = (NEW, OLD)

    def __str__(self) -> str:
        return " ".join(filter(None, [self.method, self.path[:120], self._body_in_short(), *self.headers.values()]))

    def _body_in_short(self) -> str:
        if self.form is not None:
            told = {name: value[0] if isinstance(value, tuple) else value for name, value in self.form.items()}
            return json.dumps(told, ensure_ascii=False)[:90]
        if self.body is None:
            return ""
        return str(self.body[:30]) if isinstance(self.body, bytes) else json.dumps(self.body)[:60]


def get(path: str, versions: tuple[str, ...] = (NEW, OLD), **headers: str) -> Case:
    """A GET; headers by their names with underscores."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Case("GET", path, headers=named, versions=versions)


async def ask(http: aiohttp.ClientSession, base: str, case: Case, folder: str = "") -> dict[str, Any]:
    """What of the answer matters. Paths in the runner's ``folder`` are told alike."""
    url, headers = URL(base + case.path, encoded=True), dict(case.headers)
    data: Any = case.body
    if case.form is not None:
        data = _form(case.form)
    elif case.body is not None:
        data = case.body if isinstance(case.body, bytes) else json.dumps(case.body).encode()
        headers.setdefault("Content-Type", "application/json")
    unmade = () if case.form is not None else ("Content-Type",)  # nothing is added but what a form needs
    async with http.request(
        case.method, url, data=data, headers=headers, skip_auto_headers=unmade, allow_redirects=False
    ) as answer:
        raw = await answer.read()
        told: dict[str, Any] = {"status": answer.status, "reason": answer.reason}
        told["headers"] = {name: answer.headers[name] for name in HEADERS if name in answer.headers}
        is_json = answer.content_type == "application/json" and answer.status != 206 and raw
        return told | ({"json": normal(json.loads(raw), folder)} if is_json else {"body": _text_or_base64(raw)})


def client() -> aiohttp.ClientSession:
    """A session without cookies."""
    return aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())


def _form(fields: dict[str, Any]) -> aiohttp.FormData:
    form = aiohttp.FormData(quote_fields=False, default_to_multipart=True)
    for name, value in fields.items():
        if isinstance(value, tuple):
            form.add_field(name, value[1], filename=value[0], content_type="application/octet-stream")
        else:
            form.add_field(name, value)
    return form


def _text_or_base64(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return base64.b64encode(raw).decode()
