"""The object of /status and the children's counters, as metric families in the text format that is asked for."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from typing import Any

from prometheus_client import exposition as plain
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector, CollectorRegistry

from supervisor.breaker import State as BreakerState
from supervisor.counters import Times, Totals
from supervisor.limits import MB

QUALITY = re.compile(r"[01](\.[0-9]{0,3})?", re.ASCII)


class Format(Enum):
    """The formats there are: media type and version as asked for, and how they are written.

    Versions 0.0.4 and 1.0.0 of the text differ in how names beyond letters and digits are written: we have none. For
    the same reason nothing is said of how names are escaped.
    """

    PLAIN = ("text/plain", "0.0.4")
    PLAIN_1 = ("text/plain", "1.0.0")
    OPEN = ("application/openmetrics-text", "1.0.0")

    @property
    def content_type(self) -> bytes:
        """Return the Content-Type that names it."""
        media_type, version = self.value
        return f"{media_type}; version={version}; charset=utf-8".encode()


UNVERSIONED = {Format.PLAIN.value[0]: Format.PLAIN, Format.OPEN.value[0]: Format.OPEN}
"""What a media type without a version means."""
RANGES = ("*/*", "text/*")
"""What stands for the plain text, unless that is named."""


def negotiated(accept: str) -> Format:
    """Choose of the formats there are the one that is wanted most; the plain text for everybody else.

    accept: the value of the Accept header. The library's choose_encoder fails on some of what a client may send, and
    sends back versions that it does not write.
    """
    wishes = [_wish(text) for text in accept.split(",")]
    named: dict[Format | None, float] = {}
    for media_type, form, quality in wishes:
        if media_type not in RANGES:
            named[form] = max(quality, named.get(form, 0.0))
    ranged = [quality for media_type, _, quality in wishes if media_type in RANGES]
    if ranged:
        named.setdefault(Format.PLAIN, max(ranged))  # last, so that of equals the one that is named wins
    wanted = [form for form in named if form and named[form] > 0]
    return max(wanted, key=named.__getitem__, default=Format.PLAIN)


def _wish(text: str) -> tuple[str, Format | None, float]:
    """Read one of the media types that a client names, and how much it is wanted (RFC 9110, 12.4.2)."""
    media_type, *rest = (part.strip().lower() for part in text.split(";"))
    told = dict(part.split("=", 1) for part in rest if "=" in part)
    quality = float(told["q"]) if QUALITY.fullmatch(told.get("q", "")) else 1.0
    if "version" not in told:
        return media_type, UNVERSIONED.get(media_type), quality
    version = told["version"].strip('"')
    return media_type, next((form for form in Format if form.value == (media_type, version)), None), quality


STATES = ("empty", "booting", "waiting", "idle", "busy", "draining", "frozen", "killed")

STEPS = {
    "fetch": (
        ("log_fetches", "Logs asked of S3, by what came of it."),
        ("log_fetch_seconds", "Time of reading one log from S3."),
    ),
    "analysis": (
        ("llm_analyses", "Conversations shown to the LLM, by what came of it."),
        ("llm_seconds", "Time of one call of the LLM."),
    ),
}
"""Families of the steps that children time by themselves: there only where the step is in use."""

Status = Mapping[str, Any]


def exposition(status: Status, totals: Totals, form: Format = Format.PLAIN) -> bytes:
    """Write all families. Gauges that are not known are absent."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once([*families(status, totals)]))
    write: Callable[[Collector], bytes] = (
        openmetrics.generate_latest if form is Format.OPEN else plain.generate_latest
    )
    return write(registry)


def families(status: Status, totals: Totals) -> Iterator[Metric]:
    """Yield every metric family there is."""
    yield from _whole(status)
    yield from _children(status)
    yield from _messages(status, totals)
    yield from _breaker(status["supervisor"]["breaker"])
    yield from _queue(status["queue"])


class _Once(Collector):
    def __init__(self, found: list[Metric]) -> None:
        self._found = found

    def collect(self) -> Iterator[Metric]:
        yield from self._found


def _gauge(name: str, text: str, value: float | None) -> Iterator[Metric]:
    if value is not None:
        yield GaugeMetricFamily(f"friendship_{name}", text, value=value)


def _by(kind: type[Any], name: str, text: str, label: str, values: Mapping[Any, float]) -> Metric:
    family = kind(f"friendship_{name}", text, labels=[label])
    for key, value in values.items():
        family.add_metric([str(key)], value)
    metric: Metric = family
    return metric


def _whole(status: Status) -> Iterator[Metric]:
    whole = status["supervisor"]
    yield _by(GaugeMetricFamily, "build_info", "The version that runs.", "version", {whole["version"]: 1})
    yield from _gauge("start_time_seconds", "When the supervisor started, since 1970.", whole["started_at"])
    yield from _gauge("ready", "1 when every child is ready.", int(whole["ready"]))
    yield from _gauge(
        "heartbeat_age_seconds", "Since the supervisor's loop last turned.", whole["heartbeat_age_s"]
    )
    yield from _gauge("rss_budget_bytes", "The soft budget of one child.", whole["rss_budget_mb"] * MB)
    yield from _gauge("rss_hard_bytes", "The hard budget of one child.", whole["rss_hard_mb"] * MB)
    yield from _gauge(
        "message_deadline_seconds",
        "A child longer than this on one message is killed.",
        whole["message_deadline_s"],
    )
    yield from _gauge(
        "retry_every_seconds", "Pause between two retry passes; 0: cron's.", whole["retry_every_s"]
    )
    yield from _gauge(
        "retry_pass_age_seconds", "Since the last retry pass that succeeded.", whole["last_retry_pass_s"]
    )
    yield from _gauge("accounts_waiting", "Accounts of the dead not written yet.", whole["waiting_accounts"])
    yield CounterMetricFamily(
        "friendship_boot_failures",
        "Children that ended before they were ready.",
        value=whole["boot_failures"],
    )


def _children(status: Status) -> Iterator[Metric]:
    children = status["children"]
    yield from _gauge("children_target", "Children to keep running.", status["supervisor"]["children_target"])
    states = Counter(child["state"] for child in children)
    counts = {state: states[state] for state in STATES}
    yield _by(GaugeMetricFamily, "children", "Children by state.", "state", counts)
    sizes = {child["slot"]: child["rss_mb"] * MB for child in children if child["rss_mb"] is not None}
    yield _by(GaugeMetricFamily, "child_rss_bytes", "Resident memory of a slot's child.", "slot", sizes)
    ages = {child["slot"]: child["message_age_s"] for child in children}
    yield _by(GaugeMetricFamily, "child_message_age_seconds", "Age of the message in hand.", "slot", ages)
    backing_off = sum(1 for child in children if child["refill_in_s"])
    yield from _gauge("slots_backing_off", "Slots that wait before their next child.", backing_off)
    restarts = status["totals"]["restarts"]
    yield _by(CounterMetricFamily, "restarts", "Children replaced, by reason.", "reason", restarts)


def _messages(status: Status, totals: Totals) -> Iterator[Metric]:
    yield _by(CounterMetricFamily, "messages", "Deliveries settled, by outcome.", "outcome", totals.outcomes)
    yield _by(CounterMetricFamily, "failures", "Deliveries failed, by error code.", "code", totals.failures)
    calls = status["totals"]["calls"]
    yield _by(CounterMetricFamily, "memory_api_calls", "Calls of the Memory API.", "result", calls)
    yield _times("message_seconds", "From a message's receipt until it was settled.", totals.message)
    yield _times("memory_api_seconds", "Time of one call of the Memory API.", totals.call)
    for name, step in totals.steps.items():
        counted, timed = STEPS[name]
        yield _by(CounterMetricFamily, *counted, "result", step.results)
        yield _times(*timed, step.times)


def _times(name: str, text: str, times: Times) -> Metric:
    buckets = [("+Inf" if bound is None else str(bound), float(count)) for bound, count in times.cumulative()]
    return HistogramMetricFamily(f"friendship_{name}", text, buckets=buckets, sum_value=times.sum_s)


def _breaker(breaker: Mapping[str, Any]) -> Iterator[Metric]:
    states = {state.value: int(breaker["state"] == state.value) for state in BreakerState}
    yield _by(GaugeMetricFamily, "breaker_state", "1 for the state that it is in.", "state", states)
    yield from _gauge(
        "breaker_open_seconds", "Since when no messages are taken; 0: closed.", breaker["open_s"]
    )


def _queue(queue: Mapping[str, Any]) -> Iterator[Metric]:
    yield from _gauge("queue_up", "1 when the broker answered of late.", int(queue["error"] is None))
    yield from _gauge("queue_ready_messages", "Messages ready in the queue.", queue["ready"])
    yield from _gauge(
        "queue_unacked_messages", "Messages that this supervisor's children hold.", queue["unacked"]
    )
    yield from _gauge("queue_consumers", "Consumers of the queue, on all hosts.", queue["consumers"])
    yield from _gauge("dead_letters_ready_messages", "Messages in the dead-letter queue.", queue["dead"])
