"""The units: what systemd itself says of them, and what our program needs of them."""

import re
import sys
from pathlib import Path

import pytest

from supervisor.cli.options import OPTIONS
from tests.deploy.manifests import CHECKOUT, DEPLOY, unit
from tests.deploy.programs import program, run

UNITS = DEPLOY / "systemd"
SERVICE = unit("friendship-supervisor.service")
RETRY = unit("friendship-supervisor-retry.service")
PROGRAM = "/opt/friendship-supervisor/bin/friendship-supervisor"
OTHER_VERSIONS = 0.3
"""The stated score is that of systemd 252; others weigh a little differently."""


def test_the_service_waits_for_the_program_and_hears_it() -> None:
    """READY comes when children are ready, which a broker that is away may delay for hours."""
    assert SERVICE["Type"] == ["notify"]
    assert SERVICE["NotifyAccess"] == ["main"]
    assert SERVICE["TimeoutStartSec"] == ["infinity"]
    assert 10 <= int(SERVICE["WatchdogSec"][0]) <= 60


def test_stopping_is_left_to_the_supervisor() -> None:
    """SIGTERM to it alone, no start again where that cannot help, and a child that the kernel kills ends no service."""
    assert SERVICE["KillMode"] == ["mixed"]
    assert SERVICE["RestartPreventExitStatus"] == ["2"]
    assert SERVICE["OOMPolicy"] == ["continue"]
    assert SERVICE["ExecReload"] == ["/bin/kill -HUP $MAINPID"]


def test_nothing_that_the_program_does_is_forbidden() -> None:
    """Priorities and limits (@resources), the scheduling of the parent, sockets to systemd and to PostgreSQL."""
    assert "RestrictRealtime" not in SERVICE
    assert SERVICE["LimitRTPRIO"] == ["1"]
    assert SERVICE["SystemCallFilter"][0] == "@system-service"
    assert "@resources" not in SERVICE["SystemCallFilter"][1]
    assert {"AF_UNIX", "AF_INET", "AF_INET6"} == {*SERVICE["RestrictAddressFamilies"][0].split()}


def test_the_environment_file_holds_variables_that_there_are() -> None:
    """None is misspelt, and no password is a real one."""
    lines = (UNITS / "environment.example").read_text().splitlines()
    given = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
    assert given.keys() <= {option.env for option in OPTIONS}
    assert all("CHANGE_ME" in value for value in given.values() if "@" in value)


def test_both_services_are_confined_alike() -> None:
    """What is forbidden to the supervisor is forbidden to the retry pass."""
    passed_over = {"ExecStart", "Type", "MemoryMax", "TimeoutStartSec", "Description", "After"}
    of_services = {key for key in SERVICE.keys() & RETRY.keys() if key not in passed_over}
    assert {"ProtectSystem", "SystemCallFilter", "DynamicUser", "CapabilityBoundingSet"} <= of_services
    assert {key: RETRY[key] for key in of_services} == {key: SERVICE[key] for key in of_services}


@pytest.mark.full
def test_systemd_finds_no_fault(tmp_path: Path) -> None:
    """`systemd-analyze verify` says nothing, once the program is where the units look for it."""
    analyze = program("systemd-analyze")
    for path in UNITS.glob("friendship-*"):
        (tmp_path / path.name).write_text(path.read_text().replace(PROGRAM, sys.executable))
    units = sorted(tmp_path.iterdir())
    assert len(units) == 3
    done = run(analyze, "verify", "--man=no", *units)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.full
@pytest.mark.parametrize("name", ["friendship-supervisor.service", "friendship-supervisor-retry.service"])
def test_the_exposure_is_what_the_document_says(name: str) -> None:
    """The score of `systemd-analyze security` is stated in docs/deploying.md; lower is better."""
    done = run(program("systemd-analyze"), "security", "--offline=yes", "--no-pager", UNITS / name)
    score = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert score, done.stdout
    stated = re.search(rf"`{re.escape(name)}` \| ([0-9.]+)", (CHECKOUT / "docs/deploying.md").read_text())
    assert stated, "docs/deploying.md states no score"
    assert float(score[1]) <= float(stated[1]) + OTHER_VERSIONS
