"""Programs and packages that only the full suite needs: a missing one skips, and fails when CI is set."""

import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import NoReturn

import pytest

PLACES = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))


def without(what: str) -> NoReturn:
    """Skip the test, or fail it when CI is set."""
    if os.environ.get("CI"):
        pytest.fail(f"{what} (CI is set, so nothing is skipped)", pytrace=False)
    pytest.skip(what)


def program(name: str) -> str:
    """Find a program, of this environment or of the system."""
    return shutil.which(name, path=PLACES) or without(f"{name} was not found; run ./scripts/test --full")


def package(name: str) -> ModuleType:
    """Import a package of the extra `full`."""
    try:
        return importlib.import_module(name)
    except ImportError:
        without(f"the package {name} is not here; run ./scripts/test --full")


def run(
    *words: str | Path, cwd: Path | None = None, limit_s: float = 120.0
) -> "subprocess.CompletedProcess[str]":
    """Run a program to its end, its two outputs as one."""
    return subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=limit_s,
        check=False,
    )
