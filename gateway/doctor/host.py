"""What the gateway's own machine shows: its port, its database, its disk and the frontend. Nothing is changed."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from gateway.api.native.frontend import folder_of
from gateway.config import Config, is_loopback
from gateway.doctor.findings import Finding, hint, problem
from gateway.storage.database import QUICK_CHECK_MAX

LOW_BYTES = 5 * 1024**3
LOW_SHARE = 0.05
FULL_BYTES = 512 * 1024**2
WAIT_SECONDS = 1.0  # for a lock that another program holds for a moment


def database_file(config: Config) -> Path | None:
    """The SQLite file of the configuration, None for anything else."""
    try:
        url = make_url(config.database_url)
    except ArgumentError:
        return None
    if url.get_backend_name() != "sqlite" or not url.database or url.database == ":memory:":
        return None
    return Path(url.database).expanduser().absolute()


def gateway_id(config: Config) -> str | None:
    """The id that the gateway's database holds, None where there is no database or it cannot be read."""
    path = database_file(config)
    if path is None or not path.is_file():
        return None
    try:
        with _read_only(path) as connection:
            row = connection.execute("SELECT value FROM meta WHERE key = 'gateway_id'").fetchone()
    except sqlite3.Error:
        return None
    return str(row[0]) if row else None


def findings_of(config: Config, *, serves: bool) -> Iterator[Finding]:
    """What is wrong on this machine. ``serves``: this gateway runs, so port and database are taken by right."""
    if not serves:
        yield from _port(config)
    yield from _database(config, serves=serves)
    yield from _disk(config)
    yield from _frontend(config)
    yield from _hosts(config)


def _port(config: Config) -> Iterator[Finding]:
    server = config.server
    if server.port == 0:
        return
    try:
        addresses = socket.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = addresses[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        yield problem(
            f"cannot listen on {server.host} port {server.port}: {error.strerror or error}",
            "the gateway does not start",
            "stop what has the port (`ss -ltnp`), or give the gateway another server.port or server.host",
        )


def _database(config: Config, *, serves: bool) -> Iterator[Finding]:
    path = database_file(config)
    if path is None:
        yield problem(
            "database.url is no SQLite file", "the gateway does not start", "write it as sqlite:////path/to/gateway.db"
        )
        return
    folder = _existing(path.parent)
    if not os.access(folder, os.W_OK | os.X_OK):
        yield problem(
            f"no right to write into {folder}",
            "the gateway cannot keep its database there",
            f"let it write into {folder}",
        )
    if not path.exists():
        return
    holder = _lock_holder(path)
    if holder is not None and not serves:
        yield problem(
            f"the database {path} is in use by another gateway (process {holder})",
            "two gateways cannot share one database: this one does not start",
            "stop the other one, or give this one another data_dir",
        )
    damage = _damage(path, may_write=holder is None and not serves)
    if damage is not None:
        yield problem(
            f"the database {path}: {damage}",
            "without it the gateway accepts no prompts",
            "see docs/operations.md on backups; `sqlite3 .recover` saves what can be read of a damaged file",
        )


def _lock_holder(path: Path) -> str | None:
    """The process that has the gateway's lock file, None where nobody has."""
    lock = path.with_name(path.name + ".lock")
    try:
        with lock.open("r+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return file.read(32).strip() or "unknown"
    except OSError:
        return None
    return None


def _damage(path: Path, *, may_write: bool) -> str | None:
    try:
        if path.stat().st_size <= QUICK_CHECK_MAX:
            with _read_only(path) as connection:
                (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if verdict != "ok":
                return f"the file is damaged ({verdict})"
        if may_write:
            with sqlite3.connect(f"file:{path}?mode=rw", uri=True, timeout=WAIT_SECONDS) as connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.rollback()
            connection.close()
    except (sqlite3.Error, OSError) as error:
        return str(error)
    return None


def _read_only(path: Path) -> _Closing:
    return _Closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=WAIT_SECONDS))


class _Closing:
    """A connection that is closed at the end of its block."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> sqlite3.Connection:
        return self._connection

    def __exit__(self, *_: object) -> None:
        self._connection.close()


def _disk(config: Config) -> Iterator[Finding]:
    folder = _existing(config.data_dir.absolute())
    usage = shutil.disk_usage(folder)
    told = f"{usage.free / 1024**3:.1f} GiB free of {usage.total / 1024**3:.0f} on the disk of data_dir ({folder})"
    advice = "free some space, move data_dir, or lower archive.max_bytes"
    if usage.free < FULL_BYTES:
        yield problem(told, "a full disk stops the database: no prompt is accepted then", advice)
    elif usage.free < min(LOW_BYTES, usage.total * LOW_SHARE):
        yield hint(told, "database, uploads and copies of outputs grow there", advice)


def _frontend(config: Config) -> Iterator[Finding]:
    if config.frontend.source == "package" and folder_of(config.frontend) is None:
        where = f"there is no frontend in {config.frontend.root}" if config.frontend.root else "it is not installed"
        yield problem(
            f"the frontend cannot be served: {where}",
            "browsers that open the gateway's URL get no page; APIs work",
            "pip install comfyui-frontend-package, correct frontend.root, or set frontend.source to runner or none",
        )


def _hosts(config: Config) -> Iterator[Finding]:
    if config.access.wants_tokens or config.server.allowed_hosts or is_loopback(config.server.host):
        return
    yield hint(
        "without tokens, requests for any host name are answered",
        "a page whose name is made to resolve to the gateway can use it from a browser in this network (DNS rebinding)",
        "set access.mode to tokens, or server.allowed_hosts to the names that the gateway is called by",
    )


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    while not folder.exists():
        folder = folder.parent
    return folder
