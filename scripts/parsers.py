"""Run the parsing tests with the oldest and with the newest release that setup.cfg allows of each parser.

The two sets are installed into folders that come before the environment's own packages, for these runs only.
"""

import configparser
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from packaging.requirements import Requirement

from scripts.one_off import checkout, complain

PARSERS = frozenset({"httpcore", "msgspec", "orjson", "pika"})
"""What decodes bytes that strangers wrote."""

TESTS = (
    *(
        "tests/properties/test_message.py",
        "tests/properties/test_answer.py",
        "tests/properties/test_naming.py",
    ),
    *("tests/properties/test_amqp_frames.py", "tests/properties/test_excerpt.py"),
    *("tests/properties/test_publish_feed.py", "tests/unit/test_decoding.py", "tests/unit/test_message.py"),
    *("tests/unit/test_conversation.py", "tests/unit/test_excerpt.py", "tests/unit/test_llm.py"),
    *(
        "tests/unit/test_properties.py",
        "tests/unit/test_publish_letters.py",
        "tests/unit/test_publish_place.py",
    ),
    *("tests/unit/test_status_inquiry.py", "tests/unit/test_status_strangers.py"),
)


def requirements() -> list[Requirement]:
    """Give what setup.cfg asks for of each parser."""
    setup = configparser.ConfigParser()
    setup.read(checkout() / "setup.cfg")
    found = [Requirement(line) for line in setup["options"]["install_requires"].split("\n") if line]
    return [each for each in found if each.name in PARSERS]


def oldest(requirement: Requirement) -> str:
    """Give the lower bound as a requirement of that release alone."""
    (bound,) = (each.version for each in requirement.specifier if each.operator == ">=")
    return f"{requirement.name}=={bound}"


def run(choose: Callable[[Requirement], str], words: Sequence[str]) -> int:
    """Run the tests with these releases; give pytest's exit status, or pip's."""
    with tempfile.TemporaryDirectory(prefix="friendship-parsers-") as folder:
        pip = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        installed = subprocess.run(
            [*pip, "--only-binary", ":all:", "--target", folder, *map(choose, requirements())], check=False
        )
        if installed.returncode:
            return installed.returncode
        names = sorted(path.name for path in Path(folder).glob("*.dist-info"))
        print("with", *(name.removesuffix(".dist-info") for name in names), flush=True)
        before = {"PYTHONPATH": os.pathsep.join([folder, *filter(None, [os.environ.get("PYTHONPATH")])])}
        pytest = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")
        return subprocess.run(
            [*pytest, *TESTS, *words], cwd=checkout(), env=os.environ | before, check=False
        ).returncode


def main(words: Sequence[str]) -> int:
    bad = [name for name, choose in (("oldest", oldest), ("newest", str)) if run(choose, words)]
    if bad:
        complain("parsers", f"failed with the {' and the '.join(bad)} releases")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
