"""PostgreSQL goes away in every way that it can, and comes back."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from time import monotonic

import pytest

from scripts.servers.postgres import Postgres
from tests.outages.operator import barred, crashed, full, killed, locked, paused, read_only, stopped
from tests.outages.scene import Scene

Outage = Callable[[Postgres], AbstractContextManager[None]]
SetScene = Callable[..., Scene]

WRITE_BUDGET_S = 15.0
"""As the command line has it: a child longer than this in one claim or write is ended."""


def survive(outage: AbstractContextManager[None], scene: Scene) -> None:
    """Go through one outage with a child in each place of its life."""
    worker = scene.worker
    with outage:
        worker.wait_for("waiting", on="database")
        worker.wait_until(lambda: scene.waits("answered"), "the result is held")
        scene.publish("new")
        worker.wait_until(lambda: scene.waits("new"), "the new one is held")
        assert worker.logged("back") == []
        assert len(worker.logged("waiting")) == 1
    worker.wait_for("back", on="database")
    scene.ends_well()
    assert (len(worker.logged("waiting")), len(worker.logged("back"))) == (1, 1)


def test_a_killed_database_costs_nothing_but_time(
    set_scene: SetScene, postgres: Postgres, role_url: str
) -> None:
    """SIGKILL to the postmaster: results are kept, the wait is told once, nothing is called or tried again."""
    survive(killed(postgres), set_scene(DATABASE_URL=role_url))


@pytest.mark.faults
@pytest.mark.parametrize("outage", [stopped, crashed, read_only, full, barred])
def test_a_database_that_cannot_be_used_costs_nothing_but_time(
    outage: Outage, set_scene: SetScene, postgres: Postgres, role_url: str
) -> None:
    """Stopped, crashed, failed over, out of connections, the role refused: the same as when it is killed."""
    survive(outage(postgres), set_scene(DATABASE_URL=role_url))


@pytest.mark.faults
@pytest.mark.parametrize("outage", [stopped, read_only])
def test_a_long_wait_is_told_once_and_no_child_is_spent_on_it(
    outage: Outage, set_scene: SetScene, postgres: Postgres
) -> None:
    """Longer than the write budget: waiting is nobody's fault, and the log has one line of it."""
    scene = set_scene()
    began = monotonic()
    with outage(postgres):
        scene.worker.wait_for("waiting", on="database")
        scene.publish("new")
        scene.worker.wait_until(lambda: scene.waits("new"), "the new one is held")
        scene.worker.wait_until(lambda: monotonic() - began > WRITE_BUDGET_S + 2, "the budget is over")
        assert len(scene.worker.logged("waiting")) == 1
        assert scene.worker.logged("back") == []
    scene.ends_well()


@pytest.mark.faults
def test_a_database_that_stands_still_for_a_moment_is_waited_for(
    set_scene: SetScene, postgres: Postgres
) -> None:
    """SIGSTOP: whoever hangs in a write or a claim goes on where it was; nothing is done twice."""
    scene = set_scene()
    began = monotonic()
    with paused(postgres):
        scene.publish("new")
        scene.worker.wait_until(lambda: monotonic() - began > 5, "both have run into it")
    scene.ends_well()


@pytest.mark.faults
def test_a_database_that_stands_still_for_long_costs_calls_and_no_attempts(
    set_scene: SetScene, postgres: Postgres
) -> None:
    """No client notices a paused server: its children are ended by the write budget, and nobody is blamed."""
    scene = set_scene()
    with paused(postgres):
        scene.publish("new")
        for _ in range(2):
            scene.worker.wait_for("child_killed", times=2, reason="deadline")
        scene.worker.wait_for("waiting", on="database")
    scene.ends_well(calls=2, children_stay=False)
    assert {line["blamed"] for line in scene.worker.logged("account_written")} == {False}


@pytest.mark.faults
def test_a_locked_table_is_waited_for(set_scene: SetScene, migrated_database_url: str) -> None:
    """A lock that outlasts every lock timeout and all tries of a transaction: the same as a database that is away."""
    scene = set_scene()
    with locked(migrated_database_url):
        scene.publish("new")
        scene.worker.wait_for("waiting", on="database")
        for held in ("answered", "new"):
            scene.worker.wait_until(partial(scene.waits, held), f"{held} is held")
    scene.ends_well()
