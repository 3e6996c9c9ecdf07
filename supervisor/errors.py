"""What makes the program end, and with which exit code.

SupervisorError           exit 1: failed while running
└── InvalidSettings       exit 2: bad usage, configuration or schema
"""

from collections.abc import Sequence


class SupervisorError(Exception):
    """The supervisor cannot go on."""

    exit_code = 1


class InvalidSettings(SupervisorError):
    """The configuration cannot be used. Holds every problem, one sentence each, none of them with a secret."""

    exit_code = 2

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)
