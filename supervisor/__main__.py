"""The first step of `friendship-supervisor` and of `python -m supervisor`: hold the signals, then load the rest."""

import resource
import sys

from supervisor import signals


def main() -> None:
    """Run the command line. A signal that arrives while it loads is honoured by `run`, once it can."""
    signals.hold()
    # Memory holds passwords and what children say: no core file, of this process or of any that it forks
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    from supervisor import cli  # noqa: PLC0415 - takes most of a second, in which a stop may come

    if {*cli.COMMANDS, "--help", "-h", "--version"}.difference({"run"}).intersection(sys.argv):
        signals.release()
    cli.main()


if __name__ == "__main__":
    main()
