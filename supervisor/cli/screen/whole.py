"""The whole in a few facts: its state and what to do, breaker, queue, counts, the retry pass."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.text import Text

from supervisor.cli.screen.lines import BAD, DIM, GOOD, HEAD, ODD, SEVERAL_S, span, wrapped
from supervisor.cli.screen.shape import Status

MOST_COUNTS = 30
"""Kinds that are counted, the largest first: we have fewer."""


def facts(status: Status, width: int) -> Iterator[list[Text]]:
    """Give the lines of each fact."""
    whole, totals = status["supervisor"], status["totals"]
    title = Text.assemble(
        ("friendship-supervisor", HEAD),
        f" {whole['version']} on {whole.get('host', 'this host')}, pid {whole['pid']}, "
        f"up {span(whole['uptime_s'])}",
    )
    yield list(wrapped(title, width, indent=2))
    pairs = [
        ("state", _state(status)),
        ("to do", _remedy(status)),
        ("breaker", _breaker(whole["breaker"])),
        ("queue", _queue(status.get("queue"))),
        ("messages", _messages(totals, status.get("rates"))),
        ("failures", _counted(totals.get("failures", {}), ODD)),
        ("replaced", _counted(totals["restarts"], "")),
        ("retry pass", _retry_pass(whole)),
        ("accounts", _accounts(whole.get("waiting_accounts", 0))),
    ]
    for name, value in pairs:
        if value:
            yield list(wrapped(value, width, indent=12, lead=Text.assemble((f"{name:<12}", DIM))))


def _state(status: Status) -> Text:
    whole, children = status["supervisor"], status["children"]
    if whole.get("ready"):
        busy = sum(child["state"] == "busy" for child in children)
        text = Text.assemble(("READY", f"{GOOD} bold"), f", {len(children)} children, {busy} busy")
    else:
        text = Text.assemble(("NOT READY", BAD), f": {whole.get('not_ready') or whole['state']}")
    silent_s = whole.get("heartbeat_age_s") or 0.0
    if silent_s > SEVERAL_S:
        text.append(f"; its loop has not turned for {span(silent_s)}", BAD)
    return text


def _remedy(status: Status) -> Text:
    """Say what a person can do about it, if there is anything."""
    phases = {child.get("phase") for child in status["children"]}
    if "waiting_schema" in phases:
        return Text("friendship-supervisor migrate", HEAD)
    if phases & {"waiting_database", "waiting_broker"} or any(
        child.get("note") for child in status["children"]
    ):
        return Text.assemble(
            ("friendship-supervisor check", HEAD), " says what is away; meanwhile no message is lost"
        )
    if status["supervisor"]["breaker"]["state"] != "closed":
        return Text("nothing here: the Memory API has to come back; messages stay in the queue")
    if any(child["state"] == "empty" and child.get("refill_in_s") for child in status["children"]):
        return Text("see child_exited in the log: its reason is why the slot waits to be filled")
    return Text()


def _breaker(breaker: Mapping[str, Any]) -> Text:
    if breaker["state"] == "closed":
        failed = breaker.get("failed_in_a_row", 0)
        text = Text("closed")
        return text.append(f", the last {failed} calls failed", ODD) if failed > 1 else text
    text = Text(
        f"{breaker['state'].replace('_', ' ').upper()} for {span(breaker['open_s'])}, no messages are taken",
        BAD,
    )
    text.append(f": {breaker['failed_in_a_row']} calls failed in a row")
    if breaker.get("next_probe_in_s") is not None:
        text.append(f", the next is tried in {span(breaker['next_probe_in_s'])}")
    return text


def _queue(queue: Mapping[str, Any] | None) -> Text:
    if queue is None:
        return Text()
    text = Text(f"{queue['name']}: " if queue["name"] else "")
    if queue.get("error"):
        return text.append(f"unknown, {queue['error']}", ODD)
    counts = [
        f"{count:,} {what}"
        for name, what in (("ready", "ready"), ("unacked", "in hand here"), ("consumers", "consumers"))
        if (count := queue.get(name)) is not None
    ]
    text.append(", ".join(counts))
    if queue.get("dead") is not None:
        text.append(", ").append(f"{queue['dead']:,} in .dead", ODD if queue["dead"] else "")
    return text


def _messages(totals: Mapping[str, Any], rates: Mapping[str, Any] | None) -> Text:
    text = Text(f"{totals['processed']:,} processed, ")
    text.append(f"{totals['failed']:,} failed", ODD if totals["failed"] else "")
    for name in ("skipped", "dead_lettered", "duplicate", "early", "fenced"):
        if totals.get(name):
            text.append(f", {totals[name]:,} {name.replace('_', '-')}")
    if rates:
        text.append(
            f"; a minute {rates['processed_per_min']:g} processed, {rates['failed_per_min']:g} failed"
        )
    return text


def _counted(counts: Mapping[str, int], style: str) -> Text:
    largest_first = sorted(((count, name) for name, count in counts.items() if count), reverse=True)
    told = [f"{name} {count:,}" for count, name in largest_first[:MOST_COUNTS]]
    return Text(", ".join(told if len(told) == len(largest_first) else [*told, "…"]), style)


def _retry_pass(whole: Mapping[str, Any]) -> Text:
    every_s, last_s = whole.get("retry_every_s"), whole.get("last_retry_pass_s")
    if not every_s:
        return Text()
    if last_s is None:
        return Text(f"none yet, one every {span(every_s)}")
    return Text(f"{span(last_s)} ago, one every {span(every_s)}", ODD if last_s > 3 * every_s else "")


def _accounts(waiting: int) -> Text:
    return Text(f"{waiting} of dead children wait to be written", ODD) if waiting else Text()
