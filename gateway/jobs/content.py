"""What a client has submitted: the graph and its ``extra_data``, as objects while somebody works with them and as JSON
while the job waits.

Objects take six times the memory of their text, and the garbage collector walks through all of them: with ten thousand
waiting jobs that is most of a gigabyte, and pauses of seconds.
"""

from __future__ import annotations

from typing import Any

from gateway.comfyui import json_text


class Content:
    """A graph and its ``extra_data`` without secrets. What is read while it is packed is parsed for the reader."""

    __slots__ = ("_extra_data", "_extra_data_json", "_prompt", "_prompt_json")

    def __init__(self, prompt: dict[str, Any], extra_data: dict[str, Any]) -> None:
        self._prompt: dict[str, Any] | None = prompt
        self._extra_data: dict[str, Any] | None = extra_data
        self._prompt_json: bytes | None = None
        self._extra_data_json: bytes | None = None

    @classmethod
    def packed(cls, prompt_json: bytes, extra_data_json: bytes) -> Content:
        """From its JSON, which is not parsed yet."""
        content = cls({}, {})
        content._prompt_json, content._extra_data_json = prompt_json, extra_data_json
        content._prompt = content._extra_data = None
        return content

    @property
    def prompt(self) -> dict[str, Any]:
        """The graph."""
        return json_text.loads(self.prompt_json) if self._prompt is None else self._prompt

    @property
    def extra_data(self) -> dict[str, Any]:
        """``extra_data`` without its secrets."""
        if self._extra_data is None:
            return json_text.loads(self.extra_data_json)  # type: ignore[no-any-return]
        return self._extra_data

    @property
    def prompt_json(self) -> bytes:
        """The graph as JSON, which is made once: rows, runners and lists take it as it is."""
        if self._prompt_json is None:
            self._prompt_json = json_text.dump_bytes(self._prompt)
        return self._prompt_json

    @property
    def extra_data_json(self) -> bytes:
        """``extra_data`` as JSON."""
        if self._extra_data_json is None:
            self._extra_data_json = json_text.dump_bytes(self._extra_data)
        return self._extra_data_json

    def pack(self) -> None:
        """From now on it is kept as JSON alone."""
        self._prompt_json, self._extra_data_json = self.prompt_json, self.extra_data_json
        self._prompt = self._extra_data = None

    def unpack(self) -> None:
        """From now on it is kept as objects, beside its JSON."""
        self._prompt, self._extra_data = self.prompt, self.extra_data
