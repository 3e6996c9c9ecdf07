"""The first step of `friendship-supervisor` and of `python -m supervisor`: hold the signals, then load the rest."""

import os
import resource
import stat
import sys
from pathlib import Path

from supervisor import signals


def main() -> None:
    """Run the command line. A signal that arrives while it loads is honoured by `run`, once it can."""
    signals.hold()
    _fill_standard_streams()
    _refuse_a_pipe_for_openssl()
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


def _refuse_a_pipe_for_openssl() -> None:
    """OpenSSL reads its configuration while Python loads it, and would wait for a pipe's other end."""
    try:
        is_pipe = stat.S_ISFIFO(Path(os.environ.get("OPENSSL_CONF", "")).stat().st_mode)
    except OSError:
        return
    if is_pipe:
        sys.stderr.write("friendship-supervisor: OPENSSL_CONF names a pipe: unset it, or name a file\n")
        sys.exit(1 if "check" in sys.argv else 2)


if __name__ == "__main__":
    main()
