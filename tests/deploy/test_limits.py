"""The numbers of deploy/ follow from the program's own: change one there, and the test says what to write here."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from supervisor.arithmetic import Balance, Demand
from supervisor.cli.settings import HARD_FACTOR
from supervisor.limits import MB
from tests.deploy.manifests import (
    CHECKOUT,
    DEMAND,
    DEPLOY,
    KUBERNETES,
    LIMITS,
    SPARE_BYTES,
    STOP_MARGIN_S,
    document,
    documents,
    everything,
    kubernetes,
    pod,
    size_bytes,
    unit,
)

SERVICE = unit("friendship-supervisor.service")
COMPOSE: dict[str, Any] = document(DEPLOY / "compose.yaml")
DEPLOYMENT = document(KUBERNETES / "base/deployment.yaml")
(CONTAINER,) = pod(DEPLOYMENT)["containers"]

MEMORY = {
    "systemd": SERVICE["MemoryMax"][0],
    "compose": COMPOSE["services"]["supervisor"]["mem_limit"],
    "compose with swap": COMPOSE["services"]["supervisor"]["memswap_limit"],
    "Kubernetes limit": CONTAINER["resources"]["limits"]["memory"],
    "Kubernetes request": CONTAINER["resources"]["requests"]["memory"],
}
PATIENCE_S = {
    "systemd": int(SERVICE["TimeoutStopSec"][0]),
    "compose": 60 * int(COMPOSE["services"]["supervisor"]["stop_grace_period"].removesuffix("m")),
    "Kubernetes": pod(DEPLOYMENT)["terminationGracePeriodSeconds"],
}


@pytest.mark.parametrize("where", MEMORY)
def test_the_memory_limit_is_the_arithmetics(where: str) -> None:
    """All that the default children may need fits, with their successors, and hardly more."""
    limit, needed = size_bytes(MEMORY[where]), DEMAND.total_bytes
    assert needed <= limit <= needed + SPARE_BYTES, f"{where}: {limit // MB} MB for {needed // MB}"
    assert Balance(DEMAND, limit).room_for_successor


def test_nine_children_do_not_fit_the_same_limit() -> None:
    """The limit is that of eight: a ninth would be refused at the start."""
    ninth = Demand(LIMITS.children + 1, LIMITS.rss_hard_bytes)
    assert not Balance(ninth, size_bytes(MEMORY["systemd"])).fits


@pytest.mark.parametrize("where", PATIENCE_S)
def test_a_drain_ends_before_the_platforms_patience(where: str) -> None:
    """Stopping takes up to the drain time-out, and what is left then is killed and accounted for."""
    assert PATIENCE_S[where] >= LIMITS.drain_timeout_s + STOP_MARGIN_S


def given_to_the_supervisor() -> Iterator[tuple[str, dict[str, str]]]:
    """Give the environment that each place gives the program."""
    yield "compose", COMPOSE["services"]["supervisor"]["environment"]
    (generated,) = document(KUBERNETES / "base/kustomization.yaml")["configMapGenerator"]
    yield "Kubernetes", dict(line.split("=", 1) for line in generated["literals"])
    lines = (DEPLOY / "systemd/environment.example").read_text().splitlines()
    yield "systemd", dict(line.split("=", 1) for line in lines if not line.startswith("#"))


@pytest.mark.parametrize("where", ["compose", "Kubernetes", "systemd"])
def test_each_place_says_for_which_children_its_memory_is(where: str) -> None:
    """Children and budget stand beside the limit that was made for them."""
    given = dict(given_to_the_supervisor())[where]
    assert int(given["FRIENDSHIP_CHILDREN"]) == LIMITS.children
    assert int(given["FRIENDSHIP_RSS_MB"]) * MB == LIMITS.rss_budget_bytes


def test_the_comments_tell_the_same_sum() -> None:
    """The figure that readers see is the sum of today."""
    told = f"8 children of 300 / 375 MB need {DEMAND.total_bytes // MB}"
    for path in ("systemd/friendship-supervisor.service", "compose.yaml", "k8s/base/deployment.yaml"):
        assert told in (DEPLOY / path).read_text(), path


@pytest.mark.parametrize("kind", ["Job", "CronJob"])
def test_short_commands_have_a_limit_too(kind: str) -> None:
    """migrate and retry are given memory of their own, as much as is asked for."""
    found = [manifest for _, manifest in kubernetes() if manifest["kind"] == kind]
    assert found
    for manifest in found:
        (container,) = pod(manifest)["containers"]
        resources = container["resources"]
        assert resources["limits"]["memory"] == resources["requests"]["memory"] == "128Mi"
        assert "cpu" not in resources["limits"]


def test_a_throttled_supervisor_would_look_too_late() -> None:
    """No limit of cpu on it."""
    assert "cpu" not in CONTAINER["resources"]["limits"]


@pytest.mark.parametrize("path", everything(), ids=lambda path: str(path.relative_to(DEPLOY)))
def test_every_yaml_file_can_be_read(path: Path) -> None:
    """None is broken, those included that no other test looks into."""
    assert documents(path)


def test_the_documents_table_is_the_arithmetic() -> None:
    """docs/deploying.md lists what some numbers of children need, and for how long a drain may take."""
    text = (CHECKOUT / "docs/deploying.md").read_text()
    rows = re.findall(r"^\| (\d+) \| (\d+) \| (\d+) \| (\d+) \|", text, re.MULTILINE)
    assert len(rows) > 5
    for children, budget, hard, needed in (map(int, row) for row in rows):
        assert hard == budget * HARD_FACTOR
        assert needed * MB == Demand(children, hard * MB).total_bytes, f"{children} x {budget}"
    assert f"`--drain-timeout`: {LIMITS.drain_timeout_s:g} s by default" in text
