"""A stop that is asked for while lines are published."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from supervisor.cli.publishing.stopping import ASKING, Stop


@contextmanager
def stopping() -> Iterator[Stop]:
    with Stop() as stop:
        yield stop


@pytest.mark.parametrize("number", ASKING)
def test_between_two_lines_a_signal_stops_at_once(number: signal.Signals) -> None:
    """While a line is waited for or read, as while the next may not go yet; nothing is in doubt."""
    with stopping() as stop:
        with stop.under_way():
            pass
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
        assert not stop.in_doubt


@pytest.mark.parametrize("number", ASKING)
def test_a_line_under_way_is_brought_to_its_end(number: signal.Signals) -> None:
    """Confirmed and recorded, and then it stops."""
    done = []

    def line(stop: Stop) -> None:
        with stop.under_way():
            signal.raise_signal(number)
            done.append("confirmed")
            done.append("recorded")
        done.append("the next")

    with stopping() as stop:
        with pytest.raises(KeyboardInterrupt):
            line(stop)
        assert not stop.in_doubt
    assert done == ["confirmed", "recorded"]


def test_a_second_signal_leaves_the_line_in_doubt() -> None:
    """At once, whichever of the signals it is."""
    done = []

    def line(stop: Stop) -> None:
        with stop.under_way():
            signal.raise_signal(signal.SIGTERM)
            done.append("waits for its confirm")
            signal.raise_signal(signal.SIGINT)
            done.append("confirmed")

    with stopping() as stop:
        with pytest.raises(KeyboardInterrupt):
            line(stop)
        assert stop.in_doubt
    assert done == ["waits for its confirm"]


def test_a_lost_broker_leaves_the_line_in_doubt() -> None:
    """And a signal that comes while all is closed stops that."""
    with stopping() as stop:
        with pytest.raises(ConnectionError), stop.under_way():
            raise ConnectionError
        assert stop.in_doubt
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_what_is_ignored_stays_so_and_old_handlers_come_back() -> None:
    """Who begins with nohup is not stopped by the end of a terminal."""
    before = {number: signal.getsignal(number) for number in ASKING}
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stopping():
            signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before[signal.SIGHUP])
    assert {number: signal.getsignal(number) for number in ASKING} == before
