"""A mask's transparency in a picture, as /upload/mask makes it."""

import io

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from gateway.files.masks import masked
from gateway.files.pictures import PictureError


def encoded(image, name="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, name, **options)
    return buffer.getvalue()


def picture(**text):
    info = PngInfo()
    for name, value in text.items():
        info.add_text(name, value)
    return encoded(Image.new("RGB", (4, 2), (9, 8, 7)), pnginfo=info)


MASK = encoded(Image.new("RGBA", (4, 2), (1, 1, 1, 77)))


def test_colours_of_the_one_and_transparency_of_the_other():
    made = Image.open(io.BytesIO(masked(picture(), MASK, "m.png")))
    assert (made.format, made.mode, made.getpixel((3, 1))) == ("PNG", "RGBA", (9, 8, 7, 77))


def test_text_stays():
    made = Image.open(io.BytesIO(masked(picture(workflow='{"ü": 1}', prompt="{}"), MASK, "m.png")))
    assert made.text == {"workflow": '{"ü": 1}', "prompt": "{}"}


def test_a_mask_without_transparency_covers_all():
    made = Image.open(io.BytesIO(masked(picture(), picture(), "m.png")))
    assert made.getpixel((0, 0)) == (9, 8, 7, 255)


def test_the_ending_tells_the_format():
    assert Image.open(io.BytesIO(masked(picture(), MASK, "sub/M.WEBP"))).format == "WEBP"
    original = encoded(Image.new("RGB", (4, 2)), "JPEG")
    assert Image.open(io.BytesIO(masked(original, MASK, "m.png"))).format == "PNG"


@pytest.mark.parametrize(
    ("original", "mask", "filename"),
    [
        (picture(), b"no picture", "m.png"),
        (b"no picture", MASK, "m.png"),
        (picture(), encoded(Image.new("RGBA", (2, 4))), "m.png"),
        (picture(), MASK, "m.jpg"),
        (picture(), MASK, "m"),
        (picture(), MASK, "m.unknown"),
    ],
)
def test_what_cannot_be(original, mask, filename):
    with pytest.raises(PictureError):
        masked(original, mask, filename)
