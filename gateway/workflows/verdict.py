"""What the answer to a workflow's submission means for it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.comfyui import errors, json_text
from gateway.jobs.submission import Answer
from gateway.workflows.statuses import Status

WORDS_MOST: Final = 2_000  # characters kept of an answer that is no JSON
NOT_NOW: Final = frozenset({408, 429})


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a workflow never got a job: as ComfyUI's ``POST /prompt`` words it."""

    type: str
    message: str
    details: str = ""
    node_errors: Mapping[str, Any] = field(default_factory=dict)

    @property
    def words(self) -> str:
        """All that it says."""
        return f"{self.message}: {self.details}" if self.details and self.details != self.message else self.message

    def to_json(self) -> bytes:
        """As it is stored."""
        parts = (self.type, self.message, self.details, dict(self.node_errors))
        return json_text.dumps(parts).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Refusal:
        """As it was stored."""
        return cls(*json_text.loads(text))


@dataclass(frozen=True, slots=True)
class Accepted:
    """There is a job. ``validated``: a runner has looked at it, and not just the gateway."""

    validated: bool


@dataclass(frozen=True, slots=True)
class Refused:
    """There is none, and there will be none. ``status`` is INVALID or FAILED."""

    status: Status
    refusal: Refusal


@dataclass(frozen=True, slots=True)
class Later:
    """Nobody could take it now: it is submitted again."""

    reason: str


Verdict = Accepted | Refused | Later


def verdict_of(answer: Answer) -> Verdict:
    """A 4xx is a fault of the graph; so is one that no runner of the pool could ever run, with each runner's reasons.
    A runner's 5xx, after which no other one was left to ask, is a failure. What the gateway itself refuses for now (a
    pool without runners, a full queue, a stop) is tried again."""
    if answer.status < 400:
        return Accepted(validated=answer.runner is not None)
    refusal = _refusal(answer)
    if answer.status in NOT_NOW:
        return Later(refusal.words)
    if answer.status < 500 or (refusal.type == errors.NO_RUNNER_AVAILABLE and refusal.details):
        return Refused(Status.INVALID, refusal)
    if answer.runner is not None:
        return Refused(Status.FAILED, refusal)
    return Later(refusal.words)


def _refusal(answer: Answer) -> Refusal:
    try:
        body = json_text.loads(answer.body)
        error, node_errors = body["error"], body.get("node_errors")
        return Refusal(
            str(error.get("type") or "error"),
            str(error.get("message") or error.get("type") or "refused"),
            str(error.get("details") or ""),
            node_errors if isinstance(node_errors, dict) else {},
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        words = answer.body.decode(errors="replace").strip()[:WORDS_MOST]
        return Refusal(f"http_{answer.status}", words or f"the runner answered {answer.status}")
