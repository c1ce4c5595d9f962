"""``multipart/form-data`` bodies of ``/v1``: text fields and files, 50 MB a request. Large files lie in temporary files
until the route has read them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from aiohttp import web
from aiohttp.http import HttpProcessingError
from aiohttp.web_request import FileField
from blake3 import blake3

from gateway.api.v1.errors import ApiError, bad_request

UPLOAD_MOST_BYTES = 50_000_000  # of one request, files and all
ARRIVAL_SECONDS = 600.0  # for all of it: some 90 kB/s
CHUNK_BYTES = 256 * 1024
MULTIPART = "multipart/form-data"
# What aiohttp's parser raises: it asserts where it expects a boundary; LookupError and RuntimeError are for charsets
# and encodings that there are not.
MALFORMED = (ValueError, AssertionError, LookupError, RuntimeError, HttpProcessingError)


@dataclass(frozen=True, slots=True)
class Form:
    """The parts of a form by their names, each once: what came without a file name, and what came with one."""

    texts: dict[str, str] = field(default_factory=dict)
    files: dict[str, FileField] = field(default_factory=dict)

    @property
    def names(self) -> set[str]:
        """The names of all parts."""
        return {*self.texts, *self.files}

    async def content(self, name: str) -> bytes | None:
        """The bytes of a part that may be sent as a file or as text; None where there is none."""
        if name in self.files:
            return b"".join([chunk async for chunk in chunks(self.files[name])])
        return self.texts[name].encode() if name in self.texts else None

    async def digest(self) -> str:
        """The same for every sending of the same parts, whatever the boundary between them and their order."""
        hasher = blake3()
        for name, text in sorted(self.texts.items()):
            hasher.update(repr(("text", name, text)).encode())
        for name, file in sorted(self.files.items()):
            hasher.update(repr(("file", name, file.filename)).encode())
            of_file = blake3()
            async for chunk in chunks(file):
                of_file.update(chunk)
            hasher.update(of_file.digest())
        return hasher.hexdigest()

    def close(self) -> None:
        """Lets go of the temporary files."""
        for file in self.files.values():
            file.file.close()


async def chunks(file: FileField) -> AsyncIterator[bytes]:
    """A file from its start."""
    file.file.seek(0)
    while chunk := await asyncio.to_thread(file.file.read, CHUNK_BYTES):
        yield chunk


async def read_form(request: web.Request) -> Form:
    """Reads the whole body; no body at all is an empty form. The caller closes the form.

    Raises ApiError: 400 it is no form or has a part twice; 408 it does not come in time; 413 it is too large.
    """
    if not request.can_read_body:
        return Form()
    if request.content_type != MULTIPART:
        raise bad_request(f"the body must be {MULTIPART}")
    most = min(UPLOAD_MOST_BYTES, request.client_max_size or UPLOAD_MOST_BYTES)
    try:
        async with asyncio.timeout(ARRIVAL_SECONDS):
            parts = await request.clone(client_max_size=most).post()
    except TimeoutError:
        raise ApiError(408, f"the body did not arrive within {ARRIVAL_SECONDS:g} seconds") from None
    except web.HTTPRequestEntityTooLarge:
        raise ApiError(413, f"the request is larger than {most / 1_000_000:g} MB") from None
    except MALFORMED as error:
        raise bad_request("the body is no well-formed multipart/form-data") from error
    form = Form()
    for name, part in parts.items():
        if isinstance(part, FileField):
            form.files[name] = part
        else:
            form.texts[name] = part if isinstance(part, str) else _decoded(name, bytes(part))
    if len(form.names) != len(parts):
        form.close()
        raise bad_request("a field is in the form twice")
    return form


def _decoded(name: str, content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise bad_request(f"{name} is not UTF-8") from None
