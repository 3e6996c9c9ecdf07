"""Runs of the load test as they might have been, made from formulas: nothing is started."""

import math

from scripts.load.results import Figures, Kind, Latency, Mark, Progress, Reading, Run, Step, WorkerResult

LIMIT_MB = 3000
FROM, TO = 30.0, 54.0
OUTAGE = 42.0
EVERY = 1 / 30  # minutes: a reading every 2 s
SCENARIO = (
    Mark(30.0, Kind.SCENARIO, "Memory API slow: p50 19 s, p90 over 60 s"),
    Mark(36.0, Kind.SCENARIO, "1 call in 10 times out"),
    Mark(42.0, Kind.SCENARIO, "every call times out"),
    Mark(42.5, Kind.SCENARIO, "twice as many logs"),
    Mark(51.5, Kind.SCENARIO, "API answers again"),
)
STEPS = tuple(
    Step(
        k,
        0.99 * k - k * k / 2000,
        float(k),
        0.002 + k / 5000,
        0.001,
        k / 50,
        9.5,
        60 + 4.1 * k,
        62 + 5.3 * k,
        k,
    )
    for k in (1, 2, 4, 8, 16, 32, 64)
)


def figures(**other: object) -> Figures:
    """Make figures of a run in which nothing went wrong, but for what is given."""
    plain: dict[str, object] = {
        "published": 700,
        "processed": 420,
        "failed": 250,
        "skipped": 20,
        "dead_lettered": 0,
        "unfinished": 10,
        "lost": 0,
        "doubled": 0,
        "processed_per_minute": 17.5,
        "processed_at_the_end": 60,
        "latency": Latency(19.4, 41.0, 58.2, 61.7),
        "redelivered": 0,
        "api_calls": 690,
        "api_waited_s": 14_000.0,
        "cpu_s_per_message": 0.0312,
        "pss_rest_mb": 92.1,
        "pss_peak_mb": 138.6,
        "rss_peak_mb": 401.0,
        "idle_in_transaction_s": 0.0,
        "longest_idle_in_transaction_s": 0.0,
        "connections_peak": 11,
        "deaths": 0,
        "kills": 0,
    }
    return Figures(**{**plain, **other})  # type: ignore[arg-type]


def supervised() -> WorkerResult:
    """Flat."""
    return WorkerResult(
        "supervised",
        "friendship-supervisor",
        None,
        figures(),
        _readings([92 + 40 * _ramp(m) + 6 * math.sin(m * 9) for m in minutes()], 9),
        _progress(processed=0.6, failed=0.35, connections=9, idle=0),
        SCENARIO,
    )


def threaded() -> WorkerResult:
    """Climb to the limit, be killed and climb again."""
    sizes, mb, ended = [], 250.0, []
    for minute in minutes():
        mb += 6 if minute < 36 else 14 if minute < OUTAGE else 60
        if mb > LIMIT_MB:
            ended.append(minute)
            mb = 250.0
        sizes.append(mb)
    deaths = [Mark(minute, kind, "exit 137") for minute in ended for kind in (Kind.KILL, Kind.DEATH)]
    return WorkerResult(
        "threaded",
        "threads, the old design",
        None,
        figures(
            processed=131,
            failed=0,
            unfinished=563,
            lost=6,
            processed_per_minute=5.5,
            processed_at_the_end=0,
            redelivered=1043,
            latency=Latency(61.0, 312.5, 421.0, 488.8),
            cpu_s_per_message=0.4121,
            pss_rest_mb=251.0,
            pss_peak_mb=2999.0,
            rss_peak_mb=3021.0,
            idle_in_transaction_s=11_420.0,
            longest_idle_in_transaction_s=240.0,
            connections_peak=22,
            deaths=len(ended),
            kills=len(ended),
        ),
        _readings(sizes, 1),
        _progress(processed=0.19, failed=0.0, connections=22, idle=10, stuck=True),
        (*SCENARIO, *deaths),
    )


def celery() -> WorkerResult:
    """Cost more, and hold."""
    return WorkerResult(
        "celery",
        "Celery",
        "5.7.0",
        figures(
            pss_rest_mb=267.0, pss_peak_mb=907.4, rss_peak_mb=1402.0, redelivered=12, cpu_s_per_message=0.109
        ),
        _readings([267 + 520 * _ramp(m) + 60 * math.sin(m * 5) for m in minutes()], 9),
        _progress(processed=0.52, failed=0.3, connections=8, idle=0),
        SCENARIO,
    )


def dramatiq() -> WorkerResult:
    """Cost more, and hold."""
    return WorkerResult(
        "dramatiq",
        "Dramatiq",
        "2.2.1",
        figures(pss_rest_mb=250.0, pss_peak_mb=601.0, rss_peak_mb=1204.0, cpu_s_per_message=0.044),
        _readings([250 + 300 * _ramp(m) + 30 * math.sin(m * 7) for m in minutes()], 17),
        _progress(processed=0.5, failed=0.33, connections=8, idle=0),
        SCENARIO,
    )


def run(*workers: WorkerResult, steps: tuple[Step, ...] = ()) -> Run:
    """Put workers through the incident."""
    return Run(
        scenario="incident",
        title="The incident of 1 January 2026: a slow Memory API, and nothing but time-outs from minute 42",
        from_minute=FROM,
        to_minute=TO,
        time_scale=0.05,
        seed=1,
        children=8,
        message_kb=3072.0,
        limit_mb=LIMIT_MB,
        limit="a control group of version 1",
        machine="Python 3.11.7, 2 CPUs (AMD EPYC), Linux 6.18, RabbitMQ 3.10, PostgreSQL 15",
        command="./scripts/load_test --scenario incident --time-scale 0.05 --workers threaded,supervised",
        started_at="2026-11-22T05:00:00Z",
        workers=workers,
        steps=steps,
    )


def minutes() -> list[float]:
    """Return the times of the readings."""
    return [FROM + n * EVERY for n in range(round((TO - FROM) / EVERY) + 1)]


def _ramp(minute: float) -> float:
    return min(1.0, max(0.0, (minute - FROM) / 2))


def _readings(sizes: list[float], processes: int) -> tuple[Reading, ...]:
    return tuple(
        Reading(minute, mb * 1.4, mb, processes, 0.4 * n / 30)
        for n, (minute, mb) in enumerate(zip(minutes(), sizes, strict=True))
    )


def _progress(
    *, processed: float, failed: float, connections: int, idle: int, stuck: bool = False
) -> tuple[Progress, ...]:
    found = []
    for minute in minutes():
        published = int(20 * (minute - FROM) + 20 * max(0.0, minute - 42.5))
        late = max(0.0, minute - OUTAGE)
        done = int(min(published, 20 * (min(minute, OUTAGE) - FROM)) * processed * 1.6)
        done += int(40 * max(0.0, minute - 51.5)) if not stuck else 0
        lapsed = int(published * failed * (0.4 + 0.6 * min(1.0, late / 4)))
        done = min(done, published - lapsed)
        held = min(8, published - done - lapsed)
        waiting = published - done - lapsed - held
        found.append(
            Progress(
                minute,
                published,
                waiting,
                {"PROCESSED": done, "FAILED": lapsed, "PROCESSING": held},
                held,
                max(1, connections - int(minute * 7) % 3),
                idle if held else 0,
            )
        )
    return tuple(found)
