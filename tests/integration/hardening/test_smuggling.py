"""Requests whose end, or whose parts, two servers could see differently: refused, and the connection with them.

What comes behind such a request on the same connection is never answered: a proxy in front could have counted it as
another client's.
"""

import re

import pytest
from support.raw import Connection

HEALTH = b"GET /gateway/health HTTP/1.1\r\nHost: gateway\r\n"
PROMPT = b"POST /prompt HTTP/1.1\r\nHost: gateway\r\n"
SMUGGLED = b"GET /gateway/ready HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n"
CHUNKED = PROMPT + b"Transfer-Encoding: chunked\r\n\r\n"

REFUSED = {
    # where the body ends
    "length and chunked": PROMPT + b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked and length": PROMPT + b"Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\n",
    "two lengths": PROMPT + b"Content-Length: 2\r\nContent-Length: 40\r\n\r\n{}",
    "the same length twice": PROMPT + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "a list of lengths": PROMPT + b"Content-Length: 2, 2\r\n\r\n{}",
    "a signed length": PROMPT + b"Content-Length: +2\r\n\r\n{}",
    "a negative length": PROMPT + b"Content-Length: -2\r\n\r\n{}",
    "a hexadecimal length": PROMPT + b"Content-Length: 0x2\r\n\r\n{}",
    "a length with an underscore": PROMPT + b"Content-Length: 1_0\r\n\r\n{}12345678",
    "no length in it": PROMPT + b"Content-Length: \r\n\r\n{}",
    "a length past 64 bits": PROMPT + b"Content-Length: 99999999999999999999\r\n\r\n{}",
    "two encodings": PROMPT + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "an unknown encoding": PROMPT + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked not last": PROMPT + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "a space before the colon": PROMPT + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "a chunk's size that is none": CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n",
    "a negative chunk": CHUNKED + b"-1\r\n{}\r\n0\r\n\r\n",
    "a chunk past 64 bits": CHUNKED + b"fffffffffffffffff\r\n{}\r\n0\r\n\r\n",
    "chunks with bare LF": CHUNKED + b"2\n{}\n0\n\n",
    "a length in the trailer": CHUNKED + b"2\r\n{}\r\n0\r\nContent-Length: 5\r\n\r\n",
    # where the headers end, and what they are
    "obsolete folding": HEALTH + b"X-A: 1\r\n folded\r\n\r\n",
    "folding in the first line": b"GET /gateway/health HTTP/1.1\r\n Host: gateway\r\n\r\n",
    "bare LF": b"GET /gateway/health HTTP/1.1\nHost: gateway\n\n",
    "bare CR in a value": HEALTH + b"X-A: a\rX-B: b\r\n\r\n",
    "NUL in a value": HEALTH + b"X-A: a\0b\r\n\r\n",
    "no colon": HEALTH + b"junk\r\n\r\n",
    "a space in a name": HEALTH + b"X A: 1\r\n\r\n",
    "two hosts": HEALTH + b"Host: elsewhere\r\n\r\n",
    "no host": b"GET /gateway/health HTTP/1.1\r\n\r\n",
    # the first line
    "a method that is none": b"G{T / HTTP/1.1\r\nHost: gateway\r\n\r\n",
    "HTTP/2 without asking": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/9.9": b"GET / HTTP/9.9\r\nHost: gateway\r\n\r\n",
    "a space in the path": b"GET /gateway /health HTTP/1.1\r\nHost: gateway\r\n\r\n",
    # sizes
    "a long path": b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\nHost: gateway\r\n\r\n",
    "a long header": HEALTH + b"X-A: " + b"a" * 9_000 + b"\r\n\r\n",
    "a header without end": HEALTH + b"X-A: " + b"a" * 100_000,
    "many headers": HEALTH + b"".join(b"X-%d: 1\r\n" % number for number in range(200)) + b"\r\n",
}


def statuses(answered: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3}) ", answered)]


@pytest.mark.parametrize("case", ["alone", "with another request behind it"])
async def test_what_is_refused(impatient, case):
    more = b"" if case == "alone" else SMUGGLED
    answered = {}
    for name, request in REFUSED.items():
        async with Connection.to(impatient.base) as connection:
            await connection.send(request + more)
            answered[name] = statuses(await connection.rest())
    assert answered == {name: [400] for name in REFUSED}


async def test_what_is_plain_is_answered_in_order(impatient):
    taken = {
        "two requests": (HEALTH + b"\r\n" + SMUGGLED, [200, 200]),
        "chunked": (CHUNKED + b"2\r\n{}\r\n0\r\n\r\n" + SMUGGLED, [400, 200]),  # 400: no prompt in it
        "chunks with extensions": (CHUNKED + b'2;a="b"\r\n{}\r\n0\r\n\r\n' + SMUGGLED, [400, 200]),
        "a length": (PROMPT + b"Content-Length: 2\r\n\r\n{}" + SMUGGLED, [400, 200]),
        "a body of a GET": (HEALTH + b"Content-Length: 5\r\n\r\nGET /" + SMUGGLED, [200, 200]),
        "an absolute target": (
            b"GET http://elsewhere/gateway/health HTTP/1.1\r\nHost: gateway\r\n\r\n" + SMUGGLED,
            [200, 200],
        ),
    }
    answered = {}
    for name, (request, _) in taken.items():
        async with Connection.to(impatient.base) as connection:
            await connection.send(request)
            answered[name] = statuses(await connection.rest())
    assert answered == {name: expected for name, (_, expected) in taken.items()}


async def test_a_refused_upgrade_is_no_tunnel(impatient):
    """What follows on the connection is a request, not bytes for a runner."""
    more = b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: junk\r\n\r\n"
    answered = {}
    for protocol, path in ((b"websocket", b"/ws"), (b"websocket", b"/tn/chat"), (b"h2c", b"/gateway/health")):
        async with Connection.to(impatient.base) as connection:
            head = (
                b"GET " + path + b" HTTP/1.1\r\nHost: gateway\r\nConnection: Upgrade\r\nUpgrade: " + protocol + b"\r\n"
            )
            await connection.send(head + more + SMUGGLED)
            answered[path] = statuses(await connection.rest())
    assert answered == {b"/ws": [400, 200], b"/tn/chat": [400, 200], b"/gateway/health": [200]}
