"""Messages that kill who opens them: two children each, and the others go on."""

from collections import Counter
from collections.abc import Callable

import pytest

from scripts.conversations import make
from scripts.servers.memory_api import MemoryApiStandIn
from tests.fixtures.desk import Desk
from tests.fixtures.worker import Injected

Start = Callable[..., Injected]


def deaths_by(desk: Desk) -> Counter[str]:
    """Count the deaths that are told of bodies, by message id."""
    rows = desk.query("SELECT message_id, count(*) AS deaths FROM message_deaths GROUP BY message_id")
    return Counter({row["message_id"]: row["deaths"] for row in rows})


@pytest.mark.parametrize(("poisons", "good"), [(2, 10), pytest.param(50, 500, marks=pytest.mark.faults)])
def test_a_message_that_kills_its_parser_ends_in_the_dead_queue(
    start_injected: Start, desk: Desk, memory_api: MemoryApiStandIn, poisons: int, good: int
) -> None:
    """It has no event and is never opened a third time; what it left behind is forgotten with that."""
    worker = start_injected(FRIENDSHIP_CHILDREN="4")
    worker.wait_for("child_ready", times=4)
    for number in range(poisons):
        body = make(f"unreadable-{number}", "user-1").body
        desk.publish_raw(body, message_id=None if number % 2 else f"unreadable-{number}")
        desk.publish_many(good // poisons, prefix=f"good-{number}")
    worker.wait_until(lambda: desk.statuses()["PROCESSED"] == len(desk.published), "the good ones are done")
    worker.wait_for("message_dead_lettered", times=poisons, code="CHILD_CRASHED")
    assert len(worker.logged("child_exited", reason="crashed")) == 2 * poisons
    assert worker.stop() == 0
    assert [headers["reason"] for headers, _ in desk.take_dead()] == ["CHILD_CRASHED"] * poisons
    assert deaths_by(desk) == Counter()
    desk.assert_all_scored()
    desk.assert_clean_ending(worker)


def test_a_redelivered_message_may_have_any_id(start_worker: Start, desk: Desk) -> None:
    """Nothing that comes with a message is asked of the database as it is: a NUL could be stored nowhere."""
    worker = start_worker()
    worker.wait_for("child_ready", times=2)
    assert worker.stop() == 0
    desk.publish_raw(make("named", "user-1").body, message_id="a\0b")
    desk.redeliver()
    worker = start_worker()
    worker.wait_until(lambda: desk.status("named") == "PROCESSED", "it is processed")
    assert worker.logged("child_exited") == []
    assert worker.stop() == 0
    desk.assert_clean_ending(worker)
