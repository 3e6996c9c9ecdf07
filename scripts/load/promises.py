"""What a run must not show of friendship-supervisor, whatever the scenario did; pure."""

from scripts.load.results import Figures, WorkerResult

OURS = "supervised"
LONGEST_TRANSACTION_S = 1.0
"""On the clock. The longest transaction takes milliseconds; what is seen is bounded by how often it is looked at."""


def broken(result: WorkerResult, scale: float) -> list[str]:
    """Name the promises that a run broke; none of another worker's run: those promise nothing."""
    if result.name != OURS:
        return []
    figures = result.figures
    return [
        text
        for failed, text in (
            (figures.lost, f"{figures.lost} messages lost"),
            (figures.doubled, f"{figures.doubled} conversations counted twice"),
            (figures.deaths, f"the supervisor ended {figures.deaths} times"),
            (figures.kills, f"the memory limit killed {figures.kills} processes"),
            (
                _idle_s(figures, scale) > LONGEST_TRANSACTION_S,
                "a session was idle in a transaction for over 1 s",
            ),
            (not figures.processed, "nothing was processed"),
        )
        if failed
    ]


def _idle_s(figures: Figures, scale: float) -> float:
    return figures.longest_idle_in_transaction_s * scale
