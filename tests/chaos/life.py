"""One life of a gateway, in a thread and an event loop of its own, so that it can be killed as a process is.

``kill`` leaves the loop between two callbacks and never enters it again: no ``finally``, no ``except``, no close, and
nothing that was queued is written. What the operating system does for a killed process is done for it: its sockets are
closed, its lock is let go of. A commit that SQLite is in the middle of comes to its end, as it may with a real one.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import socket
import sys
import threading
import traceback
import warnings
import weakref
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

from gateway.api.services import Services
from gateway.app import gateway
from gateway.config import Config
from gateway.serving import listening

T = TypeVar("T")
START_SECONDS = 20.0
STOP_SECONDS = 20.0
ERRAND_LOOK_SECONDS = 0.05


class Life:
    """``rooms`` and ``port`` are there once ``start`` has returned. ``fault`` hears what the loop could not deliver."""

    def __init__(self, number: int, config: Config, fault: Callable[[str], None]) -> None:
        self.number = number
        self.config = config
        self.is_alive = False
        self.rooms: Services
        self.port = 0
        self._fault = fault
        self._loop = _Loop()
        self._loop.set_exception_handler(lambda _loop, context: self._undelivered(context))
        self._thread = threading.Thread(target=self._run, name=f"life {number}", daemon=True)
        self._started = threading.Event()
        self._ended = threading.Event()
        self._burial = threading.Event()
        self._stopping = asyncio.Event()
        self._failure: BaseException | None = None
        self._left: list[str] = []
        self._errands: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Raises what the gateway's start raised."""
        self._thread.start()
        await asyncio.to_thread(self._started.wait, START_SECONDS)
        if self._failure is not None:
            raise self._failure
        self.is_alive = True

    async def stop(self) -> list[str]:
        """Ends it in order; returns the names of the tasks that it left behind."""
        self.is_alive = False
        self._loop.call_soon_threadsafe(self._stopping.set)
        if not await asyncio.to_thread(self._ended.wait, STOP_SECONDS):
            return ["the gateway itself: it does not stop"]
        if self._failure is not None:
            raise self._failure
        return self._left

    async def kill(self) -> None:
        """As ``kill -9``."""
        self.is_alive = False
        if not self.is_dead:
            self._loop.call_soon_threadsafe(_die)
            await asyncio.to_thread(self._ended.wait, STOP_SECONDS)
        for each in list(self._loop.sockets):
            each.close()
        db = self.rooms.db
        db._writer._thread.shutdown(wait=True)
        if db._writer._connection is not None:
            db._writer._connection.connection.dbapi_connection.close()
        db._lock.release()

    def kill_at_once(self) -> None:
        """For the gateway's own thread: as soon as the callback that runs now has returned, before any other one."""
        handle = asyncio.Handle(_die, (), self._loop)
        self._loop._ready.appendleft(handle)  # type: ignore[attr-defined]

    @property
    def is_dead(self) -> bool:
        """Whether its loop has ended, by itself too."""
        return self._ended.is_set()

    @property
    def is_running_here(self) -> bool:
        """Whether this is called in its thread, by itself."""
        return threading.current_thread() is self._thread and not self.is_dead

    async def ask(self, question: Callable[[Services], T]) -> T:
        """Calls something in the gateway's own thread."""
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        mine = asyncio.get_running_loop()

        def call() -> None:
            try:
                value = question(self.rooms)
            except Exception as error:  # noqa: BLE001 - whoever asks gets it
                mine.call_soon_threadsafe(answer.set_exception, error)
            else:
                mine.call_soon_threadsafe(answer.set_result, value)

        self._loop.call_soon_threadsafe(call)
        return await answer

    async def run(self, work: Callable[[Services], Awaitable[T]]) -> T | None:
        """Awaits something in the gateway's own thread; None: the gateway was killed before that, or has not begun."""
        if not self.is_alive:
            return None
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        mine = asyncio.get_running_loop()

        async def work_there() -> None:
            try:
                value = await work(self.rooms)
            except Exception as error:  # noqa: BLE001 - whoever asks gets it
                mine.call_soon_threadsafe(_give, answer, None, error)
            else:
                mine.call_soon_threadsafe(_give, answer, value, None)

        task = self._loop.create_task
        self._loop.call_soon_threadsafe(lambda: self._errands.add(task(work_there(), name="errand")))
        while not answer.done() and not self.is_dead:
            await asyncio.wait({answer}, timeout=ERRAND_LOOK_SECONDS)
        return answer.result() if answer.done() else None

    def bury(self) -> None:
        """Lets go of what a killed life still holds. Blocks."""
        self._burial.set()
        self._thread.join(STOP_SECONDS)

    # in the thread

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        main = self._loop.create_task(self._main(), name="main")
        try:
            self._loop.run_until_complete(main)
        except Killed:
            pass
        except BaseException as error:  # noqa: BLE001 - whoever starts or stops it gets it
            self._failure = error
        else:
            self._left = [task.get_name() for task in asyncio.all_tasks(self._loop)]
        self._started.set()
        self._ended.set()
        self._burial.wait()  # in this thread: the greenlets of SQLAlchemy cannot leave theirs
        self._bury()

    async def _main(self) -> None:
        async with gateway(self.config) as rooms, listening(self.config, rooms) as port:
            self.rooms, self.port = rooms, port
            self._started.set()
            await self._stopping.wait()

    def _undelivered(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if _is_writer_of_aiohttp(context.get("future")):
            return  # the request that it wrote has failed, and its sender has heard so
        where = traceback.format_exception(error)[-4:] if error is not None else ()
        self._fault(f"{context.get('message')}: {error!r} {''.join(where)}")

    def _bury(self) -> None:
        """Ends what a killed life was in the middle of; by now nobody hears or sees it."""
        self._loop.set_exception_handler(lambda _loop, _context: None)
        self._loop._ready.clear()
        for task in asyncio.all_tasks(self._loop):
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            _end(task.get_coro())
        rooms = self.__dict__.pop("rooms", None)
        if rooms is not None:
            self._loop.run_until_complete(rooms.db._readers.dispose())
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()


def _is_writer_of_aiohttp(task: object) -> bool:
    """Whether it is the task in which aiohttp's client sends a request's body; nobody can ask for its fault."""
    return isinstance(task, asyncio.Task) and getattr(task.get_coro(), "__qualname__", "").endswith(".write_bytes")


def bury(lives: list[Life]) -> None:
    """Lets go of what dead lives still hold, once nobody looks at their database any more. Blocks."""
    with _unheard():
        while lives:
            lives.pop().bury()
        for _ in range(3):  # what is collected may only then let go of more
            gc.collect()


@contextlib.contextmanager
def _unheard() -> Iterator[None]:
    """Coroutines that are ended in the middle complain in many ways."""
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    logging.disable()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
        sys.unraisablehook = hook


class _Loop(asyncio.SelectorEventLoop):
    """Knows every socket that was made in it: what it listens on, what it accepted, what it connects."""

    def __init__(self) -> None:
        super().__init__()
        self.sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()

    def _start_serving(self, protocol_factory: Any, sock: socket.socket, *more: Any, **named: Any) -> None:
        self.sockets.add(sock)
        super()._start_serving(protocol_factory, sock, *more, **named)  # type: ignore[misc]

    def _accept_connection2(self, protocol_factory: Any, conn: socket.socket, *more: Any, **named: Any) -> Any:
        self.sockets.add(conn)
        return super()._accept_connection2(protocol_factory, conn, *more, **named)  # type: ignore[misc]

    def call_soon_threadsafe(self, callback: Any, *arguments: Any, context: Any = None) -> Any:
        """After the end nobody is there to be called: a reading thread may notice it later."""
        return None if self.is_closed() else super().call_soon_threadsafe(callback, *arguments, context=context)

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        self.sockets.add(sock)
        await super().sock_connect(sock, address)


class Killed(SystemExit):
    """Leaves an event loop at once: asyncio lets only SystemExit and KeyboardInterrupt through."""


def _die() -> None:
    raise Killed


def _give(answer: asyncio.Future[T], value: T, error: Exception | None) -> None:
    if answer.done():
        return
    if error is None:
        answer.set_result(value)
    else:
        answer.set_exception(error)


def _end(coroutine: Any) -> None:
    """Closes a coroutine, however often it waits for something while it is closed."""
    for _ in range(100):
        try:
            coroutine.close()
        except RuntimeError as error:
            if "ignored GeneratorExit" not in str(error):
                return
        except BaseException:  # noqa: BLE001 - the process is dead, and this is its memory
            return
        else:
            return
