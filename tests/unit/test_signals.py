"""Signals become values, and old handlers come back."""

import os
import signal

from supervisor.signals import HANDLED, Signals, hold, release


def test_signals_are_taken_in_order_and_only_once() -> None:
    """The pipe holds their numbers."""
    with Signals() as signals:
        assert signals.take() == []
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGHUP):
            os.kill(os.getpid(), number)
        assert signals.take() == [signal.SIGHUP, signal.SIGUSR1, signal.SIGHUP]
        assert signals.take() == []


def test_old_handlers_come_back() -> None:
    """A program that ran a supervisor is as it was before."""
    before = [signal.getsignal(number) for number in HANDLED]
    with Signals():
        assert [signal.getsignal(number) for number in HANDLED] != before
    assert [signal.getsignal(number) for number in HANDLED] == before
    assert signal.set_wakeup_fd(-1) == -1


def test_what_came_before_the_loop_is_heard_by_it() -> None:
    """Held during the start; and held again after the end, so that a late one does not change the exit code."""
    hold()
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        with Signals() as signals:
            assert signals.take() == [signal.SIGTERM]
        assert signal.SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    finally:
        release()
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_what_was_held_arrives_when_it_is_let_go() -> None:
    """Another command than `run` is ended by a signal like any program."""
    arrived: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _frame: arrived.append(number))
    try:
        hold()
        os.kill(os.getpid(), signal.SIGTERM)
        assert arrived == []
        release()
        assert arrived == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)
