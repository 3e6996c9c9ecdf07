"""What is installed is pinned, by hashes, and is what the project asks for."""

import configparser
import re
from importlib import metadata
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from scripts.audit import Verdict, judge
from scripts.lock import BUILD, ENTRY, FOLDER, LOCK, PRODUCTION, backend, beside, extras

CHECKOUT = Path(__file__).parents[2]
LOCKS = {
    path: (CHECKOUT / path).read_text()
    for path in (LOCK, BUILD, *(f"{FOLDER}/{each}.lock" for each in extras()))
}
each_lock = pytest.mark.parametrize("path", LOCKS)


def locked(*paths: str) -> dict[str, re.Match[str]]:
    return {entry["name"]: entry for path in paths for entry in ENTRY.finditer(LOCKS[path])}


def wanted_here(requirement: Requirement, extras: frozenset[str]) -> bool:
    """Say whether a requirement of a package with these extras holds on this machine."""
    return requirement.marker is None or any(
        requirement.marker.evaluate({"extra": extra}) for extra in extras or {""}
    )


def wanted(path: str) -> list[Requirement]:
    """Give what a lock is made from."""
    if path == BUILD:
        return [Requirement(line) for line in backend()]
    setup = configparser.ConfigParser()
    setup.read(CHECKOUT / "setup.cfg")
    lines = setup["options"]["install_requires"].split("\n")
    for extra in PRODUCTION if path == LOCK else {Path(path).stem}:
        lines += setup["options.extras_require"][extra].split("\n")
    return [Requirement(line) for line in lines if line]


@each_lock
def test_the_locks_satisfy_setup_cfg(path: str) -> None:
    """Each requirement is there, in a version that it allows."""
    found = locked(path) if path == BUILD else locked(LOCK, path)
    for requirement in wanted(path):
        name = canonicalize_name(requirement.name)
        assert name in found, f"run ./scripts/lock: {name} is new"
        assert requirement.specifier.contains(found[name]["version"]), f"run ./scripts/lock: {name}"


@each_lock
def test_every_requirement_has_an_upper_bound(path: str) -> None:
    """What nobody has tried is not installed. Type stubs only ever say more."""
    for requirement in wanted(path):
        assert requirement.name.startswith("types-") or any(
            each.operator in {"<", "<=", "==", "~="} for each in requirement.specifier
        ), requirement


@each_lock
def test_a_lock_is_complete_and_pinned_by_hashes(path: str) -> None:
    """Every line belongs to an entry with hashes, and whatever an installed entry requires has an entry too."""
    left_over = ENTRY.sub("", LOCKS[path])
    assert re.sub(r"^#.*\n", "", left_over, flags=re.MULTILINE).strip() == ""
    found = locked(LOCK, path)
    for name, entry in locked(path).items():
        assert re.findall(r"--hash=(?!sha256:[0-9a-f]{64}\b)", entry["hashes"]) == [], name
    of_extras = {"psycopg": frozenset({"binary", "pool"})}
    for name, entry in locked(path).items():
        if entry["marker"] and not Marker(entry["marker"]).evaluate():
            continue
        try:
            requires = metadata.requires(name) or ()
        except metadata.PackageNotFoundError:
            assert path not in {LOCK, BUILD, f"{FOLDER}/test.lock"}, name
            continue  # of another extra than the tests'
        for line in requires:
            requirement = Requirement(line)
            if wanted_here(requirement, of_extras.get(name, frozenset())):
                assert canonicalize_name(requirement.name) in found, f"{name} requires {requirement}"


def test_locks_agree() -> None:
    """Any of them may be installed together: a package has the same version and files in all."""
    seen: dict[str, str] = {}
    for text in LOCKS.values():
        for entry in ENTRY.finditer(text):
            assert seen.setdefault(entry["name"], entry[0]) == entry[0]


@each_lock
def test_a_lock_names_no_index(path: str) -> None:
    """Where packages come from is the business of whoever installs them."""
    assert "://" not in LOCKS[path]
    assert "index-url" not in LOCKS[path]


def test_no_package_is_locked_twice_beside_production() -> None:
    """What requirements.lock has is left out of the other locks."""
    first = "a==1 \\\n    --hash=sha256:0\n"
    both = first + "b==2 ; sys_platform == 'linux' \\\n    --hash=sha256:1 \\\n    --hash=sha256:2\n"
    assert beside(both, [first]) == both.removeprefix(first)
    assert beside(both, []) == both


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
