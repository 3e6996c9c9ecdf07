"""The page's own derivations: pure functions of a status, asked for in the browser that runs them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.browser import scenes
from tests.browser.standin import StandIn
from tests.browser.tab import Tab

pytestmark = pytest.mark.full


@pytest.fixture(scope="module")
def tab(browser: Any) -> Iterator[Tab]:
    """Give one page whose functions every test here asks."""
    calm = scenes.calm()
    standin = StandIn(calm, scenes.history(calm))
    tab = Tab(browser, standin.url).live()
    yield tab
    tab.close()
    standin.stop()
    assert tab.complaints == []


@pytest.fixture
def told(tab: Tab) -> Callable[[dict[str, Any]], list[str]]:
    """Give the sentences of a status, the gravest first: "bad: Slot 3 was ..."."""

    def tell(status: dict[str, Any]) -> list[str]:
        whole = "status => findings(complete(status)).map(one => `${one.level}: ${plain(one.what)}`)"
        sentences: list[str] = tab.ask(whole, status)
        return sentences

    return tell


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("duration(0)", "0 s"),
        ("duration(90)", "90 s"),
        ("duration(192)", "3 min 12 s"),
        ("duration(7500)", "2 h 5 min"),
        ("duration(3 * 86400 + 4 * 3600)", "3 d 4 h"),
        ("duration(null)", "?"),
        ("roughly(124)", "2 min"),
        ("roughly(90000)", "25 h"),
        ("clock(1767225845)", "00:04:05"),
        ("[1, 2, 5].map(times)", ["once", "twice", "5 times"]),
        ("plural(1, 'child', 'children') + ', ' + plural(1200, 'message')", "1 child, 1,200 messages"),
        ("mb(3.04) + ' ' + mb(271.4) + ' ' + mb(null)", "3 271 ?"),
        ("signed(-1.26) + ' ' + signed(0.04) + ' ' + signed(612)", "\u22121.3 +0 +612"),
        ("plain(listed(['a', 'b', 'c']))", "a, b and c"),
        ("plain(tallied(new Map([['x', 1], ['y', 3]])))", "y (3) and x (1)"),
        ("plain(tallied(new Map([['x', 4]])))", "x"),
        ("visible('a\\u202eb\\u0000')", "a\u27e8202E\u27e9b\u27e80000\u27e9"),
        ("visible('\\u0645\\u200c\\u0631')", "\u0645\u200c\u0631"),
        ("throughput([0, 1, 2, 5, 5, 9], 2)", [1, 4, 4]),
        ("throughput([null, 3], 2)", [0]),
        ("overBudget(301, {rss_budget_mb: 300, rss_hard_mb: 375})", "warn"),
        ("overBudget(360, {rss_budget_mb: 300, rss_hard_mb: 375})", "bad"),
        ("overBudget(null, {rss_budget_mb: 300, rss_hard_mb: 375})", ""),
        ("lateness(74, 90) + lateness(71, 90) + lateness(90, 90) + lateness(5, 0)", "warnbad"),
    ],
)
def test_values_become_words(tab: Tab, expression: str, expected: object) -> None:
    """A number reads as people say it."""
    assert tab.ask(expression) == expected


def test_a_sparkline_keeps_its_gaps_and_its_budgets(tab: Tab) -> None:
    """A gap ends the line, the newest reading is at the right, and the hard budget is above the soft one."""
    drawn = tab.ask("sparkline([50, 60, null, 70, 80], 300, 375)")
    assert drawn["trace"].count("M") == 2
    assert drawn["now"].startswith("M149.5 ")
    assert 0 <= drawn["hardY"] < drawn["softY"] < 34
    assert tab.ask("sparkline([50, null], 300, 375).now") == ""
    assert tab.ask("sparkline([900], 300, 375).trace").startswith("M149.5 0")
    assert tab.ask("inWords([50, null, 60.4], 2, 300, 375)") == (
        "RSS in 6 s: lowest 50, highest 60, now 60 MB; soft budget 300, hard 375"
    )


def test_history_takes_a_sample_when_its_time_has_come(tab: Tab) -> None:
    """Frames between two samples add nothing, missed ones leave gaps, and so does a child that was replaced."""
    first = {"as_of": 100, "totals": {"processed": 5}, "children": [{"slot": 0, "pid": 7, "rss_mb": 50}]}
    start = {"every_s": 2, "rss_mb": {"0": [48, 49]}, "processed": [3, 4], "at": None, "pids": {}}
    one = tab.ask("([history, status]) => sampled(history, status)", [start, first])
    assert one["rss_mb"]["0"] == [48, 49, 50]
    assert tab.ask("([h, s]) => sampled(h, s).processed", [one, first | {"as_of": 101}]) == [3, 4, 5]
    late = first | {
        "as_of": 106,
        "children": [{"slot": 0, "pid": 8, "rss_mb": 40}, {"slot": 1, "pid": 9, "rss_mb": 41}],
    }
    two = tab.ask("([h, s]) => sampled(h, s)", [one, late])
    assert two["rss_mb"]["0"] == [48, 49, None, None, None, 40]
    assert two["rss_mb"]["1"] == [None, None, None, None, None, 41]
    assert two["processed"] == [3, 4, 5, None, None, 5]
    often = """history => {
        const child = {slot: 0, pid: 1, rss_mb: 9};
        for (let n = 1; n < 400; n++)
            history = sampled(history, {as_of: 2 * n, totals: {processed: n}, children: [child]});
        return history }"""
    long = tab.ask(often, start)
    assert len(long["rss_mb"]["0"]) == len(long["processed"]) == 150


def test_a_leak_is_told_by_slot_reason_and_conversation(told: Callable[[dict[str, Any]], list[str]]) -> None:
    """Children of one slot that end again and again, each with another conversation, are no poison message."""
    assert told(scenes.leak()) == [
        "bad: Slot 3 was replaced 4 times in 10 min, reason rss_soft (3) and rss_hard (1), last conversation c-903."
    ]


def test_a_leak_everywhere_is_one_sentence(told: Callable[[dict[str, Any]], list[str]]) -> None:
    """More than three slots are told together, and the worst of them by name."""
    events = [one for n in range(12) for one in scenes.replaced(500 - 40 * n, n % 6, 4200 + n, "rss_soft")]
    sentences = told(scenes.status([scenes.child(n) for n in range(6)], events))
    assert sentences == ["warn: 6 slots were replaced 12 times in 10 min, reason rss_soft."]


def test_an_outage_is_told_first(told: Callable[[dict[str, Any]], list[str]]) -> None:
    """With the breaker open its failures are no news of their own."""
    assert told(scenes.outage()) == ["bad: The Memory API is down: no child takes a message."]


def test_a_poison_message_is_told_by_its_conversation(told: Callable[[dict[str, Any]], list[str]]) -> None:
    """Two children of the same conversation are one sentence, with both slots, and its failure none of its own."""
    assert told(scenes.poison()) == [
        "bad: Conversation c-17 killed 2 children, in slot 3 and slot 5, reason rss_hard."
    ]


def test_a_first_death_is_a_warning(told: Callable[[dict[str, Any]], list[str]]) -> None:
    """One child that died of its message may have a second."""
    events = scenes.replaced(95, 3, 4103, "crashed", conversation_id="c-17", signal=11, exit=None)
    assert told(scenes.status([scenes.child(n) for n in range(4)], events)) == [
        "warn: Conversation c-17 killed the child of slot 3, reason crashed."
    ]


def test_the_last_end_of_a_slot_speaks_where_its_event_has_gone(
    told: Callable[[dict[str, Any]], list[str]],
) -> None:
    """Fifty later events may have pushed a death out of the list; its slot still knows it."""
    ends = [scenes.last_end(ago, "rss_hard", 900 + ago, "c-17", 370.0) for ago in (30, 60)]
    children = [scenes.child(n, restarts=1, last_end=end) for n, end in enumerate(ends)]
    assert told(scenes.status(children)) == [
        "bad: Conversation c-17 killed 2 children, in slot 1 and slot 0, reason rss_hard."
    ]


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        (
            {"supervisor": {"heartbeat_age_s": 40.0}},
            "bad: The supervisor's loop stands still: children are not watched.",
        ),
        ({"supervisor": {"state": "stopping"}}, "warn: The supervisor is stopping."),
        ({"supervisor": {"waiting_accounts": 2}}, "warn: 2 accounts of dead children are not written yet."),
        (
            {"supervisor": {"last_retry_pass_s": 4000.0}},
            "warn: The retry pass does not succeed: what failed is not tried again.",
        ),
        ({"queue": {"error": "refused"}}, "warn: The queue's depth is not known."),
        ({"queue": {"dead": 1}}, "note: 1 message in the dead-letter queue."),
    ],
)
def test_other_troubles_have_a_sentence(
    told: Callable[[dict[str, Any]], list[str]], parts: dict[str, Any], sentence: str
) -> None:
    """What is wrong with the supervisor itself, its errands or its queue is said."""
    assert told(scenes.status([scenes.child(0)], **parts)) == [sentence]


def test_troubles_of_a_child_have_a_sentence(told: Callable[[dict[str, Any]], list[str]]) -> None:
    """A server that is away, a slot that cannot be filled, a late message and a failure are said, with the slot."""
    children = [
        scenes.child(0, message_worked_s=80.0),
        scenes.child(1, "waiting", phase="waiting_database", note="connection refused"),
        scenes.empty_slot(2, refill_in_s=8.0, last_end=scenes.last_end(3, "crashed", 9, None, None)),
    ]
    events = [scenes.failed(50, 0, "c-9", "MEMORY_API_REJECTED")]
    assert told(scenes.status(children, events)) == [
        "bad: Slot 2 is empty: its children end too soon after their start, reason crashed.",
        "warn: Slot 1 waits for the database.",
        "warn: Slot 2 was replaced at 00:04:02, reason crashed.",
        "warn: Slot 0 is close to the message deadline with conversation c-4711.",
        "warn: One message failed: MEMORY_API_REJECTED, slot 0, conversation c-9.",
    ]


def test_a_quiet_hour_says_so(tab: Tab) -> None:
    """Nothing wrong is one calm sentence; an old failure is none."""
    first = (
        "status => { const v = verdict(complete(status)); return [v.level, plain(v.what), v.others.length] }"
    )
    said = tab.ask(first, scenes.calm())
    assert said == ["well", "All is well: 8 of 8 children ready.", 0]
