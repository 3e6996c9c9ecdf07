"""A run kept as JSON."""

from dataclasses import replace

import orjson
import pytest

from scripts.load.results import SCHEMA, Mark, Progress, Reading, Run
from scripts.load.stored import KIND, NotARun, dump, load
from tests.scripts import replayed


def everyone() -> Run:
    workers = (replayed.threaded(), replayed.supervised(), replayed.celery(), replayed.dramatiq())
    return replayed.run(*workers, steps=replayed.STEPS)


def longer(run: Run, times: int) -> Run:
    workers = tuple(
        replace(worker, readings=worker.readings * times, progress=worker.progress * times)
        for worker in run.workers
    )
    return replace(run, workers=workers)


def test_a_run_comes_back_as_it_was_kept() -> None:
    """Figures, marks and steps exactly; what was read many times, rounded to what can be told apart."""
    run = everyone()
    back = load(dump(run))
    assert replace(back, workers=()) == replace(run, workers=())
    for was, now in zip(run.workers, back.workers, strict=True):
        assert (now.figures, now.marks, now.version) == (was.figures, was.marks, was.version)
        for read, kept in zip(was.readings, now.readings, strict=True):
            assert kept.minute == pytest.approx(read.minute, abs=0.0006)
            assert kept.pss_mb == pytest.approx(read.pss_mb, abs=0.06)
        assert [row.statuses for row in now.progress] == [row.statuses for row in was.progress]


def test_keeping_it_again_changes_nothing() -> None:
    """What was read from a file is written to the same file."""
    kept = dump(everyone())
    assert dump(load(kept)) == kept


def test_a_status_that_nobody_has_at_first_is_none_then() -> None:
    """Columns are of one length: a status is 0 where it was not there."""
    progress = (Progress(1.0, 2, 2, {}, 0, 1, 0), Progress(2.0, 2, 0, {"PROCESSED": 2}, 0, 1, 0))
    run = replayed.run(replace(replayed.supervised(), progress=progress, readings=()))
    [worker] = load(dump(run)).workers
    assert [row.statuses for row in worker.progress] == [{"PROCESSED": 0}, {"PROCESSED": 2}]
    assert worker.readings == ()


def test_a_worker_of_which_nothing_was_read_is_kept() -> None:
    """One that never started has its figures and nothing else."""
    worker = replace(replayed.supervised(), readings=(), progress=(), marks=())
    assert load(dump(replayed.run(worker))).workers == (worker,)


def test_a_long_run_of_four_workers_stays_small() -> None:
    """1500 readings of each, and as many times of progress, take less than 500 kB."""
    run = longer(everyone(), 3)
    assert min(len(worker.readings) for worker in run.workers) > 1500
    assert len(dump(run)) * 1500 / len(run.workers[0].readings) < 500_000


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "no JSON"),
        (b"[1, 2]", "does not say that it is one"),
        (b'{"schema": 1}', "does not say that it is one"),
        (orjson.dumps({"kind": KIND, "schema": SCHEMA + 1}), f"this version reads schema {SCHEMA}"),
        (orjson.dumps({"kind": KIND, "schema": SCHEMA}), "'workers'"),
        (
            orjson.dumps({"kind": KIND, "schema": SCHEMA, "workers": [], "seed": "x"}),
            "not as the load test writes",
        ),
    ],
)
def test_another_file_is_refused(text: bytes, why: str) -> None:
    """The message says what is wrong with it."""
    with pytest.raises(NotARun, match=why):
        load(text)


def test_columns_of_different_lengths_are_refused() -> None:
    """A file that lost some of its numbers is not read as a shorter run."""
    plain = orjson.loads(dump(everyone()))
    plain["workers"][0]["readings"]["pss_mb"].pop()
    with pytest.raises(NotARun, match="not as the load test writes"):
        load(orjson.dumps(plain))


def test_a_number_of_the_wrong_type_is_named() -> None:
    """The message says where it stands."""
    plain = orjson.loads(dump(everyone()))
    plain["workers"][0]["figures"]["lost"] = "none"
    with pytest.raises(NotARun, match="lost"):
        load(orjson.dumps(plain))


def test_readings_are_rounded_not_cut() -> None:
    """2.96 MB are kept as 3.0."""
    reading = Reading(1.23456, 2.96, 1.04, 1, 0.019)
    worker = replace(replayed.supervised(), readings=(reading,), marks=tuple[Mark]())
    [kept] = load(dump(replayed.run(worker))).workers[0].readings
    assert kept == Reading(1.235, 3.0, 1.0, 1, 0.02)
