import io
from pathlib import Path

import pytest
from PIL import Image

from gateway.simulator.pictures import Pictures, flat_png, size_of, with_texts
from gateway.simulator.values import ImageValue


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


@pytest.mark.parametrize("size", [(1, 1), (9, 3), (640, 480)])
def test_flat_pictures_have_the_size_and_the_colour(size: tuple[int, int]) -> None:
    image = opened(flat_png(*size, (1, 2, 3)))
    assert image.size == size
    assert image.convert("RGB").getcolors() == [(size[0] * size[1], (1, 2, 3))]


def test_texts_are_read_back() -> None:
    image = opened(with_texts(flat_png(2, 2, (0, 0, 0)), {"prompt": "{}", "workflow": "é"}))
    assert image.text == {"prompt": "{}", "workflow": "é"}  # type: ignore[attr-defined]


@pytest.mark.parametrize("draw", [True, False])
async def test_every_picture_of_a_batch_is_its_own(draw: bool) -> None:
    pictures = Pictures("gpu-0", draw=draw, preview_size=0)
    batch = ImageValue(32, 32, batch=3, seed=5)
    assert len({await pictures.png(batch, index, {}) for index in range(3)}) == 3


async def test_big_pictures_are_drawn_too() -> None:
    data = await Pictures("gpu-0", draw=True, preview_size=0).png(ImageValue(300, 200, seed=1), 0, {})
    image = opened(data)
    assert image.size == (300, 200)
    assert len(image.getcolors(1000) or ()) > 2


def test_previews() -> None:
    assert Pictures("a", draw=True, preview_size=0).preview(1, 1) is None
    preview = Pictures("a", draw=True, preview_size=64).preview(1, 1)
    assert preview is not None
    assert (opened(preview).format, opened(preview).size) == ("JPEG", (64, 64))


def test_size_of_what_is_no_picture(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"no")
    with pytest.raises(OSError):
        size_of(path)
