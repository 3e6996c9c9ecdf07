"""Signals become values, and old handlers come back."""

import os
import signal

from supervisor.signals import HANDLED, Signals


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
