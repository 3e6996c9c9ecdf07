"""One worker through one scenario: everything that runs beside it is started, and what it found is put together."""

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic, sleep, time

from scripts.bench.contenders import Contender
from scripts.faults.container import Limit, limited
from scripts.faults.harm import LEAK
from scripts.faults.injected import TIME_SCALE
from scripts.load import ledger
from scripts.load.clock import Clock
from scripts.load.director import Director
from scripts.load.kept import Kept
from scripts.load.post import Post
from scripts.load.probe import Probe
from scripts.load.redeliveries import Redeliveries
from scripts.load.results import Kind, Mark, WorkerResult
from scripts.load.scenario import Scenario
from scripts.load.summary import Seen, reading, summarise
from scripts.measure import MB, Ground
from scripts.servers.directory import temporary_directory
from scripts.servers.stack import Stack

RESTART_AFTER_S = 10.0
"""Of the scenario: about the pause of a container's restart policy."""
RETRY_EVERY_S, LEAST_RETRY_EVERY_S = 300.0, 2.0
READY_LIMIT_S = 60.0
REST_SAMPLES = 10
LOOK_EVERY_S = 0.25
LATE_S = 20.0
"""On the clock: a busy machine may be so late with its last messages."""
HOUR_MINUTES = 60.0


@dataclass(frozen=True, slots=True)
class Setting:
    """What all workers of a run share. scale: seconds on the clock for one of the scenario."""

    scenario: Scenario
    scale: float
    seed: int
    children: int
    limit_mb: int


@dataclass(frozen=True, slots=True)
class Glimpse:
    """How a replay stands, for whoever shows it. Memory: PSS of the tree, in MB."""

    minute: float
    memory_mb: tuple[float, ...]
    published: int
    queued: int
    statuses: dict[str, int]
    idle_in_transaction: int
    ends: int
    news: Mark | None


Show = Callable[[Glimpse], None]


def replay(stack: Stack, worker: Contender, setting: Setting, show: Show) -> tuple[WorkerResult, str]:
    """Run one worker through the scenario, and count; also say how the limit was enforced.

    Raises NotReached when the worker never came up.
    """
    stack.memory_api.reset()
    ground = Ground(stack, f"load_{worker.name}", declared=not worker.declares)
    with ground, limited(setting.limit_mb * MB) as limit:
        return _replay(stack, worker, setting, show, ground, limit), limit.name


def _replay(  # noqa: PLR0913, PLR0917 - the parts of one run
    stack: Stack, worker: Contender, setting: Setting, show: Show, ground: Ground, limit: Limit
) -> WorkerResult:
    scenario, scale = setting.scenario, setting.scale
    redeliveries = Redeliveries(stack.rabbitmq)
    with temporary_directory() as directory:
        kept = Kept(
            worker.arguments(
                setting.children, faulty=scenario.faulty or (worker.own_times and setting.scale != 1.0)
            ),
            environment(ground, worker, setting),
            limit,
            directory,
            restart_after_s=RESTART_AFTER_S * scale,
        )
        with kept:
            consumers = worker.consumers(setting.children)
            kept.until(lambda: ground.consumers() >= consumers, "all consume", READY_LIMIT_S)
            fresh = len(kept.samples())
            kept.until(lambda: len(kept.samples()) >= fresh + REST_SAMPLES, "it rests", READY_LIMIT_S)
            rest, clock = kept.samples(), Clock(monotonic(), scenario.from_minute, scale)
            with (
                Director(stack, scenario, setting.seed, clock, redeliveries.keep) as director,
                Post(ground, worker, scenario, setting.seed, clock) as post,
                Probe(ground, stack.memory_api, limit, clock) as probe,
            ):
                give_up_at = clock.at(scenario.to_minute) + LATE_S
                while (now := monotonic()) < clock.at(scenario.to_minute) or (post.busy and now < give_up_at):
                    sleep(LOOK_EVERY_S)
                    for one in (kept, director, post, probe):
                        one.check()
                    probe.published = len(post.published)
                    show(_glimpse(clock, kept, director, probe))
            ended_at = time() - (monotonic() - clock.at(scenario.to_minute))
            ends, samples = list(kept.ends), kept.samples()
            # Before it is killed, which makes redeliveries of its own
            redelivered, calls = redeliveries.total(), stack.memory_api.calls().total
        seen = Seen(
            ledger=ledger.read(ground, post.published),
            published=post.published,
            changes=post.changes(),
            rest=rest,
            samples=samples,
            sessions=probe.sessions,
            redelivered=redelivered,
            api_calls=calls,
            api_waited_s=probe.api_waited_s,
            deaths=len(ends),
            kills=limit.kills(),
            ended_at=ended_at,
        )
    deaths = [
        Mark(round(clock.minute(at), 3), Kind.DEATH, f"ended with status {status}") for at, status in ends
    ]
    marks = [*director.marks, *probe.marks, *deaths]
    return WorkerResult(
        name=worker.name,
        title=worker.title,
        version=worker.version,
        figures=summarise(seen, clock, scenario.to_minute),
        readings=tuple(reading(one, clock) for one in samples),
        progress=tuple(probe.progress),
        marks=tuple(sorted(marks, key=lambda mark: mark.minute)),
    )


def environment(ground: Ground, worker: Contender, setting: Setting) -> dict[str, str]:
    """Return what a worker is told: the servers, and its own times on the compressed clock."""
    scenario, scale = setting.scenario, setting.scale
    variables = ground.environment | worker.variables(setting.children)
    variables |= {
        "MEMORY_API_TIMEOUT_SECONDS": f"{worker.api_timeout_s * scale:g}",
        "BENCH_TIME_SCALE": f"{scale:g}",
        TIME_SCALE: f"{scale:g}",
        LEAK: f"{scenario.leak_mb:g}",
    }
    if scenario.retry_after_minutes is not None:
        variables |= {
            "RETRY_BASE_HOURS": f"{scenario.retry_after_minutes / HOUR_MINUTES * scale:g}",
            "FRIENDSHIP_RETRY_EVERY": f"{max(LEAST_RETRY_EVERY_S, RETRY_EVERY_S * scale):g}",
        }
    return variables


def _glimpse(clock: Clock, kept: Kept, director: Director, probe: Probe) -> Glimpse:
    now = probe.progress[-1] if probe.progress else None
    marks = sorted([*director.marks, *probe.marks], key=lambda mark: mark.minute)
    return Glimpse(
        minute=clock.minute(monotonic()),
        memory_mb=tuple(one.pss_bytes / MB for one in kept.samples()),
        published=probe.published,
        queued=now.queued if now else 0,
        statuses=now.statuses if now else {},
        idle_in_transaction=now.idle_in_transaction if now else 0,
        ends=len(kept.ends),
        news=marks[-1] if marks else None,
    )
