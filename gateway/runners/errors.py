"""What can go wrong between the gateway and one runner. Answers of a runner, refusals included, are not errors."""


class RunnerError(Exception):
    """Base of this room's errors. ``runner`` is the runner's name, ``reason`` is for people."""

    def __init__(self, runner: str, reason: str) -> None:
        super().__init__(f"runner {runner}: {reason}")
        self.runner = runner
        self.reason = reason


class RunnerUnreachable(RunnerError):
    """The request certainly did not reach the runner (refused, no route, no name, connect timeout)."""


class RunnerAmbiguous(RunnerError):
    """The request may have been carried out: it was sent, and no complete answer came back."""


class RunnerMisanswered(RunnerError):
    """The runner answered something that ComfyUI does not answer (status, or a body that is not what was asked for)."""

    def __init__(self, runner: str, reason: str, status: int) -> None:
        super().__init__(runner, reason)
        self.status = status
