"""Vega-Lite specifications as SVG, and the script that draws them in a browser; needs no network.

vl-convert starts threads and takes 170 MB: it works in a process of its own, so that who asks stays fit to fork.
"""

import importlib.util
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from scripts.load.palette import follow_reader
from scripts.load.spec import Spec

ROOT = Path(__file__).resolve().parent.parent.parent


class NoRenderer(Exception):
    """vl-convert is not installed, or it refused a specification; the message says which."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """svgs: one for each specification. script: defines `vegaEmbed`; empty unless it was asked for."""

    svgs: tuple[str, ...]
    script: str


def draw(specs: Sequence[Spec], *, script: bool = False) -> Drawn:
    """Draw each, for light and for dark pages in one. Raises NoRenderer."""
    if importlib.util.find_spec("vl_convert") is None:
        raise NoRenderer("charts need vl-convert; pip install -r locks/load.lock")
    asked = orjson.dumps({"specs": list(specs), "script": script})
    command = [sys.executable, "-m", "scripts.load.renderer"]
    done = subprocess.run(command, cwd=ROOT, input=asked, capture_output=True, check=False)
    if done.returncode:
        raise NoRenderer(
            f"vl-convert ended with {done.returncode}: {done.stderr.decode(errors='replace')[-500:]}"
        )
    answer = orjson.loads(done.stdout)
    return Drawn(tuple(_for_both(svg) for svg in answer["svgs"]), answer["script"])


def svg(spec: Spec) -> str:
    """Draw one. Raises NoRenderer."""
    return draw([spec]).svgs[0]


def _for_both(drawn: str) -> str:
    head, end, rest = drawn.partition(">")
    return f"{head}{end}<style>{follow_reader()}</style>{rest}\n"


def _answer() -> None:
    import vl_convert  # noqa: PLC0415 - only in the process that is started for it

    asked = orjson.loads(sys.stdin.buffer.read())
    svgs = [vl_convert.vegalite_to_svg(spec) for spec in asked["specs"]]
    script = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;") if asked["script"] else ""
    sys.stdout.buffer.write(orjson.dumps({"svgs": svgs, "script": script}))


if __name__ == "__main__":
    _answer()
