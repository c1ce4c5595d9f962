"""The whole examination: this machine, every runner, the runners together, and a gateway that serves."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import aiohttp

from gateway.config import Config
from gateway.doctor import host, pool, runners
from gateway.doctor.findings import Finding, hint, problem
from gateway.runners.link import link_sid

WATCH_SECONDS = 3.0  # between two looks at a runner's queue
GATEWAY_SECONDS = 5.0
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # nosec B104: looked up, not listened on


async def diagnose(config: Config, url: str | None = None, *, watch_seconds: float = WATCH_SECONDS) -> list[Finding]:
    """Everything that is wrong.

    Args:
        config: a valid configuration.
        url: of a gateway that should be serving it; None looks for one at its own address, and finds nothing wrong
            with there being none.
        watch_seconds: how long a runner's queue is watched.
    """
    served, examined = await asyncio.gather(
        _ask_gateway(url or _own_url(config)),
        asyncio.gather(*(runners.examine(each, watch_seconds=watch_seconds) for each in config.runners)),
    )
    found = list(host.findings_of(config, serves=served is not None))
    own = host.gateway_id(config)
    for each in examined:
        found += runners.findings_of(each, None if own is None else link_sid(own, each.config.name))
    found += pool.differences(examined)
    if not config.runners:
        found.append(problem("there are no runners", "no prompt can run", "name them under runners: in the file"))
    if served is not None:
        found += _of_gateway(config, served)
    elif url is not None:
        found.append(
            problem(f"no gateway answers at {url}", "clients reach nothing", "start it: comfy-gateway serve --config …")
        )
    return found


def _own_url(config: Config) -> str:
    name = EVERYWHERE.get(config.server.host, config.server.host)
    return f"http://{f'[{name}]' if ':' in name else name}:{config.server.port}"


async def _ask_gateway(url: str) -> dict[str, Any] | None:
    """Its readiness and its runners; None where no gateway answers."""
    timeout = aiohttp.ClientTimeout(total=GATEWAY_SECONDS)
    try:
        async with aiohttp.ClientSession(url.rstrip("/") + "/", timeout=timeout, trust_env=False) as session:
            async with session.get("gateway/ready") as answer:
                ready = await answer.json()
            async with session.get("gateway/api/runners") as answer:
                listed = await answer.json()
        return {"reasons": list(ready.get("reasons", ())), "runners": list(listed["runners"])}
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError, LookupError, AttributeError, TypeError):
        return None  # nobody there, or something else than a gateway: the port is then looked at


def _of_gateway(config: Config, served: dict[str, Any]) -> Iterator[Finding]:
    for reason in served["reasons"]:
        yield problem(f"the gateway is not ready: {reason}", "load balancers send it nothing", "see what it logs")
    known = {runner["name"]: runner for runner in served["runners"]}
    configured = {runner.name for runner in config.runners}
    if known.keys() != configured:
        unlike = ", ".join(sorted(known.keys() ^ configured))
        yield hint(
            f"the gateway that serves has other runners than the file: {unlike}",
            "it runs with an older configuration, or a runner that was taken out still ends its job",
            "send it SIGHUP, and look for reload.refused in its log",
        )
    for name in sorted(known.keys() & configured):
        runner = known[name]
        if runner["state"] != "ready":
            yield problem(
                f"the gateway has it as {runner['state']}: {runner['reason']}",
                "it gets no jobs",
                "see above what it answers; the gateway tries again by itself",
                name,
            )
