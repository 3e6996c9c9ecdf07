"""The runbook is held to the code: every event and every alert stands in it, and nothing that is not there."""

import re
from pathlib import Path

import pytest

from supervisor.cli import COMMANDS
from tests.fixtures.logged import Logged, all_events

ROOT = Path(__file__).resolve().parents[2]
RUNBOOK = (ROOT / "docs" / "operations.md").read_text()
ALERTS = (ROOT / "deploy" / "prometheus" / "rules.yaml").read_text()
SIGNED = frozenset({"slot", "pid", "what"})
"""Every line of a child or helper carries these; some events have them of their own."""
SOMETIMES = frozenset({"attempt"})
"""Fields that an event has only where there was a claim."""


def documented() -> dict[str, tuple[str, frozenset[str]]]:
    """Read the tables of the log: level and fields by event."""
    log = RUNBOOK.partition("## The log\n")[2]
    rows = re.findall(
        r"^\| `([a-z_]+)` \| ([a-z, ]+) \| .* \| ((?:`[a-z_]+` ?)*) ?\| [^|]*\|$", log, re.MULTILINE
    )
    return {name: (level, frozenset(re.findall(r"`([a-z_]+)`", told))) for name, level, told in rows}


LOGGED = sorted(all_events(), key=lambda event: event.name)


@pytest.mark.parametrize("event", LOGGED, ids=[event.name for event in LOGGED])
def test_an_event_is_documented_as_the_code_has_it(event: Logged) -> None:
    """Its level, and its fields by name."""
    assert event.name in documented(), f"{event.place}: docs/operations.md has no row for it"
    level, told = documented()[event.name]
    assert level == event.level, event.place
    if event.fields is not None:
        assert event.fields <= told, event.place
        assert told <= event.fields | SOMETIMES, event.place


def test_no_event_is_documented_that_is_not_there() -> None:
    """And none has two rows."""
    assert documented().keys() == {event.name for event in LOGGED}
    rows = re.findall(r"^\| `([a-z_]+)` \| (?:debug|info|warning|error)", RUNBOOK, re.MULTILINE)
    assert len(rows) == len(set(rows)) == len(documented())


def test_fields_have_one_name() -> None:
    """What says why is `reason`, everywhere: a query over events must not have to know each of them."""
    others = {"cause", "why", "error_text", "details", "message", "type", "duration", "conversation", "child"}
    for event in LOGGED:
        assert not others & (event.fields or frozenset()), event.place
        if "error" in (event.fields or frozenset()):
            assert "reason" in (event.fields or frozenset()), event.place


def test_every_alert_has_its_heading() -> None:
    """Under the name that the pager shows, and that the alert links to."""
    alerts = re.findall(r"^ *- alert: (\w+)$", ALERTS, re.MULTILINE)
    assert len(alerts) > 10
    assert sorted(re.findall(r"^### (Friendship\w+)$", RUNBOOK, re.MULTILINE)) == sorted(alerts)
    links = re.findall(r"docs/operations\.md#(\w+)", ALERTS)
    assert sorted(links) == sorted(alert.lower() for alert in alerts)


def test_its_own_links_lead_somewhere() -> None:
    """At night a dead link costs a minute."""
    headings = re.findall(r"^#+ (.*)$", RUNBOOK, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#([^)]+)\)", RUNBOOK)) <= anchors
    for file, anchor in re.findall(r"\]\(([\w./-]+\.md)(?:#([\w-]+))?\)", RUNBOOK):
        text = (ROOT / "docs" / file).read_text()
        there = {
            re.sub(r"[^\w -]", "", line.lower()).replace(" ", "-")
            for line in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
        }
        assert not anchor or anchor in there, f"{file}#{anchor}"


def test_its_commands_exist() -> None:
    """Every friendship-supervisor command that it tells to type."""
    known = set(COMMANDS)
    typed = set(re.findall(r"friendship-supervisor ([a-z]+)\b", RUNBOOK)) - {"run", "there"}
    assert typed <= known, typed - known
    assert {"status", "check", "events", "dead", "retry"} <= typed
