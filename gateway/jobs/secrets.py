"""The API keys that come with prompts, in ``extra_data``: they reach the runner that runs the job and nobody else. In
the database they are sealed, with the job's id, by a key that is not there; they go with the job's end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.comfyui import history, json_text
from gateway.storage.sealing import Seal, Unsealable

PURPOSE = "extra_data"


class SecretsLost(ValueError):
    """What was sealed cannot be opened: the key is another one, or the row was tampered with."""


class Secrets:
    """Takes the secrets out of what clients send, and keeps them for the database.

    Args:
        key: the gateway's own, at least 32 random bytes.
    """

    def __init__(self, key: bytes) -> None:
        self._seal = Seal(key, PURPOSE)

    @staticmethod
    def of(extra_data: Mapping[str, Any]) -> dict[str, Any]:
        """The secret part of what a client has sent (`history.SECRET_KEYS`)."""
        return {key: extra_data[key] for key in history.SECRET_KEYS if key in extra_data}

    def sealed(self, job_id: str, secrets: Mapping[str, Any]) -> bytes | None:
        """What the database keeps of a job's secrets; None where it has none."""
        if not secrets:
            return None
        return self._seal.seal(json_text.dumps([job_id, dict(secrets)]).encode())

    def opened(self, job_id: str, sealed: bytes) -> dict[str, Any]:
        """A job's secrets. Raises SecretsLost."""
        try:
            of_job, secrets = json_text.loads(self._seal.open(sealed))
        except Unsealable as error:
            raise SecretsLost(f"the keys that came with it cannot be read: {error}") from None
        if of_job != job_id:
            raise SecretsLost("the keys that were kept with it are another job's")
        return dict(secrets)
