"""The Dockerfile as stages of steps: as much of its language as ours uses, and an error for the rest."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Step:
    """One instruction. argument: what stands behind its word, lines joined; flags: its --name=value parts."""

    word: str
    argument: str
    flags: Mapping[str, str]

    @property
    def words(self) -> list[str]:
        """Give an exec-form argument's words. Raises ValueError for the shell form."""
        found = json.loads(self.argument)
        assert isinstance(found, list)
        return found

    @property
    def pairs(self) -> dict[str, str]:
        """Give the NAME=value parts of ENV and LABEL."""
        return dict(part.split("=", 1) for part in shlex.split(self.argument))


@dataclass(slots=True)
class Stage:
    """One image on the way: its name, what it is made from, and its steps in order."""

    name: str
    base: str
    steps: list[Step] = field(default_factory=list)

    def only(self, word: str) -> Step:
        """Give the one step of this kind."""
        (found,) = (step for step in self.steps if step.word == word)
        return found


def stages(path: Path) -> list[Stage]:
    """Read a Dockerfile."""
    found: list[Stage] = []
    arguments: dict[str, str] = {}
    for step in _steps(path.read_text()):
        if step.word == "ARG" and not found:
            arguments |= step.pairs
        elif step.word == "FROM":
            base, _, name = step.argument.partition(" AS ")
            for known, value in arguments.items():
                base = base.replace(f"${{{known}}}", value)
            found.append(Stage(name, base))
        else:
            found[-1].steps.append(step)
    return found


def _steps(text: str) -> Iterator[Step]:
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for line in lines.replace("\\\n", " ").splitlines():
        word, _, rest = line.strip().partition(" ")
        if not word:
            continue
        flags = {}
        while match := re.match(r"--([a-z-]+)=(\S+)\s+", rest):
            flags[match[1]] = match[2]
            rest = rest[match.end() :]
        yield Step(word, " ".join(rest.split()), flags)
