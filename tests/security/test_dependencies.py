"""What production installs is pinned, by hashes, and is what the project asks for."""

import configparser
import re
from importlib import metadata
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from scripts.audit import Verdict, judge

CHECKOUT = Path(__file__).parents[2]
LOCK = (CHECKOUT / "requirements.lock").read_text()
ENTRY = re.compile(
    r"^(?P<name>[a-z0-9-]+)==(?P<version>\S+)(?: ; (?P<marker>[^\\]+?))? \\\n"
    r"(?P<hashes>(?: {4}--hash=\S+(?: \\)?\n)+)",
    re.MULTILINE,
)
LOCKED = {entry["name"]: entry for entry in ENTRY.finditer(LOCK)}


def wanted_here(requirement: Requirement, extras: frozenset[str]) -> bool:
    """Say whether a requirement of a package with these extras holds on this machine."""
    return requirement.marker is None or any(
        requirement.marker.evaluate({"extra": extra}) for extra in extras or {""}
    )


def test_the_lock_satisfies_setup_cfg() -> None:
    """Each requirement is there, in a version that it allows."""
    setup = configparser.ConfigParser()
    setup.read(CHECKOUT / "setup.cfg")
    for line in setup["options"]["install_requires"].split():
        requirement = Requirement(line)
        assert requirement.name in LOCKED, f"run ./scripts/lock: {requirement.name} is new"
        assert requirement.specifier.contains(LOCKED[requirement.name]["version"]), "run ./scripts/lock"


def test_the_lock_is_complete_and_pinned_by_hashes() -> None:
    """Every line belongs to an entry with hashes, and whatever an entry requires has an entry too."""
    left_over = ENTRY.sub("", LOCK)
    assert re.sub(r"^ *#.*\n", "", left_over, flags=re.MULTILINE).strip() == ""
    for name, entry in LOCKED.items():
        assert re.findall(r"--hash=(?!sha256:[0-9a-f]{64}\b)", entry["hashes"]) == [], name
    extras = {"psycopg": frozenset({"binary", "pool"})}
    for name, entry in LOCKED.items():
        if entry["marker"] and not Marker(entry["marker"]).evaluate():
            continue
        for line in metadata.requires(name) or ():
            requirement = Requirement(line)
            if wanted_here(requirement, extras.get(name, frozenset())):
                assert canonicalize_name(requirement.name) in LOCKED, f"{name} requires {requirement}"


def test_the_lock_names_no_index() -> None:
    """Where packages come from is the business of whoever installs them."""
    assert "://" not in LOCK
    assert "index-url" not in LOCK


@pytest.mark.parametrize(
    ("dependencies", "verdict"),
    [
        ([], Verdict.NOT_ASKED),
        ([{"name": "a", "version": "1", "vulns": []}], Verdict.NOTHING_KNOWN),
        ([{"name": "a", "skip_reason": "not found"}], Verdict.NOT_ASKED),
        ([{"name": "a", "version": "1", "vulns": []}, {"name": "b", "skip_reason": "x"}], Verdict.NOT_ASKED),
        (
            [
                {"name": "a", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": []}]},
                {"name": "b", "skip_reason": "x"},
            ],
            Verdict.VULNERABLE,
        ),
    ],
)
def test_an_audit_takes_no_silence_for_a_no(dependencies: list[dict[str, object]], verdict: Verdict) -> None:
    """Packages that the service does not know were not audited."""
    assert judge(dependencies)[0] is verdict
