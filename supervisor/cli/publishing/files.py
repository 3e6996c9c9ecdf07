"""What is to be published: the files that a command's words mean, in order."""

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

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


def sheets(words: Iterable[str]) -> list[Sheet]:
    """Find the files. A folder means those below it with one of the ENDINGS, sorted; hidden ones are left out.

    A file that is meant twice is published once. Raises click.BadParameter for a word that means none.
    """
    found: dict[str, Sheet] = {}
    for word in words:
        if word == STANDARD_INPUT:
            found.setdefault(word, Sheet(word, "<stdin>", "line", None))
            continue
        paths = list(_below(word)) if Path(word).is_dir() else [word]
        if not paths:
            raise click.BadParameter(f"{_name(word)} holds no file that ends with {' or '.join(ENDINGS)}")
        for path in paths:
            found.setdefault(os.path.realpath(path), _sheet(path))
    return list(found.values())


def _below(folder: str) -> Iterator[str]:
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if name.lower().endswith(ENDINGS) and not name.startswith("."):
                yield str(Path(place, name))


def _sheet(path: str) -> Sheet:
    try:
        found = Path(path).stat()
    except OSError as error:
        raise click.BadParameter(f"{_name(path)}: {error.strerror}") from None
    whole = path.lower().endswith((".json", ".json.gz"))
    size = found.st_size if stat.S_ISREG(found.st_mode) else None
    return Sheet(path, _name(path), "item" if whole else "line", size)


def _name(path: str) -> str:
    return printable(click.format_filename(path))
