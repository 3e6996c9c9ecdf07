"""A tool that is used once and is no dependency: installed into an environment of its own, which goes afterwards."""

import contextlib
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from pathlib import Path

LIMIT_S = 300.0


class ToolMissing(Exception):
    """The tool could not be installed."""


@contextlib.contextmanager
def tool(name: str) -> Iterator[Path]:
    """Give the program of a package that has its name. Raises ToolMissing, as without a package index."""
    with tempfile.TemporaryDirectory(prefix="friendship-") as directory:
        venv.create(directory, with_pip=True)
        programs = Path(directory) / "bin"
        done = subprocess.run(
            [programs / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", name],
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT_S,
        )
        if done.returncode != 0:
            last = done.stderr.strip().splitlines()[-1:] or ["pip said nothing"]
            raise ToolMissing(f"{name} could not be installed: {last[0]}")
        yield programs / name


def checkout() -> Path:
    return Path(__file__).resolve().parents[1]


def run(*words: str | Path) -> "subprocess.CompletedProcess[str]":
    """Run a program in the checkout to its end."""
    return subprocess.run(
        [str(word) for word in words],
        cwd=checkout(),
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_S,
    )


def complain(program: str, text: str) -> None:
    print(f"{program}: {text}", file=sys.stderr)
