"""From what was seen of one worker to its figures; pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scripts.load.clock import Clock
from scripts.load.ledger import Fate, Ledger
from scripts.load.probe import Sessions
from scripts.load.results import Figures, Reading
from scripts.load.sampler import Sample
from scripts.measure import MB

LAST_PART = 0.75


@dataclass(frozen=True, slots=True)
class Seen:
    """One worker's run, as it was read. published: seconds since 1970 by id; changes: what each must score.

    rest: samples before the first message. api_waited_s: on the clock. ended_at: seconds since 1970, at the scenario's
    last minute; what is processed a little later has its fate, but counts for no rate.
    """

    ledger: Ledger
    published: Mapping[str, float]
    changes: Mapping[str, float]
    rest: Sequence[Sample]
    samples: Sequence[Sample]
    sessions: Sessions
    redelivered: int
    api_calls: int
    api_waited_s: float
    deaths: int
    kills: int
    ended_at: float


def summarise(seen: Seen, clock: Clock, to_minute: float) -> Figures:
    """Count what became of the messages, and what it cost."""
    fates = seen.ledger.fates(seen.published)
    minutes = to_minute - clock.from_minute
    last_s = (1 - LAST_PART) * (clock.at(to_minute) - clock.began)
    settled = fates[Fate.PROCESSED] + fates[Fate.FAILED] + fates[Fate.SKIPPED]
    cpu_s = seen.samples[-1].cpu_s - seen.rest[-1].cpu_s
    return Figures(
        published=len(seen.published),
        processed=fates[Fate.PROCESSED],
        failed=fates[Fate.FAILED],
        skipped=fates[Fate.SKIPPED],
        dead_lettered=fates[Fate.DEAD_LETTERED],
        unfinished=fates[Fate.UNFINISHED],
        lost=fates[Fate.LOST],
        doubled=seen.ledger.doubled(seen.changes),
        processed_per_minute=round(seen.ledger.processed_between(0, seen.ended_at) / minutes, 2),
        processed_at_the_end=seen.ledger.processed_between(seen.ended_at - last_s, seen.ended_at),
        latency=seen.ledger.latency(seen.published, clock.scale),
        redelivered=seen.redelivered,
        api_calls=seen.api_calls,
        api_waited_s=round(clock.seconds(seen.api_waited_s), 1),
        cpu_s_per_message=round(cpu_s / settled, 4) if settled else None,
        pss_rest_mb=round(seen.rest[-1].pss_bytes / MB, 1),
        pss_peak_mb=round(max(one.pss_bytes for one in seen.samples) / MB, 1),
        rss_peak_mb=round(max(one.rss_bytes for one in seen.samples) / MB, 1),
        idle_in_transaction_s=round(clock.seconds(seen.sessions.idle_s), 1),
        longest_idle_in_transaction_s=round(clock.seconds(seen.sessions.longest_s), 1),
        connections_peak=seen.sessions.connections_peak,
        deaths=seen.deaths,
        kills=seen.kills,
    )


def reading(sample: Sample, clock: Clock) -> Reading:
    """Put a sample on the scenario's time."""
    return Reading(
        minute=round(clock.minute(sample.at), 3),
        rss_mb=round(sample.rss_bytes / MB, 1),
        pss_mb=round(sample.pss_bytes / MB, 1),
        processes=sample.processes,
        cpu_s=sample.cpu_s,
    )
