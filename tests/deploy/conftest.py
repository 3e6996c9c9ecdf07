"""A stand-in for the Dockerfile's base image: Debian with its own Python, of the same minor version. Needs root."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.servers.directory import temporary_directory
from tests.deploy.programs import program, run, without

SUITE = "trixie"
PACKAGES = ("python3", "python3-venv", "python3-pip", "ca-certificates")
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
PIP_SETTINGS = (Path("/etc/pip.conf"), Path.home() / ".config/pip/pip.conf", Path.home() / ".pip/pip.conf")
LIMIT_S = 600.0


@pytest.fixture(scope="session")
def workshop() -> Iterator[Path]:
    """Give a directory for root directories, which every user may pass through."""
    if os.geteuid() != 0:
        without("a root directory can be entered by root only")
    with temporary_directory() as directory:
        yield directory


@pytest.fixture(scope="session")
def base(workshop: Path) -> Path:
    """Make the stand-in for the base image (40 s): a system, its Python under the name that the image has for it."""
    root = workshop / "base"
    words = (program("debootstrap"), "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, root)
    made = run(*words, limit_s=LIMIT_S)
    if made.returncode != 0:
        without(f"debootstrap made no {SUITE}: {made.stdout[-500:]}")
    (root / "usr/local/bin/python").symlink_to("/usr/bin/python3")
    # The machine's own way to the packages: its resolver, the authorities it trusts, pip's settings
    for file in (Path("/etc/resolv.conf"), CERTIFICATES):
        if file.exists():
            shutil.copyfile(file, root / file.relative_to("/"))
    settings = [path for path in PIP_SETTINGS if path.exists()]
    if settings:
        (root / "etc/pip.conf").write_text("\n".join(path.read_text() for path in settings[:1]))
    return root
