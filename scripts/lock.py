"""Write the locks: every package that `setup.cfg` brings along, pinned, with the hashes of all its files.

All locks come out of one resolution, for every Python that is supported, so that any of them may be installed together.
"""

import configparser
import re
import sys
import tempfile
import tomllib
from collections.abc import Iterable
from pathlib import Path

from scripts.one_off import ToolMissing, checkout, complain, run, tool

LOCK = "requirements.lock"
FOLDER = "locks"
BUILD = f"{FOLDER}/build.lock"
PRODUCTION = frozenset({"s3"})
"""Extras that requirements.lock covers."""
OLDEST = "3.11"

ENTRY = re.compile(
    r"^(?P<name>[a-z0-9-]+)==(?P<version>[^\s;]+)(?: ; (?P<marker>[^\\\n]+?))? \\\n"
    r"(?P<hashes>(?: {4}--hash=\S+(?: \\)?\n)+)",
    re.MULTILINE,
)

HEADS = {
    LOCK: f"""\
# What production installs, with the extra s3, for Python {OLDEST} and newer:
#     pip install --require-hashes -r {LOCK} -r {BUILD}
#     pip install --no-deps --no-build-isolation .
""",
    BUILD: "# What builds the package: pyproject.toml's build-system.\n",
}
WRITTEN = "# Written by ./scripts/lock; held against setup.cfg by tests/security/test_dependencies.py.\n"


class NotResolved(Exception):
    """uv found no set of versions. The text says why."""


def extras() -> list[str]:
    """Give the extras that have a lock of their own."""
    setup = configparser.ConfigParser()
    setup.read(checkout() / "setup.cfg")
    return sorted(set(setup["options.extras_require"]) - PRODUCTION)


def backend() -> list[str]:
    """Give what the package is built with."""
    settings = tomllib.loads((checkout() / "pyproject.toml").read_text())
    requires: list[str] = settings["build-system"]["requires"]
    return requires


def beside(entries: str, others: Iterable[str]) -> str:
    """Give the entries of a lock that none of the other locks has."""
    known = {entry["name"] for other in others for entry in ENTRY.finditer(other)}
    return "".join(entry[0] for entry in ENTRY.finditer(entries) if entry["name"] not in known)


def resolve(uv: Path) -> dict[str, str]:
    """Give the text of each lock, by its path."""
    with tempfile.TemporaryDirectory(prefix="friendship-") as directory:
        built = Path(directory) / "build.in"
        built.write_text("\n".join(backend()))
        whole = Path(directory) / "whole.txt"
        whole.write_text(_compile(uv, "setup.cfg", built, "--all-extras"))

        def part(*words: str | Path) -> str:
            return _compile(uv, *words, "--constraint", whole)

        production = part("setup.cfg", *(f"--extra={extra}" for extra in sorted(PRODUCTION)))
        found = {LOCK: production, BUILD: part(built)}
        for extra in extras():
            # A package of two extras is in both locks, alike
            found[f"{FOLDER}/{extra}.lock"] = beside(part("setup.cfg", f"--extra={extra}"), [production])
    return {path: _head(path) + text for path, text in found.items()}


def _head(path: str) -> str:
    return HEADS.get(path, f"# What the extra {Path(path).stem} brings along beside {LOCK}.\n") + WRITTEN


def _compile(uv: Path, *words: str | Path) -> str:
    done = run(
        *(uv, "pip", "compile", "--universal", "--python-version", OLDEST, "--upgrade", "--no-config"),
        *("--generate-hashes", "--no-header", "--no-annotate", "--quiet", *words),
    )
    if done.returncode != 0:
        raise NotResolved(done.stderr.strip())
    return done.stdout


def main() -> int:
    try:
        with tool("uv") as uv:
            found = resolve(uv)
    except (ToolMissing, NotResolved) as problem:
        complain("lock", str(problem))
        return 1
    (checkout() / FOLDER).mkdir(exist_ok=True)
    for path, text in found.items():
        (checkout() / path).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
