import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.jobs.deflate import Part, stream


@given(st.lists(st.binary(max_size=200), max_size=20), st.data())
def test_any_parts_in_any_order_are_one_stream(texts, data):
    made = [(text, Part.of(text)) for text in texts]
    chosen = data.draw(st.permutations(made))
    packed = b"".join(stream(part for _, part in chosen))
    assert zlib.decompress(packed) == b"".join(text for text, _ in chosen)


def test_a_part_may_be_there_twice():
    part = Part.of(b"a graph, and the same graph again " * 50)
    assert zlib.decompress(b"".join(stream([part, part]))) == b"a graph, and the same graph again " * 100


def test_the_sum_holds_for_a_hundred_megabytes():
    text = b"\xff" * 1_000_000
    unpack, size = zlib.decompressobj(), 0
    for piece in stream([Part.of(text)] * 100):
        size += len(unpack.decompress(piece))
    assert unpack.eof and size == 100_000_000


def test_another_sum_is_noticed():
    pieces = stream([Part.of(b"text")])
    with pytest.raises(zlib.error):
        zlib.decompress(b"".join(pieces[:-1]) + bytes(4))
