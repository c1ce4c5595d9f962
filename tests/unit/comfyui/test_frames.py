import contextlib
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.comfyui import frames
from gateway.comfyui.frames import FrameError, ProgressText

MIMES = st.sampled_from(["image/jpeg", "image/png"])
METADATA = st.dictionaries(st.text(max_size=9), st.text() | st.none() | st.integers(-(2**53), 2**53), max_size=5)
TEXT = st.text()


@given(st.binary(), MIMES)
def test_plain_previews_round_trip(image: bytes, mime: str) -> None:
    preview = frames.decode_preview(frames.preview_frame(image, mime))
    assert (preview.image, preview.mime, preview.metadata) == (image, mime, None)


@given(st.binary(), MIMES, METADATA)
def test_previews_with_metadata_round_trip(image: bytes, mime: str, metadata: dict[str, Any]) -> None:
    metadata = {**metadata, "image_type": mime}
    frame = frames.preview_frame_with_metadata(image, metadata)
    preview = frames.decode_preview(frame)
    assert (preview.image, preview.mime, preview.metadata) == (image, mime, metadata)
    assert frames.without_metadata(frame) == frames.preview_frame(image, mime)


@given(TEXT, TEXT, st.none() | TEXT)
def test_progress_texts_round_trip(node_id: str, text: str, prompt_id: str | None) -> None:
    progress = ProgressText(node_id, text, prompt_id)
    frame = frames.progress_text_frame(progress)
    assert frames.decode_progress_text(frame, has_prompt_id=prompt_id is not None) == progress


@given(st.binary(), st.integers(1, 5), st.booleans())
def test_arbitrary_bytes_raise_frame_errors_only(tail: bytes, event: int, has_prompt_id: bool) -> None:
    for frame in (tail, struct.pack(">I", event) + tail):
        for call in (
            lambda frame: frames.event_of(frame),
            lambda frame: frames.decode_preview(frame),
            lambda frame: frames.without_metadata(frame),
            lambda frame: frames.with_prompt_id(frame, "x"),
            lambda frame: frames.decode_progress_text(frame, has_prompt_id=has_prompt_id),
        ):
            with contextlib.suppress(FrameError):
                call(frame)
        frames.is_droppable_preview(frame)


def test_recorded_heads_are_understood(recording: dict[str, Any], frames_in: Any) -> None:
    heads = [bytes.fromhex(frame["head_hex"]) for frame in frames_in(recording) if "binary_len" in frame]
    assert {frames.event_of(head) for head in heads} == {1, 4}
    assert all(frames.is_droppable_preview(head) for head in heads if frames.event_of(head) == 1)


def test_a_recorded_metadata_frame_is_decoded(new: dict[str, Any], frames_in: Any) -> None:
    recorded = next(frame for frame in frames_in(new) if frame.get("head_hex", "").startswith("00000004"))
    frame = recorded["head_ascii"].encode("latin-1")
    preview = frames.decode_preview(frame)
    assert preview.mime == "image/jpeg"
    assert preview.image.startswith(b"\xff\xd8\xff")
    assert preview.metadata is not None
    assert list(preview.metadata) == [
        "node_id",
        "prompt_id",
        "display_node_id",
        "parent_node_id",
        "real_node_id",
        "image_type",
    ]
    assert frames.with_prompt_id(frame, preview.metadata["prompt_id"]) is frame
    told = frames.decode_preview(frames.with_prompt_id(frame, "other"))
    assert told.metadata == {**preview.metadata, "prompt_id": "other"}
    assert list(told.metadata) == list(preview.metadata)
    assert told.image == preview.image


def test_frames_without_metadata_pass_untouched() -> None:
    plain = frames.preview_frame(b"x", "image/png")
    text = frames.progress_text_frame(ProgressText("1", "hi", None))
    for frame in (plain, text):
        assert frames.without_metadata(frame) is frame
        assert frames.with_prompt_id(frame, "x") is frame


def test_only_jpeg_previews_may_be_dropped() -> None:
    assert frames.is_droppable_preview(frames.preview_frame(b"x", "image/jpeg"))
    assert frames.is_droppable_preview(frames.preview_frame_with_metadata(b"x", {"image_type": "image/jpeg"}))
    assert not frames.is_droppable_preview(frames.preview_frame(b"x", "image/png"))
    assert not frames.is_droppable_preview(frames.preview_frame_with_metadata(b"x", {"image_type": "image/png"}))
    assert not frames.is_droppable_preview(frames.progress_text_frame(ProgressText("1", "hi", None)))
    assert not frames.is_droppable_preview(b"")


def test_exact_layouts() -> None:
    assert frames.preview_frame(b"img", "image/png") == b"\0\0\0\1\0\0\0\2img"
    assert frames.progress_text_frame(ProgressText("12", "hi", None)) == b"\0\0\0\3\0\0\0\x0212hi"
    assert frames.progress_text_frame(ProgressText("12", "hi", "p")) == b"\0\0\0\3\0\0\0\1p\0\0\0\x0212hi"


@pytest.mark.parametrize("mime", ["image/webp", "", None, 3, ["image/png"]])
def test_other_image_types_are_refused(mime: Any) -> None:
    with pytest.raises(FrameError):
        frames.preview_frame(b"", mime)
    with pytest.raises(FrameError):
        frames.preview_frame_with_metadata(b"", {"image_type": mime})


def test_metadata_too_deep_to_write_is_a_frame_error() -> None:
    metadata = b'{"prompt_id":"a","x":' + b"[" * 900 + b"]" * 900 + b"}"
    frame = struct.pack(">II", 4, len(metadata)) + metadata
    with contextlib.suppress(FrameError):
        assert frames.event_of(frames.with_prompt_id(frame, "b")) == 4
