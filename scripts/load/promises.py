"""What a run must not show of friendship-supervisor, whatever the scenario did; pure."""

from scripts.load.results import Figures, Run, WorkerResult

OURS = "supervised"
SETTLED = ("PROCESSED", "FAILED", "SKIPPED")
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


def stood_still(run: Run, worker: WorkerResult) -> bool:
    """Tell whether, with work left, no more events were settled, well or badly, in the last quarter.

    Where every call times out nobody processes anything; but who marks what failed, and goes on, does not stand still.
    """
    begin = run.to_minute - (run.to_minute - run.from_minute) / 4
    settled = [
        sum(row.statuses.get(status, 0) for status in SETTLED)
        for row in worker.progress
        if begin <= row.minute <= run.to_minute
    ]
    return bool(worker.figures.unfinished) and len(settled) > 1 and settled[-1] <= settled[0]


def broken(run: Run, result: WorkerResult) -> list[str]:
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
                held_open(figures, run.time_scale),
                "transactions were held open while nothing was done in them",
            ),
            (not figures.processed, "nothing was processed"),
            (stood_still(run, result), "nothing was settled in the last quarter, with messages left"),
        )
        if failed
    ]
