import pytest

from gateway.comfyui import names
from gateway.workflows.inputs import file_name


@pytest.mark.parametrize(
    "key, filename, expected",
    [
        ("photo", "me.png", "photo.png"),
        ("photo", "My Holiday.JPEG", "photo.JPEG"),
        ("photo", "archive.tar.gz", "photo.gz"),
        ("photo", "no_ending", "photo"),
        ("photo", "", "photo"),
        ("photo", "x.", "photo"),
        ("photo", ".png", "photo"),
        ("input_image.png", "x.png", "input_image.png"),
        ("input_image.png", "x.webp", "input_image.png.webp"),
        ("photo", "../../etc/passwd", "photo"),
        ("photo", "a/b.png", "photo.png"),
        ("photo", "C:\\pictures\\b.png", "photo.png"),
        ("photo", "x.p/ng", "photo"),
        ("photo", "x.png\0.sh", "photo.sh"),
        ("photo", "x.öh", "photo"),
        ("photo", "x." + "a" * 11, "photo"),
        ("k" * 255, "x.png", "k" * 100 + ".png"),
    ],
)
def test_a_file_is_called_after_its_placeholder(key, filename, expected):
    assert file_name(key, filename) == expected
    assert names.is_safe_upload(expected, "workflows/1")
    assert names.is_safe_filename(expected)
