"""What is made unreadable in logs and in what commands print, and what stays readable."""

import json
from urllib.parse import quote

import pytest

from gateway.config import Config
from gateway.redaction import KNOWN_MOST, REDACTED, KnownSecrets, redact, redact_text, secrets_of

ODD = 'sec/ret "1" ä'
TOKEN = "cgw_" + "a1B2" * 11


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"token": "x"}, {"token": REDACTED}),
        ({"Authorization": "x"}, {"Authorization": REDACTED}),
        ({"a": [{"api_key_comfy_org": "x"}]}, {"a": [{"api_key_comfy_org": REDACTED}]}),
        ({"headers": {"X-Any": "x"}}, {"headers": {"X-Any": REDACTED}}),
        ({"allow_auth": True, "token": None}, {"allow_auth": True, "token": None}),
        ({"runner": "gpu-0", "n": 5}, {"runner": "gpu-0", "n": 5}),
        ({TOKEN: 1}, {REDACTED: 1}),
        (ValueError(f"not {TOKEN}"), f"not {REDACTED}"),
        (TOKEN.encode(), REDACTED),
    ],
)
def test_values(value, expected):
    assert redact(value) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Authorization: Bearer abc.def", f"Authorization: {REDACTED}"),
        ("sent Bearer abc.def to it", f"sent Bearer {REDACTED} to it"),
        ("x-api-key: k1 k2\nnext", f"x-api-key: {REDACTED}\nnext"),
        ("{'Cookie': 'a=b; c=d'}", f"{{'Cookie': {REDACTED}"),
        ("at postgresql://me:pass@db/x", f"at postgresql://{REDACTED}@db/x"),
        ("GET /ws?clientId=a&token=abc&b=1", f"GET /ws?clientId=a&token={REDACTED}&b=1"),
        ("/x?api_key=abc", f"/x?api_key={REDACTED}"),
        ('{"api_key_comfy_org": "abc", "n": 1}', f'{{"api_key_comfy_org": "{REDACTED}", "n": 1}}'),
        ('"{\\"auth_token_comfy_org\\":\\"abc\\"}"', f'"{{\\"auth_token_comfy_org\\":\\"{REDACTED}\\"}}"'),
        (f"who is {TOKEN}?", f"who is {REDACTED}?"),
        ("comfyui-" + "0a" * 32, REDACTED),
        ("as eyJhbGciOiJub25l.eyJzdWIiOiIxMjM0.c2lnbmF0dXJl said", f"as {REDACTED} said"),
    ],
)
def test_credentials_within_text(text, expected):
    assert redact_text(text) == expected
    assert redact_text(redact_text(text)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "runner gpu-0 is lost: no answer in time",
        "http://10.0.0.1:8188/prompt answered 400",
        "1234 tokens per second",
        "the author of the checkpoint",
        "comfyui-frontend-package is not installed",
    ],
)
def test_ordinary_text_stays(text):
    assert redact_text(text) == text


class TestKnownSecrets:
    @pytest.mark.parametrize("form", [str, lambda text: quote(text, safe=""), lambda text: json.dumps(text)])
    def test_are_masked_in_the_forms_that_text_has_them_in(self, form):
        known = KnownSecrets()
        known.add([ODD])
        assert "ret" not in known.mask(f"a {form(ODD)} b")

    def test_of_a_header_what_follows_its_scheme(self):
        known = KnownSecrets()
        known.add(["Token abcdefgh"])
        assert known.mask("Token abcdefgh, abcdefgh") == f"{REDACTED}, {REDACTED}"

    def test_the_longest_goes_first(self):
        known = KnownSecrets()
        known.add(["abcdef", "abcdefghi"])
        assert known.mask("abcdefghi abcdef") == f"{REDACTED} {REDACTED}"

    def test_short_ones_would_hide_ordinary_words(self):
        known = KnownSecrets()
        known.add(["on", ""])
        assert known.mask("on and on") == "on and on"

    def test_are_bounded(self):
        known = KnownSecrets()
        known.add(f"secret-{number:06}" for number in range(KNOWN_MOST + 1))
        assert known.mask("secret-000000 secret-000001") == f"secret-000000 {REDACTED}"


def test_the_secrets_of_a_configuration():
    config = Config.model_validate(
        {
            "runners": [{"name": "a", "endpoint": "http://a", "headers": {"X": "Bearer one-secret"}}],
            "database": {"url": "postgresql+asyncpg://me:two-secret@db/x"},
            "blobs": {"url": "s3://bucket/x"},
        }
    )
    assert secrets_of(config) == ["Bearer one-secret", "two-secret"]
