"""Text columns for what clients send: what a database cannot keep is replaced, instead of the whole row refused."""

from typing import Any

from sqlalchemy import String as AnyString
from sqlalchemy import Text as AnyText
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

REPLACEMENT = "\ufffd"


def storable(text: str) -> str:
    """The text with U+FFFD for lone surrogates, which no encoding has, and for NUL, which PostgreSQL refuses."""
    if not text.isascii() and _has_surrogates(text):
        text = text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    return text.replace("\0", REPLACEMENT)


def _has_surrogates(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


class String(TypeDecorator[str]):
    """A short text."""

    impl = AnyString
    cache_ok = True

    def process_bind_param(self, value: Any, _dialect: Dialect) -> Any:
        """What is written, and what is looked for."""
        return storable(value) if isinstance(value, str) else value


class Text(String):
    """A text of any length."""

    impl = AnyText
    cache_ok = True
