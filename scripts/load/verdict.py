"""What a run says about a worker, in one sentence; pure.

1. What went wrong is said first, the worst first: killed, ended, lost, doubled, stuck, sessions left open.
2. Redeliveries alone are no fault (delivery is at least once); they are said beside a fault, as its cost.
3. Who did nothing wrong is praised for what was measured: its highest memory, and whether that is flat.
"""

from collections.abc import Iterator

from scripts.load.promises import held_open, stood_still
from scripts.load.results import Figures, Run, WorkerResult
from scripts.load.words import counted, number, times

FLAT_SHARE = 0.05  # of the limit: who never grew by more looks flat beside it


def sentence(run: Run, worker: WorkerResult) -> str:
    """Say what became of one worker."""
    faults = list(_faults(run, worker))
    if not faults:
        unfinished = worker.figures.unfinished
        rest = f"; {number(unfinished)} unfinished" if unfinished else ""
        return f"{_memory(run, worker.figures)}; nothing lost, nothing doubled{rest}"
    if worker.figures.redelivered:
        faults.append(counted(worker.figures.redelivered, "redelivery", "redeliveries"))
    return "; ".join(faults)


def _faults(run: Run, worker: WorkerResult) -> Iterator[str]:
    found = worker.figures
    if found.kills:
        yield f"killed by the memory limit {times(found.kills)}"
    if found.deaths > found.kills:
        yield f"ended {times(found.deaths - found.kills)}{' more' if found.kills else ''} by itself"
    if found.lost:
        yield f"{counted(found.lost, 'message', 'messages')} lost"
    if found.doubled:
        yield f"{counted(found.doubled, 'score', 'scores')} added more than once"
    if stood_still(run, worker):
        yield "nothing settled in the last quarter"
    if held_open(found, run.time_scale):
        yield f"transactions idle for up to {number(found.longest_idle_in_transaction_s)} s"


def _memory(run: Run, found: Figures) -> str:
    flat = found.pss_peak_mb - found.pss_rest_mb <= FLAT_SHARE * run.limit_mb
    return f"{'flat: ' if flat else ''}at most {number(found.pss_peak_mb)} MB"
