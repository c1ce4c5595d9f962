"""Text that is compressed in parts, each of them once and by itself, so that any of them, in any order, become one
stream without anything being compressed again (RFC 1950 and 1951; HTTP's coding ``deflate``).

A part ends with a whole byte and refers to nothing before it, and the sum at the end of a stream follows from those of
its parts. ``gzip`` ends with a sum of another kind, which does not follow from the parts' without much arithmetic.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass

LEVEL = 6
_HEAD = b"\x78\x9c"  # of a stream: deflate, a window of 32 kB, the usual level
_END = b"\x03\x00"  # an empty last block
_MODULUS = 65_521  # of Adler-32


@dataclass(frozen=True, slots=True)
class Part:
    """A part's bytes in the stream, the size of its text, and both halves of the text's Adler-32."""

    deflated: bytes
    size: int
    low: int
    high: int

    @classmethod
    def of(cls, text: bytes) -> Part:
        """Compresses the text."""
        packer = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
        adler = zlib.adler32(text)
        return cls(packer.compress(text) + packer.flush(zlib.Z_FULL_FLUSH), len(text), adler & 0xFFFF, adler >> 16)


def stream(parts: Iterable[Part]) -> list[bytes]:
    """What the parts' texts are as one compressed stream, in pieces."""
    pieces, low, high = [_HEAD], 1, 0
    for part in parts:
        pieces.append(part.deflated)
        high += part.high + part.size * (low - 1)
        low += part.low - 1
    pieces += (_END, ((high % _MODULUS) << 16 | low % _MODULUS).to_bytes(4, "big"))
    return pieces
