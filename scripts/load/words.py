"""Numbers and counts as a reader wants them; pure."""

from scripts.load.results import Run


def hands(run: Run) -> str:
    """Say how many messages a worker can have at work at one time."""
    threads = any(worker.name.startswith("threaded") for worker in run.workers)
    return f"{run.children} children{' (old worker: ten threads)' if threads else ''}"


def number(value: float | None) -> str:
    """Write a figure with as many digits as mean something; `-` for none."""
    if value is None:
        return "-"
    if isinstance(value, int) or value >= 99.95:
        return f"{value:,.0f}"
    return f"{value:.1f}"


def times(count: int) -> str:
    """Say how often."""
    return {1: "once", 2: "twice"}.get(count, f"{count:,} times")


def counted(count: int, one: str, many: str) -> str:
    """Say how many."""
    return f"{count:,} {one if count == 1 else many}"


def size(kb: float) -> str:
    """Write a message's size; kb: units of 2^10 bytes."""
    return f"{kb / 1024:.3g} MB" if kb >= 1024 else f"{kb:.3g} kB"
