"""Accounts of the dead wait until they are written."""

from datetime import UTC, datetime

from supervisor.accounts import BATCH, Accounts
from supervisor.events import Cause, Death


def death(pid: int) -> Death:
    return Death(
        slot=0,
        pid=pid,
        cause=Cause.CRASHED,
        blamed=True,
        died_at=datetime(2026, 1, 1, tzinfo=UTC),
        host="h",
        rss_bytes=1,
        conversation_id="c",
        event_id=1,
        epoch=1,
        claimed_by=f"me-{pid}",
        body_bytes=3000,
        body_crc32=7,
    )


def test_an_account_is_due_at_once_and_gone_when_written() -> None:
    """The next holder of its message waits for it."""
    accounts = Accounts()
    assert not accounts.due(0.0)
    accounts.add(death(1), 10.0)
    assert accounts.due(10.0)
    assert accounts.hand_out() == (death(1),)
    assert not accounts.due(10.0)
    assert accounts.holds(1)
    assert accounts.written() == (death(1),)
    assert not accounts.holds(1)
    assert not accounts.due(1e9)


def test_a_failed_janitor_leaves_everything_to_a_later_one() -> None:
    """The pause grows; nothing is struck out."""
    accounts = Accounts()
    accounts.add(death(1), 0.0)
    pauses = []
    for _ in range(40):
        accounts.hand_out()
        pauses.append(accounts.failed(0.0, 0.0))
        assert not accounts.due(0.0)
    assert pauses == sorted(pauses)
    assert pauses[-1] == 30.0
    assert accounts.due(30.0)
    assert accounts.hand_out() == (death(1),)


def test_a_new_account_does_not_wait_out_the_pause_of_old_ones() -> None:
    """Neither one that comes during a pause, nor one that comes while a janitor fails."""
    accounts = Accounts()
    accounts.add(death(1), 0.0)
    accounts.hand_out()
    accounts.failed(0.0, 0.0)
    accounts.add(death(2), 0.1)
    assert accounts.due(0.1)
    accounts.hand_out()
    accounts.add(death(3), 0.2)
    assert accounts.failed(0.3, 0.0) == 0.0
    assert accounts.due(0.3)


def test_a_long_list_goes_in_batches_the_newest_first() -> None:
    """What a janitor did not take stays for the next."""
    accounts = Accounts()
    for pid in range(BATCH + 5):
        accounts.add(death(pid), 0.0)
    assert [d.pid for d in accounts.hand_out()][:2] == [BATCH + 4, BATCH + 3]
    assert len(accounts.written()) == BATCH
    assert [d.pid for d in accounts.hand_out()] == [4, 3, 2, 1, 0]
