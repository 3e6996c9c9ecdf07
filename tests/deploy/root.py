"""An image without an engine: the Dockerfile's steps, run in copies of a root directory that stands for its base."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.deploy.dockerfile import Stage, Step
from tests.deploy.manifests import CHECKOUT

LIMIT_S = 600.0
IGNORED = shutil.ignore_patterns("__pycache__")


@dataclass(slots=True)
class Image:
    """What the steps of a stage have come to: files, and what a container is started with."""

    root: Path
    environment: dict[str, str] = field(
        default_factory=lambda: {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    )
    directory: str = "/"
    user: str = "0:0"
    entrypoint: Sequence[str] = ()
    healthcheck: Sequence[str] = ()

    def inside(self, path: str) -> Path:
        """Say where a path of the image is; a relative one is below its working directory."""
        return self.root / os.path.normpath(Path(self.directory) / path).lstrip("/")


class Builder:
    """Runs stages in order, each in a copy of the base."""

    def __init__(self, base: Path, workshop: Path) -> None:
        self._base = base
        self._workshop = workshop
        self._images: dict[str, Image] = {}

    def build(self, stage: Stage) -> Image:
        """Run the steps of one stage. Raises AssertionError with the output of a step that failed."""
        root = self._workshop / f"image-{stage.name or 'final'}"
        subprocess.run(["cp", "-a", "--reflink=auto", self._base, root], check=True, timeout=LIMIT_S)
        image = self._images[stage.name] = Image(root)
        for step in stage.steps:
            self._carry_out(step, image)
        return image

    def _carry_out(self, step: Step, image: Image) -> None:
        match step.word:
            case "ENV":
                image.environment |= step.pairs
            case "WORKDIR":
                image.directory = step.argument
                image.inside(".").mkdir(parents=True, exist_ok=True)
            case "USER":
                image.user = step.argument
            case "COPY":
                self._copy(step, image)
            case "RUN":
                _run(step, image)
            case "ENTRYPOINT":
                image.entrypoint = step.words
            case "HEALTHCHECK":
                image.healthcheck = Step("CMD", step.argument.removeprefix("CMD "), {}).words
            case "LABEL" | "EXPOSE" | "STOPSIGNAL":
                pass
            case unknown:
                raise ValueError(f"{unknown}: not known here")

    def _copy(self, step: Step, image: Image) -> None:
        *sources, target = step.argument.split()
        origin = self._images[step.flags["from"]].root if "from" in step.flags else CHECKOUT
        for name in sources:
            source = origin / name.lstrip("/")
            goal = image.inside(target)
            if source.is_dir():
                keep_all = "from" in step.flags  # compiled modules are what the build stage is for
                shutil.copytree(
                    source, goal, symlinks=True, dirs_exist_ok=True, ignore=None if keep_all else IGNORED
                )
            else:
                goal = goal / source.name if target.endswith("/") or goal.is_dir() else goal
                goal.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, goal)


def _run(step: Step, image: Image) -> None:
    assert image.user == "0:0", "our steps run before USER"
    machine = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    words = ["chroot", str(image.root), "env", "-i", "-C", image.directory]
    for name, value in (machine | image.environment).items():
        words.append(f"{name}={value}")
    done = subprocess.run(
        [*words, *step.words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, f"{step.argument}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
