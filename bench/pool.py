"""The processes that a benchmark needs: simulated runners (all of a benchmark in one process, so that few cores are
shared by few), the gateway over them, nginx; and what they use."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.processes import Child, RunnerProcess, child, free_port, free_ports, gateway_process, until, write_config

__all__ = ["Child", "RunnerProcess", "Stage", "free_port", "until"]

LOOK_SECONDS = 0.1  # between two looks at a gateway that starts: each costs it a walk through its metrics
HEALTH = {"interval_seconds": 5, "grace_seconds": 15}  # as by default


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has used, its threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mb(pid: int) -> float:
    """Resident memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


@dataclass
class Gateway:
    """A gateway in a process of its own."""

    child: Child

    @property
    def url(self) -> str:
        return self.child.url

    @property
    def port(self) -> int:
        return int(self.child.url.rpartition(":")[2])

    @property
    def pid(self) -> int:
        return self.child.process.pid


@dataclass
class Runners:
    """Simulated runners in one process."""

    child: Child
    all: list[RunnerProcess]

    @property
    def pid(self) -> int:
        return self.child.process.pid

    def port(self, number: int) -> int:
        return int(self.all[number].url.rpartition(":")[2])

    async def pause(self) -> None:
        """Every GPU is busy from its first job on."""
        for runner in self.all:
            await runner.control("pause", after=0)


class Stage:
    """Starts processes, in a folder that is gone afterwards; all of them end with the stage."""

    def __init__(self, folder: Path, stack: AsyncExitStack, http: aiohttp.ClientSession, part: float) -> None:
        self.folder = folder
        self.part = part
        self.http = http
        self._stack = stack
        self._count = 0

    @classmethod
    @asynccontextmanager
    async def open(cls, folder: Path, part: float = 1.0) -> AsyncIterator[Stage]:
        """A stage for a benchmark of which only a ``part`` is to be carried out."""
        folder.mkdir()
        async with AsyncExitStack() as stack:
            http = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
            yield cls(folder, stack, http, part)

    def some(self, count: int) -> int:
        """So many, or the part of them that is asked for."""
        return max(round(count * self.part), min(count, 4))

    def sub(self, name: str) -> Path:
        """A new folder."""
        self._count += 1
        path = self.folder / f"{name}-{self._count}"
        path.mkdir()
        return path

    async def start(self, url: str, log: Path, *arguments: str, alive: str) -> Child:
        """``python -m`` with these arguments, once GET ``alive`` answers."""
        return await self._stack.enter_async_context(child(url, log, *arguments, alive=alive))

    async def runners(self, count: int, *options: str) -> Runners:
        """Simulated runners that draw nothing."""
        folder = self.sub("runners")
        ports = free_ports(count)
        arguments = [part for port in ports for part in ("--port", str(port))]
        arguments += ["--no-draw", "--base-directory", str(folder / "base"), *options]
        url, log = f"http://127.0.0.1:{ports[-1]}", folder / "runners.log"
        started = await self.start(url, log, "gateway.simulator", *arguments, alive="/system_stats")
        each = [Child(started.process, f"http://127.0.0.1:{port}", started.log) for port in ports]
        return Runners(started, [RunnerProcess(f"gpu-{n}", one, self.http) for n, one in enumerate(each)])

    async def gateway(self, runners: Sequence[RunnerProcess], folder: Path | None = None, **sections: Any) -> Gateway:
        """A gateway over these, ready, with every runner up."""
        settings = {"queue": {"max_pending": 300_000}, "log": {"level": "error"}, "health": HEALTH, **sections}
        config = write_config(folder or self.sub("gateway"), runners, **settings)
        started = Gateway(await self._stack.enter_async_context(gateway_process(config)))
        await until(lambda: self._all_up(started, len(runners)), "every runner is up", every=LOOK_SECONDS)
        return started

    async def _all_up(self, gateway: Gateway, count: int) -> bool:
        async with self.http.get(f"{gateway.url}/gateway/metrics") as response:
            text = await response.text()
        lines = [line for line in text.splitlines() if line.startswith("comfy_gateway_runner_up")]
        return len(lines) == count and all(float(line.rpartition(" ")[2]) == 1 for line in lines)

    async def nginx(self, locations: str) -> int | None:
        """The port of an nginx with one worker and these locations; None where it is not installed."""
        program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
        if program is None:
            return None
        folder, port = self.sub("nginx"), free_port()
        (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=port, locations=locations))
        process = await asyncio.create_subprocess_exec(
            program, "-c", str(folder / "nginx.conf"), "-p", str(folder), "-e", str(folder / "error.log")
        )

        async def end() -> None:
            if process.returncode is None:
                process.terminate()
            await process.wait()

        self._stack.push_async_callback(end)
        await until(lambda: self._listens(port), "nginx listens", seconds=10)
        return port

    async def _listens(self, port: int) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return False
        writer.close()
        return True


NGINX = """\
daemon off;
user root;
worker_processes 1;
pid {folder}/nginx.pid;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_max_body_size 100m;
    server {{
        listen 127.0.0.1:{port};
        {locations}
    }}
}}
"""


def proxied(port: int) -> str:
    """An nginx location that passes everything on to a port, over connections that stay open."""
    return (
        f"location / {{ proxy_pass http://127.0.0.1:{port}; proxy_http_version 1.1; "
        'proxy_set_header Connection ""; }}'.replace("}}", "}")
    )
