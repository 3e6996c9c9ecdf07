"""What is to be published: the files that a command's words mean, in order."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG

import click

from supervisor.cli.publishing.entries import Unit
from supervisor.logs import printable

ENDINGS = (".json", ".jsonl", ".json.gz", ".jsonl.gz")
STANDARD_INPUT = "-"


@dataclass(frozen=True, slots=True)
class Sheet:
    """One file. path: as it is opened; name: as it is told. size: in bytes as it is stored, None for a pipe."""

    path: str
    name: str
    unit: Unit
    size: int | None

    @property
    def is_resumable(self) -> bool:
        """Say whether it can be read again from its beginning."""
        return self.size is not None


def sheets(words: Iterable[str], pass_over: Callable[[str], None] = lambda _: None) -> list[Sheet]:
    """Find the files. A folder means those below it with one of the ENDINGS, sorted; hidden ones are left out.

    pass_over: told the name of each such that is no regular file: a pipe that lies in a folder may never be written to.
    A file that is meant twice is published once, under the first of its names. Raises click.BadParameter for a word
    that means none, and for whatever cannot be looked into.
    """
    found: dict[object, Sheet] = {}
    for word in words:
        if word == STANDARD_INPUT:
            found.setdefault(word, Sheet(word, "<stdin>", "line", None))
            continue
        paths = list(_below(word, pass_over)) if os.path.isdir(word) else [word]  # noqa: PTH112 (Path.is_dir raises before 3.12)
        if not paths:
            raise click.BadParameter(f"{_name(word)} holds no file that ends with {' or '.join(ENDINGS)}")
        for path in paths:
            with _named(path):
                stat = Path(path).stat()
            found.setdefault(_key(path, stat), _sheet(path, stat))
    return list(found.values())


def _below(folder: str, pass_over: Callable[[str], None]) -> Iterator[str]:
    """Find the files below a folder: its own first, then those of its folders. Links are followed, a folder once."""
    seen: set[str] = set()
    left = [folder]
    while left:
        place = left.pop()
        with _named(place):
            real = os.path.realpath(place)
            if real in seen:
                continue
            seen.add(real)
            with os.scandir(place) as entries:
                shown = sorted((each for each in entries if not each.name.startswith(".")), key=_of_entry)
        folders = []
        for entry in shown:
            with _named(entry.path):
                is_folder = entry.is_dir()
            if is_folder:
                folders.append(entry.path)
            elif entry.name.lower().endswith(ENDINGS):
                with _named(entry.path):
                    mode = entry.stat().st_mode
                if S_ISREG(mode):
                    yield entry.path
                else:
                    pass_over(_name(entry.path))
        left += reversed(folders)


def _of_entry(entry: os.DirEntry[str]) -> str:
    return entry.name


@contextmanager
def _named(path: str) -> Iterator[None]:
    """Have an OSError be a mistake of the command's words: else the files behind it would be left out."""
    try:
        yield
    except OSError as error:
        raise click.BadParameter(f"{_name(path)}: {error.strerror}") from None


def _key(path: str, stat: os.stat_result) -> object:
    # Some file systems number their files anew, or not at all: only where there are two names is the number believed
    return (stat.st_dev, stat.st_ino) if stat.st_nlink > 1 else os.path.realpath(path)


def _sheet(path: str, stat: os.stat_result) -> Sheet:
    whole = path.lower().endswith((".json", ".json.gz"))
    size = stat.st_size if S_ISREG(stat.st_mode) else None
    return Sheet(path, _name(path), "item" if whole else "line", size)


def _name(path: str) -> str:
    return printable(click.format_filename(path))
