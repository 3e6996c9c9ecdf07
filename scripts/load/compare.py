"""A run against an earlier one: what became worse; pure.

Runs that replayed different things are refused. Processor time is compared as a share of the bare loop's where both
runs have it, because it says how fast the machine was. Each rule has a slack in the figure's own unit: a difference
no larger is chance, however large its ratio.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from scripts.load.results import Figures, Run, Step
from scripts.load.words import number

YARDSTICK = "floor"
SAME = ("scenario", "seed", "from_minute", "to_minute", "time_scale", "children", "message_kb", "limit_mb")


class NotComparable(ValueError):
    """The runs replayed different things; the message names all differences."""


@dataclass(frozen=True, slots=True)
class Change:
    """One figure in both runs. who: the worker's title. ratio: new / old, None where old is 0."""

    who: str
    label: str
    old: float
    new: float
    worse: bool

    @property
    def ratio(self) -> float | None:
        return self.new / self.old if self.old else None


@dataclass(frozen=True, slots=True)
class Rule:
    """When a figure is worse: above `most` times the old one or below `least` times, and by more than `slack`."""

    label: str
    most: float = float("inf")
    least: float = 0.0
    slack: float = 0.0

    def broken(self, old: float, new: float) -> bool:
        return (new > self.most * old or new < self.least * old) and abs(new - old) > self.slack


CPU = Rule("CPU s a message", most=1.15)
CPU_SHARE = Rule("CPU a message, as a share of the bare loop's", most=1.15)
LATENCY = Rule("seconds to processed, nine of ten", most=1.25, slack=1.0)
RULES: tuple[tuple[Rule, Callable[[Figures], float]], ...] = (
    (Rule("lost", most=1.0), lambda found: found.lost),
    (Rule("scored more than once", most=1.0), lambda found: found.doubled),
    (Rule("killed by the memory limit", most=1.0), lambda found: found.kills),
    (Rule("ended as a whole", most=1.0), lambda found: found.deaths),
    (Rule("processed", least=0.95), lambda found: found.processed),
    (Rule("MB (PSS) at its highest", most=1.10, slack=2.0), lambda found: found.pss_peak_mb),
    (Rule("MB (PSS) before the first message", most=1.10, slack=2.0), lambda found: found.pss_rest_mb),
    (Rule("s idle in transaction", most=1.0, slack=60.0), lambda found: found.idle_in_transaction_s),
    (
        Rule("longest s idle in transaction", most=1.0, slack=20.0),
        lambda found: found.longest_idle_in_transaction_s,
    ),
)
STEP_RULES: tuple[tuple[Rule, Callable[[Step], float]], ...] = (
    (Rule("messages a second", least=0.95), lambda step: step.processed_per_s),
    (Rule("MB (PSS) busy", most=1.10, slack=2.0), lambda step: step.pss_busy_mb),
    (Rule("MB (PSS) idle", most=1.10, slack=2.0), lambda step: step.pss_idle_mb),
    (Rule("supervisor's share of a core", most=1.25, slack=0.002), lambda step: step.supervisor_cpu_share),
)


def compare(new: Run, old: Run) -> list[Change]:
    """Set every figure that both runs have side by side. Raises NotComparable."""
    different = [
        f"{name} {getattr(old, name)} then, {getattr(new, name)} now"
        for name in SAME
        if getattr(old, name) != getattr(new, name)
    ]
    if different:
        raise NotComparable(f"not comparable: {'; '.join(different)}")
    return [*_workers(new, old), *_steps(new, old)]


def regressions(changes: list[Change]) -> list[Change]:
    """Keep what became worse."""
    return [change for change in changes if change.worse]


def text(new: Run, old: Run) -> str:
    """Say of each worker what became worse, or that nothing did. Raises NotComparable."""
    changes = compare(new, old)
    worse = regressions(changes)
    lines = [f"compared with the run of {old.started_at}:"]
    if old.machine != new.machine:
        lines.append(f"  another machine then: {old.machine}")
    lines += [f"  {who}: in one of the runs only" for who in _alone(new, old)]
    lines += [f"  WORSE  {_said(change)}" for change in worse]
    lines.append(f"  {len(changes)} figures compared, {len(worse)} worse")
    return "\n".join(lines)


def _workers(new: Run, old: Run) -> Iterator[Change]:
    before, now = ({worker.name: worker for worker in run.workers} for run in (old, new))
    scales = (_scale(old), _scale(new))
    for name in [name for name in now if name in before]:
        who, was, found = now[name].title, before[name].figures, now[name].figures
        for rule, read in RULES:
            yield _change(who, rule, read(was), read(found))
        if was.latency and found.latency:
            yield _change(who, LATENCY, was.latency.p90_s, found.latency.p90_s)
        if was.cpu_s_per_message is None or found.cpu_s_per_message is None:
            continue
        if scales[0] and scales[1] and name != YARDSTICK:
            shares = was.cpu_s_per_message / scales[0], found.cpu_s_per_message / scales[1]
            yield _change(who, CPU_SHARE, *shares)
        elif name != YARDSTICK:
            yield _change(who, CPU, was.cpu_s_per_message, found.cpu_s_per_message)


def _steps(new: Run, old: Run) -> Iterator[Change]:
    before = {step.children: step for step in old.steps}
    for step in new.steps:
        if (was := before.get(step.children)) is not None:
            for rule, read in STEP_RULES:
                yield _change(f"{step.children} children", rule, read(was), read(step))


def _change(who: str, rule: Rule, old: float, new: float) -> Change:
    return Change(who, rule.label, old, new, rule.broken(old, new))


def _scale(run: Run) -> float | None:
    return next((one.figures.cpu_s_per_message for one in run.workers if one.name == YARDSTICK), None)


def _alone(new: Run, old: Run) -> list[str]:
    before, now = ({worker.name: worker.title for worker in run.workers} for run in (old, new))
    return [(before | now)[name] for name in sorted(before.keys() ^ now.keys())]


def _said(change: Change) -> str:
    ratio = "" if change.ratio is None else f" ({change.ratio:.2f} x)"
    return f"{change.who}: {change.label} {_short(change.old)} -> {_short(change.new)}{ratio}"


def _short(value: float) -> str:
    return f"{value:.3g}" if 0 < value < 1 else number(value)
