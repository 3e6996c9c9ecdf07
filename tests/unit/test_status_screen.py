"""What `status` draws, without a terminal."""

import io
from datetime import UTC
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from supervisor.cli.screen.children import ASCII_MARKS
from supervisor.cli.screen.lines import span
from supervisor.cli.screen.picture import picture
from tests.fixtures import standings
from tests.fixtures.standings import UUID, busy, child, end, event, standing

WIDTHS = (40, 80, 130, 160)


def drawn(status: dict[str, Any], width: int = 80, **how: Any) -> list[str]:
    """Draw it as a terminal of that width without colours would show it."""
    console = Console(width=width, file=io.StringIO(), highlight=False, markup=False, emoji=False)
    with console.capture() as capture:
        console.print(picture(status, width=width, zone=UTC, **how))
    return capture.get().splitlines()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("make", [standings.good_day, standings.bad_hour, standings.hostile])
def test_no_line_is_wider_than_the_terminal(make: Any, width: int) -> None:
    """A line too long would be broken by the terminal, and the table with it."""
    assert max(cell_len(line) for line in drawn(make(), width)) <= width


def test_a_poison_message_is_named_with_its_slot_and_the_cause_of_death() -> None:
    """At 80 columns, whole: it will be pasted into another command."""
    lines = drawn(standings.bad_hour())
    row = next(place for place, line in enumerate(lines) if line.startswith("   0"))
    about = " ".join(line.strip() for line in lines[row : row + 4])
    assert "empty" in about
    assert "is filled again in 7 s" in about
    assert f"rss_hard at 338 MB, with poison-{UUID}" in about


def test_an_outage_is_told_with_what_to_do() -> None:
    """The breaker, since when, when the next call is tried; and that there is nothing to do here."""
    whole = standing([child(0)], ready=True)
    whole["supervisor"]["breaker"] = standings.bad_hour()["supervisor"]["breaker"]
    text = "\n".join(drawn(whole, 160))
    assert "OPEN for 3 m, no messages are taken: 14 calls failed in a row, the next is tried in 11 s" in text
    assert "nothing here: the Memory API has to come back" in text


def test_a_leak_shows_its_growth_and_its_weight() -> None:
    """Megabytes of the hard budget as a bar with the soft one marked, and what 100 messages leave behind."""
    leaking = child(2, rss_mb=318.0, growth_mb_per_100_messages=61.2, messages=430)
    lines = drawn(standing([leaking, child(3, rss_mb=150.0)]), 120)
    heavy, light = (next(line for line in lines if line.startswith(f"   {slot}")) for slot in (2, 3))
    assert "█████████████████··· 318" in heavy
    assert "████████········┊··· 150" in light
    assert "+61.2" in heavy
    assert "MB OF 300/375" in "\n".join(lines)
    assert "#################... 318" in "\n".join(drawn(standing([leaking]), 120, marks=ASCII_MARKS))


@pytest.mark.parametrize(
    ("phase", "note", "told", "remedy"),
    [
        ("waiting_database", "connection refused", "the database: connection refused", "check"),
        ("waiting_broker", "", "waits for the broker", "check"),
        ("waiting_schema", "version 7, 8 needed", "version 7, 8 needed", "migrate"),
    ],
)
def test_who_waits_says_for_what(phase: str, note: str, told: str, remedy: str) -> None:
    """With a message in hand or without, and the command that helps stands above."""
    idle = child(0, "waiting", phase=phase, note=note)
    holding = busy(1, 700.0, "c-1", phase=phase, note=note, message_worked_s=8.0)
    text = "\n".join(drawn(standing([idle, holding], ready=False, not_ready="0 of 2"), 160))
    assert text.count(told) == 2
    assert "c-1, 2.9 MB, has waited 11 m; waits for" in text
    assert "8/90 s" in text
    assert f"to do       friendship-supervisor {remedy}" in text
    assert "NOT READY: 0 of 2" in text


def test_what_keeps_all_of_them_waiting_is_told_once() -> None:
    """Above: an outage has the same words for every child."""
    rows = [child(slot, "waiting", phase="waiting_broker", note="refused") for slot in range(8)]
    lines = drawn(
        standing(rows, ready=False, not_ready="0 of 8 children are ready: waiting for the broker (refused)")
    )
    assert "\n".join(lines).count("refused") == 1
    assert sum("waits for the broker" in line for line in lines) == 8


def test_nothing_from_outside_is_obeyed() -> None:
    """Neither by a terminal nor by rich: ids, notes and host names are what strangers wrote."""
    text = "\n".join(drawn(standings.hostile(), 160))
    assert "\\u001b[2J\\u001b]0;owned\\u0007[bold red]x[/]\\n\\r\\u202eevil\\u009b31m" in text
    assert "[link=http://x]\\u001b[31mno[/link]" in text
    assert all(letter.isprintable() for letter in text.replace("\n", ""))


def test_events_are_told_newest_last_with_what_matters_first() -> None:
    """Ten at most; a clock time, with the date where it is another day's; a mark beside the bad ones."""
    told = standing([child(0)])
    told["events"] = [
        event(2 * 86_400, "info", "reloading", children=8),
        *(event(100 - number, "info", "child_exited", pid=1, slot=number) for number in range(8)),
        event(1, "warning", "message_failed", ms=5, code="X", conversation_id="c", slot=1, pid=None),
    ]
    lines = drawn(told)[-10:]
    assert lines[0] == "09-19 14:13   reloading children=8"
    assert lines[1].split()[1:] == ["child_exited", "slot=0", "pid=1"]
    assert lines[-1] == "14:13:19    ! message_failed slot=1 conversation_id=c code=X ms=5"
    told["events"].insert(0, event(3 * 86_400, "error", "giving_up"))
    assert "giving_up" not in "\n".join(drawn(told))


@pytest.mark.parametrize("height", [10, 16, 20, 24, 30, 50])
@pytest.mark.parametrize("make", [standings.good_day, standings.bad_hour, lambda: standings.starting(64)])
def test_a_low_terminal_shows_what_matters(make: Any, height: int) -> None:
    """The state first, and no child at work goes for one that rests; the picture is never higher than the terminal."""
    status = make()
    lines = drawn(status, 80, height=height)
    assert len(lines) <= max(height, 12)
    assert "READY" in lines[1]
    if height >= 24 and len(status["children"]) == 8:
        assert [line.split()[0] for line in lines if line[:4].strip().isdigit()] == list("01234567")


def test_idle_children_go_first_and_are_counted() -> None:
    """Sixty-four on 24 lines: those at work are shown."""
    rows = [child(slot) for slot in range(64)]
    rows[40], rows[63] = busy(40, 3.0, "c-40"), child(63, "frozen")
    lines = drawn(standing(rows), 80, height=24)
    slots = {int(line.split()[0]) for line in lines if line[:4].strip().isdigit()}
    assert {40, 63} <= slots
    assert f"and {64 - len(slots)} more" in "\n".join(lines)
    assert len(drawn(standing(rows), 80)) > 64


def test_a_silence_is_told_above_what_was_last_known() -> None:
    """With the time that the picture is of."""
    first, *_, last = drawn(standings.good_day(), 120, silence="nobody answers\x1b[1m")
    assert first == "as of 14:13:20, since then: nobody answers\\u001b[1m"
    assert "child_exited" in last


def test_a_supervisor_of_another_version_is_drawn_as_far_as_it_tells() -> None:
    """Without the fields that came later."""
    told = standings.good_day()
    for name in ("ready", "not_ready", "host", "message_deadline_s", "heartbeat_age_s", "retry_every_s"):
        del told["supervisor"][name]
    for each in told["children"]:
        for name in ("phase", "note", "message_worked_s", "body_mb", "refill_in_s", "last_end"):
            del each[name]
    for name in ("rates", "queue", "events"):
        del told[name]
    text = "\n".join(drawn(told))
    assert "9,412 processed" in text
    assert UUID in text


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"heartbeat_age_s": 12.0}, "its loop has not turned for 12 s"),
        ({"last_retry_pass_s": None}, "none yet, one every 5 m"),
        ({"retry_every_s": 0}, None),
        ({"waiting_accounts": 2}, "2 of dead children wait to be written"),
    ],
)
def test_what_is_odd_about_the_whole_is_told(changes: dict[str, Any], told: str | None) -> None:
    """And what does not apply is not."""
    text = "\n".join(drawn(standing([child(0, last_end=end("killed", 5))], **changes), 160))
    assert told in text if told else "retry pass" not in text


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (-1, "0 s"),
        (0.4, "0 s"),
        (119.9, "120 s"),
        (120, "2 m"),
        (7199, "119 m"),
        (7200, "2 h"),
        (172_800, "2 d"),
    ],
)
def test_a_time_is_spelled_in_one_unit(seconds: float, told: str) -> None:
    """The largest of which there are two."""
    assert span(seconds) == told
