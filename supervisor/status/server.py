"""The status process from its fork to its end: it takes the port, and answers until it is killed.

The supervisor kills it when it stops, and so does the kernel when the supervisor dies; there is nothing to finish.
"""

import asyncio
import contextlib
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import setproctitle
import uvicorn

from supervisor import memory
from supervisor.limits import MB, Listen
from supervisor.pages import Pages
from supervisor.programs import Depth
from supervisor.status import history
from supervisor.status.app import App
from supervisor.status.desk import Desk
from supervisor.status.guests import Guest
from supervisor.status.page import load

TAKEN_PAUSE_S = 2.0
TAKEN_REPEAT_S = 600.0
DEPTH_EVERY_S = 5.0
KEEP_ALIVE_S = 5
BACKLOG = 128

MOST_GROWTH_BYTES = 8 * MB
"""A status process that has grown so much, and can give nothing back, ends, and another takes its place."""

STACK_BYTES = 512 * 1024

log = logging.getLogger("friendship.status")


def serve(pages: Pages, listen: Listen, gauge: Callable[[], Callable[[], Depth]]) -> None:
    """Answer until the end. gauge: makes what reads the queue; used by one thread only. Returns only to be replaced."""
    for name in ("uvicorn", "asyncio"):
        # What clients do wrong is no news; what we do wrong is told by the application itself
        logging.getLogger(name).setLevel(logging.CRITICAL)
    threading.stack_size(STACK_BYTES)
    desk = Desk(pages.board, pages.chronicle, pages.bulletin)
    try:
        asyncio.run(_serve(desk, listen, gauge))
    except* _TooLarge:
        pass


async def _serve(desk: Desk, listen: Listen, gauge: Callable[[], Callable[[], Depth]]) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(_sample(desk))
        _entitle(", no address yet")
        listener = await _take(listen)
        address = Listen(*listener.getsockname()[:2])
        _entitle(f" on {address}")
        log.info("status_listening", extra={"address": str(address), "pid": os.getpid()})
        group.create_task(_measure(desk, gauge()))
        group.create_task(_server(desk, listen).serve(sockets=[listener]))


def _server(desk: Desk, listen: Listen) -> uvicorn.Server:
    return _Server(
        uvicorn.Config(
            App(desk, load(), listen.allowed_hosts),
            http=Guest,
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
        )
    )


class _TooLarge(Exception):
    """This process is to be replaced."""


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals as they are: the supervisor says when it is over, and ^C is not for us."""
        yield

    async def main_loop(self) -> None:
        """Sleep: nobody asks this process to stop. Looking ten times a second took half of its processor time."""
        await asyncio.Event().wait()


async def _take(listen: Listen) -> socket.socket:
    """Bind the address; while another has it, try again."""
    told_at = None
    while True:
        try:
            return _bound(listen)
        except (
            OSError,
            UnicodeError,
        ) as error:  # a name that is none is refused as one that cannot be spelled
            now = asyncio.get_running_loop().time()
            if told_at is None or now - told_at >= TAKEN_REPEAT_S:
                told_at = now
                reason = getattr(error, "strerror", None) or str(error)
                log.warning("status_not_listening", extra={"address": str(listen), "reason": reason})
        await asyncio.sleep(TAKEN_PAUSE_S)


def _bound(listen: Listen) -> socket.socket:
    found = socket.getaddrinfo(listen.host, listen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    # A name such as localhost means the IPv4 address first: that is what people type
    family, _, _, _, address = min(found, key=lambda one: one[0] != socket.AF_INET)
    dual = family == socket.AF_INET6 and listen.host == "::" and socket.has_dualstack_ipv6()
    # Inherited by nobody: this process forks no other
    return socket.create_server(address, family=family, backlog=BACKLOG, dualstack_ipv6=dual)


async def _sample(desk: Desk) -> None:
    """Keep the history, say that this process is well, and see that it stays small."""
    begun_with = memory.own_rss_bytes()
    while True:
        desk.still_here()
        desk.sample()
        # Without a free descriptor nothing can be read; that passes, or the clients' patience ends
        with contextlib.suppress(OSError):
            if memory.own_rss_bytes() > begun_with + MOST_GROWTH_BYTES:
                _shrink(begun_with)
        await asyncio.sleep(history.EVERY_S)


def _shrink(begun_with: int) -> None:
    """Give back what is free; should that not be enough, end."""
    memory.rest()
    size = memory.own_rss_bytes()
    if size > begun_with + MOST_GROWTH_BYTES:
        log.error("status_too_large", extra={"rss_mb": size // MB})
        raise _TooLarge


async def _measure(desk: Desk, read: Callable[[], Depth]) -> None:
    """Read the queue again and again, in a thread of its own: the broker may take its time."""
    loop = asyncio.get_running_loop()
    thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="depth")
    while True:
        desk.measured(await loop.run_in_executor(thread, read))
        await asyncio.sleep(DEPTH_EVERY_S)


def _entitle(where: str) -> None:
    """Say where, in the process's title: `friendship-supervisor status` finds it there."""
    setproctitle.setproctitle(f"friendship-supervisor: status{where}")
