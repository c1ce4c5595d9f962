"""`comfy-gateway explain JOB`: where a job of a running gateway stands, why it is there, and what each runner would
mean for it."""

import json
import time
from typing import Annotated, Any

import typer

from gateway.cli.http import DEFAULT_URL, JsonOption, TokenOption, UrlOption, answered, quoted

explaining = typer.Typer()


@explaining.command()
def explain(
    job: Annotated[str, typer.Argument(metavar="JOB", help="Its prompt_id.")],
    url: UrlOption = DEFAULT_URL,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell where a job stands and why: its place, its runner, what it waits for."""
    told = answered(url, token, lambda gateway: gateway.ask("GET", f"/gateway/api/jobs/{quoted(job)}"))
    print(json.dumps(told, indent=2) if as_json else "\n".join(lines_of(told, time.time() * 1000)))


def lines_of(job: dict[str, Any], now: float) -> list[str]:
    """What is told of a job; ``now`` in milliseconds since the epoch."""
    reason = f": {job['reason']}" if job.get("reason") else ""
    told = [f"{job['id']} is {job['state']}{reason}"]
    if job.get("position"):
        told.append(f"place {job['position']} in the line")
    expected = job.get("expected")
    if expected:
        begins = "" if job.get("started_at") else f"begins {_in(expected['start'] - now)}, "
        span = f"{_in(expected['earliest'] - now)} to {_in(expected['latest'] - now)}"
        told.append(f"{begins}ends {_in(expected['end'] - now)} (nine of ten: {span})")
    placement = job.get("placement")
    if placement:
        goes = f"goes to {placement['runner']}" if placement["runner"] else "waits"
        told.append(f"{goes}: {placement['reason']}")
        told += [f"  {each['runner']}: {each['reason']}" for each in placement["runners"]]
    for attempt in job.get("attempts", ()):
        because = f": {attempt['reason']}" if attempt.get("reason") else ""
        told.append(f"attempt {attempt['ordinal']} on {attempt['runner']} is {attempt['state']}{because}")
    return told


def _in(milliseconds: float) -> str:
    seconds = max(0, round(milliseconds / 1000))
    return f"in {seconds} s" if seconds < 120 else f"in {seconds // 60} min"
