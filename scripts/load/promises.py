"""What a run must not show of friendship-supervisor, whatever the scenario did; pure."""

from scripts.load.results import Figures, WorkerResult

OURS = "supervised"
LONGEST_TRANSACTION_S = 1.0
"""On the clock. The longest transaction takes milliseconds; a busy machine may stop its process in the middle."""
IDLE_SHARE = 0.1
"""Of the time that calls were waited for. Who holds a transaction during its calls is idle in it for all of that."""


def held_open(figures: Figures, scale: float) -> bool:
    """Tell whether transactions were idle for longer than a busy machine explains.

    One of them for over a second on the clock; or, where a compressed call takes no second, all of them together for
    more than a share of the calls.
    """
    if figures.longest_idle_in_transaction_s * scale > LONGEST_TRANSACTION_S:
        return True
    idle_s = figures.idle_in_transaction_s
    return idle_s * scale > LONGEST_TRANSACTION_S and idle_s > IDLE_SHARE * figures.api_waited_s


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
            (held_open(figures, scale), "transactions were held open while nothing was done in them"),
            (not figures.processed, "nothing was processed"),
        )
        if failed
    ]
