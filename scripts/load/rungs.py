"""The steps of the scenario that adds children, as a table and as what each further child adds; pure."""

import statistics
from collections.abc import Callable, Sequence

from scripts.load.results import Step
from scripts.load.words import number

COLUMNS = (
    "children",
    "messages a s",
    "of possible",
    "parent CPU",
    "when idle",
    "machine CPU",
    "ms a message",
    "PSS idle, MB",
    "PSS busy, MB",
    "database sessions",
)


def cells(step: Step) -> tuple[str, ...]:
    """Write one step's figures, in the order of COLUMNS. Processor shares are of one core."""
    return (
        str(step.children),
        number(step.processed_per_s),
        f"{of_possible(step):.2f}",
        f"{step.supervisor_cpu_share:.2%}",
        f"{step.supervisor_idle_cpu_share:.2%}",
        f"{step.machine_cpu_share:.0%}",
        number(step.cpu_ms_per_message),
        number(step.pss_idle_mb),
        number(step.pss_busy_mb),
        str(step.connections),
    )


def of_possible(step: Step) -> float:
    """Return the throughput as a share of what calls alone would allow; 0 where that is not known."""
    return step.processed_per_s / step.most_per_s if step.most_per_s else 0.0


def per_child(steps: Sequence[Step], read: Callable[[Step], float]) -> float | None:
    """Return what each further child adds: the slope of the line through the steps; None for fewer than two."""
    if len({step.children for step in steps}) < 2:
        return None
    line = statistics.linear_regression([step.children for step in steps], [read(step) for step in steps])
    return line.slope


def sentence(steps: Sequence[Step]) -> str:
    """Say how far the most children came, and what each further one costs."""
    most = max(steps, key=lambda step: step.children)
    said = [
        f"{most.children} children process {number(most.processed_per_s)} messages a second",
        f"that is {of_possible(most):.2f} of what is possible",
        f"the supervisor takes {most.supervisor_cpu_share:.1%} of a core",
    ]
    if (busy := per_child(steps, lambda step: step.pss_busy_mb)) is not None:
        said.append(f"each further busy child adds {number(busy)} MB")
    return "; ".join(said)
