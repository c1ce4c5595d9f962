"""Binary websocket frames: decoding, building and rewriting. Text frames live in `messages`.

Layouts (all integers unsigned 32 bit, big-endian; ComfyUI protocol.py and server.py encode_bytes, send_image,
send_image_with_metadata, send_progress_text):

    1  PREVIEW_IMAGE                 event, format (1 JPEG, 2 PNG), image
    3  TEXT                          event, [prompt id length, prompt id,] node id length, node id, text
    4  PREVIEW_IMAGE_WITH_METADATA   event, metadata length, metadata (JSON), image
"""

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final, Literal, cast

from gateway.comfyui import json_text

PreviewMime = Literal["image/jpeg", "image/png"]

_UINT: Final = struct.Struct(">I")
_TWO_UINTS: Final = struct.Struct(">II")

_MIME_OF_FORMAT: Final[dict[int, PreviewMime]] = {1: "image/jpeg", 2: "image/png"}
_FORMAT_OF_MIME: Final[dict[str, int]] = {mime: number for number, mime in _MIME_OF_FORMAT.items()}


class FrameError(ValueError):
    """The bytes are not a frame of the kind that was asked for."""


class BinaryEvent(IntEnum):
    """Event numbers at the head of a binary frame."""

    PREVIEW_IMAGE = 1
    UNENCODED_PREVIEW_IMAGE = 2
    """Only inside a ComfyUI process; becomes PREVIEW_IMAGE on the wire."""
    TEXT = 3
    PREVIEW_IMAGE_WITH_METADATA = 4


@dataclass(frozen=True, slots=True)
class Preview:
    """An image on its way to a client. `metadata` is None for frames of type 1, which carry none."""

    image: bytes
    mime: PreviewMime
    metadata: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class ProgressText:
    """A line of text that a running node shows. `prompt_id` is None in the short form of the frame."""

    node_id: str
    text: str
    prompt_id: str | None


def event_of(frame: bytes) -> int:
    """The event number of `frame`; FrameError if it is shorter than 4 bytes."""
    return _uint_at(frame, 0)


def decode_preview(frame: bytes) -> Preview:
    """Decode a frame of type 1 or 4; FrameError for any other and for malformed ones."""
    event = event_of(frame)
    if event == BinaryEvent.PREVIEW_IMAGE:
        mime = _MIME_OF_FORMAT.get(_uint_at(frame, 4))
        if mime is None:
            raise FrameError("preview frame with an unknown image format")
        return Preview(frame[8:], mime, None)
    metadata, image_at = _metadata_of(frame)
    return Preview(frame[image_at:], _mime_of(metadata), metadata)


def preview_frame(image: bytes, mime: str) -> bytes:
    """A frame of type 1, for clients that did not negotiate `supports_preview_metadata`."""
    return _TWO_UINTS.pack(BinaryEvent.PREVIEW_IMAGE, _format_of(mime)) + image


def preview_frame_with_metadata(image: bytes, metadata: dict[str, Any]) -> bytes:
    """A frame of type 4; FrameError unless `metadata["image_type"]` is image/jpeg or image/png."""
    _mime_of(metadata)
    return _frame_with_metadata(image, metadata)


def without_metadata(frame: bytes) -> bytes:
    """A frame of type 4 as type 1; any other frame comes back as it is."""
    if event_of(frame) != BinaryEvent.PREVIEW_IMAGE_WITH_METADATA:
        return frame
    preview = decode_preview(frame)
    return preview_frame(preview.image, preview.mime)


def with_prompt_id(frame: bytes, prompt_id: str) -> bytes:
    """A frame of type 4 told as another job's; the same object if nothing changes or the frame carries no id."""
    if event_of(frame) != BinaryEvent.PREVIEW_IMAGE_WITH_METADATA:
        return frame
    metadata, image_at = _metadata_of(frame)
    if metadata.get("prompt_id") == prompt_id:
        return frame
    return _frame_with_metadata(frame[image_at:], {**metadata, "prompt_id": prompt_id})


def is_droppable_preview(frame: bytes) -> bool:
    """Whether a slow client may miss this frame: JPEG previews only.

    PNG frames are results (SaveImageWebsocket sends its images this way) and what can't be understood may be one.
    """
    try:
        event = event_of(frame)
        if event == BinaryEvent.PREVIEW_IMAGE:
            return _uint_at(frame, 4) == _FORMAT_OF_MIME["image/jpeg"]
        if event == BinaryEvent.PREVIEW_IMAGE_WITH_METADATA:
            return _metadata_of(frame)[0].get("image_type") == "image/jpeg"
    except FrameError:
        pass
    return False


def decode_progress_text(frame: bytes, *, has_prompt_id: bool) -> ProgressText:
    """Decode a frame of type 3; FrameError for any other and for malformed ones.

    `has_prompt_id` is whether the sender announced `supports_progress_text_metadata`: the frame itself doesn't tell.
    """
    if event_of(frame) != BinaryEvent.TEXT:
        raise FrameError("not a text frame")
    at = 4
    prompt_id: str | None = None
    if has_prompt_id:
        prompt_id, at = _text_at(frame, at)
    node_id, at = _text_at(frame, at)
    return ProgressText(node_id, _decoded(frame[at:]), prompt_id)


def progress_text_frame(progress: ProgressText) -> bytes:
    """A frame of type 3, in the long form if `progress` has a prompt id."""
    ids = [progress.node_id] if progress.prompt_id is None else [progress.prompt_id, progress.node_id]
    head = b"".join(_UINT.pack(len(data)) + data for data in (text.encode() for text in ids))
    return _UINT.pack(BinaryEvent.TEXT) + head + progress.text.encode()


def _uint_at(frame: bytes, at: int) -> int:
    if len(frame) < at + 4:
        raise FrameError("frame ends too early")
    return cast(int, _UINT.unpack_from(frame, at)[0])


def _text_at(frame: bytes, at: int) -> tuple[str, int]:
    start = at + 4
    end = start + _uint_at(frame, at)
    if len(frame) < end:
        raise FrameError("frame ends too early")
    return _decoded(frame[start:end]), end


def _decoded(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise FrameError("text that is not UTF-8") from error


def _metadata_of(frame: bytes) -> tuple[dict[str, Any], int]:
    """The metadata of a frame of type 4 and where its image begins."""
    if event_of(frame) != BinaryEvent.PREVIEW_IMAGE_WITH_METADATA:
        raise FrameError("not a preview frame")
    image_at = 8 + _uint_at(frame, 4)
    if len(frame) < image_at:
        raise FrameError("frame ends too early")
    try:
        metadata = json_text.loads(frame[8:image_at])
    except ValueError as error:
        raise FrameError("preview metadata is not JSON") from error
    if not isinstance(metadata, dict):
        raise FrameError("preview metadata is not an object")
    return metadata, image_at


def _frame_with_metadata(image: bytes, metadata: dict[str, Any]) -> bytes:
    try:
        encoded = json_text.dumps(metadata).encode()
    except (TypeError, ValueError) as error:
        raise FrameError("preview metadata can't be serialised") from error
    return _TWO_UINTS.pack(BinaryEvent.PREVIEW_IMAGE_WITH_METADATA, len(encoded)) + encoded + image


def _mime_of(metadata: dict[str, Any]) -> PreviewMime:
    mime = metadata.get("image_type")
    return _MIME_OF_FORMAT[_format_of(mime)]


def _format_of(mime: object) -> int:
    number = _FORMAT_OF_MIME.get(mime) if isinstance(mime, str) else None
    if number is None:
        raise FrameError(f"preview of the type {mime!r}, known are image/jpeg and image/png")
    return number
