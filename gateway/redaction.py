"""Making secrets unreadable, in what is logged or printed: values that are known to be secret, values under telling
keys, and what looks like a credential within text. Which values are known is told at the start and as they appear.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import quote, urlsplit

from pydantic import BaseModel, SecretStr

REDACTED = "[redacted]"
KNOWN_MOST = 10_000
SHORTEST = 6  # characters; shorter values would make ordinary words unreadable
TELLING_KEY = re.compile(r"auth|cookie|credential|password|secret|token(?!s?_(count|used))|api[-_]?key", re.IGNORECASE)
_NAMES = r"(?:proxy-)?authorization|x-api-key|(?:set-)?cookie"
_KEYS = r"[\w-]*(?:password|secret|token|api[-_]?key)[\w-]*"
_IN_TEXT = (
    (re.compile(rf"\b({_NAMES})(['\"]?\s*[:=]\s*+)(?!\[redacted\])[^\r\n]+", re.IGNORECASE), rf"\1\2{REDACTED}"),
    (re.compile(r"\b(Bearer|Basic)\s++(?!\[redacted\])[A-Za-z0-9._~+/=-]+", re.IGNORECASE), rf"\1 {REDACTED}"),
    (re.compile(r"(?<=://)[^\s/@]+:[^\s/@]+@"), f"{REDACTED}@"),
    (re.compile(rf"([?&]{_KEYS}=)[^&\s\"'<>]+", re.IGNORECASE), rf"\1{REDACTED}"),
    (re.compile(rf"((?P<q>\\?[\"']){_KEYS}(?P=q)\s*:\s*(?P=q))(?:(?!(?P=q)).)+", re.IGNORECASE), rf"\1{REDACTED}"),
    (re.compile(r"\bcg[ws]_[A-Za-z0-9_-]{16,}"), REDACTED),  # the gateway's own tokens and sessions
    (re.compile(r"\bcomfyui-[0-9a-f]{32,}"), REDACTED),  # Comfy's API keys
    (re.compile(r"\beyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]*"), REDACTED),  # JSON web tokens, such as Comfy's logins
)


class KnownSecrets:
    """Values that must not be read anywhere. Bounded; past KNOWN_MOST the oldest are forgotten."""

    def __init__(self) -> None:
        self._values: dict[str, None] = {}
        self._pattern: re.Pattern[str] | None = None

    def add(self, values: Iterable[str]) -> None:
        """From now on these are masked, also where they are percent-encoded or within JSON."""
        new = {form: None for value in values for form in _forms(value) if form not in self._values}
        if not new:
            return
        self._values.update(new)
        while len(self._values) > KNOWN_MOST:
            del self._values[next(iter(self._values))]
        longest_first = sorted(self._values, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def mask(self, text: str) -> str:
        """The text without any of them."""
        return self._pattern.sub(REDACTED, text) if self._pattern is not None else text


def _forms(value: str) -> Iterator[str]:
    """The value as it may stand in text. A header's scheme is no secret: of ``Bearer x`` it is the x."""
    for part in {value, value.partition(" ")[2]}:
        if len(part) >= SHORTEST:
            yield from {part, quote(part, safe=""), json.dumps(part)[1:-1]}


KNOWN = KnownSecrets()


def secrets_of(config: BaseModel) -> list[str]:
    """Every secret value of a configuration; of a URL its password, since hosts and paths may be read."""
    return list(_secrets(config))


def _secrets(value: object) -> Iterator[str]:
    if isinstance(value, SecretStr):
        text = value.get_secret_value()
        yield from _password(text) if "://" in text else [text]
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _secrets(getattr(value, name))
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _secrets(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _secrets(item)


def _password(url: str) -> list[str]:
    try:
        password = urlsplit(url).password
    except ValueError:
        return [url]
    return [password] if password else []


def redact_text(text: str) -> str:
    """The text without known secrets and without what looks like a credential."""
    text = KNOWN.mask(text)
    for pattern, replacement in _IN_TEXT:
        text = pattern.sub(replacement, text)
    return text


def redact(value: object, key: str = "") -> object:
    """A copy of a loggable value without secrets: values under telling keys, all headers, credentials within text."""
    if TELLING_KEY.search(key) and value is not None and not isinstance(value, bool):
        return REDACTED
    if isinstance(value, Mapping):
        if key.lower().endswith("headers"):
            return {str(name): REDACTED for name in value}
        return {redact_text(str(name)): redact(item, str(name)) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redact(item) for item in value]
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, bytes):
        return redact_text(value.decode("utf-8", "backslashreplace"))
    if value is None or isinstance(value, bool | int | float):
        return value
    return redact_text(str(value))  # an exception, a URL: what would be printed of it
