"""Where a supervisor of this machine can be asked how it stands: by the titles of its processes, or as configured."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import psutil

SUPERVISOR = re.compile(r"friendship-supervisor: \d+ children on .+")
STATUS = re.compile(
    r"friendship-supervisor: status(?: on ([\w.:\[\]%-]+:\d{1,5})|, no address yet)", re.ASCII
)
ANY = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - what it listens on is not what is asked


class NoneFound(Exception):
    """There is none that could be asked, or more than one. The text says which, and what to do."""


@dataclass(frozen=True, slots=True)
class Process:
    """A process, as everybody may see it."""

    pid: int
    parent_pid: int
    title: str


@dataclass(frozen=True, slots=True)
class Found:
    """A supervisor that runs. address: HOST:PORT that it answers on, None when it does not."""

    pid: int
    address: str | None


def processes() -> Iterator[Process]:
    """Look at the processes of this machine, or container."""
    for seen in psutil.process_iter(["pid", "ppid", "cmdline"]):
        # Of a title psutil makes words, as of any command line
        title = " ".join(seen.info["cmdline"] or ()).strip()
        if title.startswith("friendship-supervisor: "):
            yield Process(seen.info["pid"], seen.info["ppid"], title)


def found(running: Iterable[Process]) -> list[Found]:
    """Tell supervisors from what they have forked. Who has just been forked still has its parent's title."""
    known = list(running)
    addresses = {
        each.parent_pid: title[1] for each in known if (title := STATUS.fullmatch(each.title)) is not None
    }
    pids = {each.pid for each in known if SUPERVISOR.fullmatch(each.title)}
    heads = {each.pid for each in known if each.pid in pids and each.parent_pid not in pids}
    return [Found(pid, addresses.get(pid)) for pid in sorted(heads | addresses.keys())]


def address(supervisors: Sequence[Found], configured: str, *, meant: bool = False) -> str:
    """Choose the URL to ask. configured: HOST:PORT that a supervisor would listen on by our settings, or empty.

    meant: that was given, and is no default: of several supervisors, it is the one. Raises NoneFound, which says what
    to do.
    """
    answering = [each for each in supervisors if each.address is not None]
    if meant and url(configured) in {url(each.address or "") for each in answering}:
        return url(configured)
    match answering:
        case [Found(address=str(only))]:
            return url(only)
        case [_, *_]:
            names = ", ".join(f"pid {each.pid} on {url(each.address or '')}" for each in answering)
            raise NoneFound(f"{len(answering)} supervisors run here ({names}): choose one with --url")
    if supervisors:
        pids = " ".join(str(each.pid) for each in supervisors)
        raise NoneFound(
            f"the supervisor (pid {pids}) answers nowhere: its --listen is empty, or its port is taken, or it has just "
            f"begun; `kill -USR1 {pids}` has it log how each child stands"
        )
    if not configured:
        raise NoneFound("no supervisor runs here, and --listen is empty: give --url")
    return url(configured)


def url(listens_on: str) -> str:
    """Give the URL of HOST:PORT. Who listens everywhere is asked on this machine."""
    host, _, port = listens_on.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    asked = ANY.get(bare, bare)
    return f"http://[{asked}]:{port}" if ":" in asked else f"http://{asked}:{port}"
