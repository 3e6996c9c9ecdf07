"""The first step of `friendship-supervisor` and of `python -m supervisor`: hold the signals, then load the rest."""

import os
import resource
import sys

from supervisor import signals


def main() -> None:
    """Run the command line. A signal that arrives while it loads is honoured by `run`, once it can."""
    signals.hold()
    _fill_standard_streams()
    # Memory holds passwords and what children say: no core file, of this process or of any that it forks
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    from supervisor import cli  # noqa: PLC0415 - takes most of a second, in which a stop may come

    if {*cli.COMMANDS, "--help", "-h", "--version"}.difference({"run"}).intersection(sys.argv):
        signals.release()
    cli.main()


def _fill_standard_streams() -> None:
    """Give /dev/null the numbers of standard streams that came closed: a socket would get them, and stray lines."""
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


if __name__ == "__main__":
    main()
