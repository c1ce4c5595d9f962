"""Large answers of many pieces: they go out as they are, without being put together in memory, and between some of them
others are served."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aiohttp import hdrs, web

from gateway.api import answers

TOGETHER_BYTES = 256 * 1024  # that are put together for one write


async def send(
    request: web.Request, pieces: Sequence[bytes | memoryview], headers: Mapping[str, str] | None = None
) -> web.StreamResponse:
    """JSON in pieces, or what is compressed of it. A small one is one piece."""
    size = sum(map(len, pieces))
    if size <= TOGETHER_BYTES:
        return answers.json_bytes(b"".join(pieces), headers=headers)
    told = {hdrs.CONTENT_TYPE: answers.JSON, hdrs.CONTENT_LENGTH: str(size), **(headers or {})}
    answer = web.StreamResponse(headers=told)
    await answer.prepare(request)
    if request.method == hdrs.METH_HEAD:
        return answer
    some: list[bytes | memoryview] = []
    size = 0
    for piece in pieces:
        some.append(piece)
        size += len(piece)
        if size >= TOGETHER_BYTES:
            await answer.write(b"".join(some))
            some, size = [], 0
    await answer.write(b"".join(some))
    await answer.write_eof()
    return answer
