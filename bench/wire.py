"""A load generator that costs little: requests are bytes made beforehand, answers are not parsed beyond their frame.

Run as a process of its own, it prints what it measured as JSON; `load` starts it.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WARM_UP = 0.1  # of the requests are not counted


class Connection(asyncio.Protocol):
    """One keep-alive connection: the next request goes out when the answer before it is complete, and it is due."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.head = bytearray()
        self.missing = -1  # bytes of the answer; below 0 while its head is not complete

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self.send()

    def send(self) -> None:
        wait = self.work.wait()
        if wait > 0:
            asyncio.get_running_loop().call_later(wait, self.send_now)
        else:
            self.send_now()

    def send_now(self) -> None:
        request = self.work.next_request()
        if request is None:
            self.transport.close()
            return
        self.began = time.perf_counter()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        if self.missing < 0:
            self.head += data
            end = self.head.find(b"\r\n\r\n")
            if end < 0:
                return
            head = bytes(self.head[:end]).lower()
            at = head.find(b"content-length:")
            if at < 0:
                raise ValueError(f"an answer without a length: {head[:200]!r}")
            self.size = int(head[at + 15 :].split(b"\r\n", 1)[0])
            self.status = int(head[9:12])
            self.missing = end + 4 + self.size - len(self.head)
            self.head.clear()
        else:
            self.missing -= len(data)
        if self.missing == 0:
            self.missing = -1
            self.work.answered(time.perf_counter() - self.began, self.status, self.size)
            self.send()

    def connection_lost(self, error: Exception | None) -> None:
        self.work.closed(error)


class Work:
    """Requests that connections share, and what became of them. With a ``rate`` they go out at so many a second, as far
    as the answers allow it."""

    def __init__(self, requests: list[bytes], connections: int, rate: float) -> None:
        self.requests = deque(requests)
        self.rate = rate
        self.began = time.perf_counter()
        self.given = 0
        self.seconds: list[float] = []
        self.marks: list[float] = []
        self.statuses: dict[int, int] = {}
        self.bytes = 0
        self.open = connections
        self.error: str | None = None
        self.ended = asyncio.Event()

    def wait(self) -> float:
        """Seconds until the next request is due, which is taken by this."""
        if not self.rate:
            return 0.0
        self.given += 1
        return self.began + self.given / self.rate - time.perf_counter()

    def next_request(self) -> bytes | None:
        return self.requests.popleft() if self.requests else None

    def answered(self, seconds: float, status: int, size: int) -> None:
        self.seconds.append(seconds)
        self.marks.append(time.perf_counter())
        self.statuses[status] = self.statuses.get(status, 0) + 1
        self.bytes += size

    def closed(self, error: Exception | None) -> None:
        if error is not None or (self.requests and self.open == 1):
            self.error = str(error or "the connection was closed")
        self.open -= 1
        if not self.open:
            self.ended.set()


def request(method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    """The bytes of one request; ``headers`` have underscores for dashes."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if body:
        lines += [f"Content-Length: {len(body)}", "Content-Type: application/json"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@dataclass(frozen=True)
class Measured:
    """What one load measured. ``seconds`` are the latencies, sorted; ``rate`` is answers per second; ``began`` is when
    the first request was sent, in seconds since the epoch."""

    rate: float
    seconds: list[float]
    statuses: dict[str, int]
    bytes_per_second: float
    began: float

    def quantile(self, q: float) -> float:
        """In seconds."""
        return self.seconds[min(int(len(self.seconds) * q), len(self.seconds) - 1)]


async def load(port: int, requests: list[bytes], folder: Path, connections: int, rate: float = 0.0) -> Measured:
    """Sends the requests over so many connections from a process of its own: each as soon as one is free, or at most
    ``rate`` a second. Raises RuntimeError: it did not get through, or an answer was not 200."""
    path = folder / "requests"
    with path.open("wb") as file:
        for each in requests:
            file.write(len(each).to_bytes(4, "big") + each)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, __file__, str(port), str(path), str(connections), str(rate)),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    found = json.loads(output or b'{"error": "the load generator failed"}')
    if found["error"]:
        raise RuntimeError(found["error"])
    if set(found["statuses"]) != {"200"}:
        raise RuntimeError(f"answers by their status: {found['statuses']}")
    return Measured(found["rate"], found["seconds"], found["statuses"], found["bytes_per_second"], found["began"])


def _read(path: Path) -> list[bytes]:
    data, at, found = path.read_bytes(), 0, []
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        found.append(data[at + 4 : at + 4 + size])
        at += 4 + size
    return found


async def _main(port: int, requests: list[bytes], connections: int, rate: float) -> dict[str, Any]:
    began, work = time.time(), Work(requests, connections, rate)
    total = len(requests)
    loop = asyncio.get_running_loop()
    for _ in range(connections):
        await loop.create_connection(lambda: Connection(work), "127.0.0.1", port)
    await work.ended.wait()
    if len(work.seconds) < total:
        return {"error": work.error or "not all were answered"}
    skipped = int(total * WARM_UP)
    took = max(work.marks[-1] - (work.marks[skipped - 1] if skipped else work.began), 1e-9)
    return {
        "rate": (total - skipped) / took,
        "seconds": sorted(work.seconds[skipped:]),
        "statuses": work.statuses,
        "bytes_per_second": work.bytes * (1 - WARM_UP) / took,
        "began": began,
        "error": None,
    }


if __name__ == "__main__":
    import uvloop

    given_port, given_path, given_connections, given_rate = sys.argv[1:]
    measured = _main(int(given_port), _read(Path(given_path)), int(given_connections), float(given_rate))
    print(json.dumps(uvloop.run(measured)))
