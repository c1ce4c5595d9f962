"""Holds answers against the OpenAPI document: is the status documented, and is the body what its schema says?"""

from __future__ import annotations

import json
import re
from typing import Any

from jsonschema import Draft202012Validator


class Contract:
    """The document of a gateway."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        self._paths = [(_pattern(path), item) for path, item in document["paths"].items()]

    def operation(self, method: str, path: str) -> dict[str, Any] | None:
        """What the document says of a call, None where it has no such route."""
        found = [item for pattern, item in self._paths if pattern.fullmatch(path) and method.lower() in item]
        return found[0][method.lower()] if found else None

    def check(self, method: str, path: str, status: int, media: str, body: bytes) -> None:
        """Fails where the answer is not as documented."""
        operation = self.operation(method, path)
        assert operation is not None, f"{method} {path} is not in the document"
        assert str(status) in operation["responses"], f"{method} {path} answers {status}, which is not in the document"
        content = operation["responses"][str(status)].get("content")
        if content is None:
            assert not body, f"{method} {path} answers {status} with a body"
            return
        assert media in content or "*/*" in content, f"{method} {path} answers {status} with {media}"
        if media == "application/json" and media in content:
            schema = {**content[media]["schema"], "components": self._document["components"]}
            checker = Draft202012Validator.FORMAT_CHECKER
            Draft202012Validator(schema, format_checker=checker).validate(json.loads(body))


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path)))
