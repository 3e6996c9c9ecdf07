"""The page's own derivations: pure functions of a status, asked for in the browser that runs them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.browser import scenes
from tests.browser.standin import StandIn
from tests.browser.tab import Tab

pytestmark = pytest.mark.full

Told = Callable[[dict[str, Any]], list[str]]


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


def spaced(text: str) -> str:
    """Give a text with plain spaces in the place of those that hold a value and its unit together."""
    return text.replace("\u00a0", " ").replace("\u2060", "")


@pytest.fixture
def told(tab: Tab) -> Told:
    """Give the sentences of a status, the gravest first: "bad: Slot 3 was ..."."""

    def tell(status: dict[str, Any]) -> list[str]:
        whole = "status => findings(complete(status)).map(one => `${one.level}: ${plain(one.what)}`)"
        sentences: list[str] = tab.ask(whole, status)
        return [spaced(one) for one in sentences]

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
        ("clock(1767225845)", "00:04:05"),
        ("[1, 2, 5].map(times).join()", "once,twice,5 times"),
        ("plural(1, 'child', 'children') + ', ' + plural(1200, 'message')", "1 child, 1,200 messages"),
        ("mb(3.04) + ' ' + mb(271.4) + ' ' + mb(null)", "3 271 ?"),
        ("signed(-1.26) + ' ' + signed(0.04) + ' ' + signed(719.6)", "\u22121.3 0 +720"),
        ("[0, 0.4, 5.9, 42.9].map(rate).join()", "0 a minute,less than 1 a minute,6 a minute,43 a minute"),
        ("plain(listed(['a', 'b', 'c']))", "a, b and c"),
        ("plain(tallied(new Map([['x', 1], ['y', 3]])))", "3 \u00d7 y and 1 \u00d7 x"),
        ("plain(tallied(new Map([['x', 4]])))", "x"),
        (
            "[[3, 3], [2, 0, 1], [5, 0, 2]].map(slotRange).join('; ')",
            "slot 3; slots 0\u20132; slots 0, 2 and 5",
        ),
        ("shellWord('poison-c1024')", "poison-c1024"),
        ("shellWord('a b;$(rm -r ~)`')", "'a b;$(rm -r ~)`'"),
        ('shellWord("it\'s")', "'it'\\''s'"),
        ('shellWord("\'\\u202ea\\n")', "$'\\'\\U0000202ea\\U0000000a'"),
        ("plain([command('show', '-x')])", "friendship-supervisor events show -- -x"),
        (
            "extra({event: 'x', ms: 34}) + ', ' + extra({ms: 1240}) + ', ' + extra({ms: 6013})",
            "34 ms, 1.2 s, 6 s",
        ),
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
    value = tab.ask(expression)
    assert (spaced(value) if isinstance(value, str) else value) == expected


def test_a_command_for_a_shell_means_the_id_itself(tab: Tab) -> None:
    """Whatever stands in an id, a shell hands on exactly that, and runs nothing of it."""
    ids = [
        "it's",
        "a b",
        "$(touch x)`",
        "-n",
        'q"\\q',
        "a\nb\tc",
        "\u202eevil",
        "c-" + "w" * 253,
        "\U0001f9f8!",
    ]
    words = tab.ask("ids => ids.map(shellWord)", ids)
    line = "printf '%s\\0' " + " ".join(words)
    said = subprocess.run(["bash", "-c", line], capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"})
    assert said.stdout.decode().split("\0")[:-1] == ids


def test_a_sparkline_keeps_its_gaps_and_its_budgets(tab: Tab) -> None:
    """A gap ends the line, the newest reading is at the right, and the hard budget is above the soft one."""
    drawn = tab.ask("sparkline([50, 60, null, 70, 80], 300, 375)")
    assert drawn["trace"].count("M") == 2
    assert drawn["now"].startswith("M149.5 ")
    assert 0 <= drawn["hardY"] < drawn["softY"] < 34
    assert tab.ask("sparkline([50, null], 300, 375).now") == ""
    assert tab.ask("sparkline([900], 300, 375).trace").startswith("M149.5 0")
    assert spaced(tab.ask("inWords([50, null, 60.4], 2, 300, 375)")) == (
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


def test_a_leak_in_one_slot_is_told_with_the_slot(told: Told) -> None:
    """Children of one slot that grow with each message, whatever the conversation: the slot is named, none of those."""
    assert told(scenes.leak()) == ["bad: Slot 3 keeps memory: about 6.1 MB with each message: a leak."]


def growing(messages: int, each_mb: float = 7.2, slots: int = 4, **fields: Any) -> dict[str, Any]:
    """Give children that have kept so much of each message, on a soft budget of 130 MB."""
    children = [
        scenes.child(
            n, messages=messages, rss_mb=40 + messages * each_mb, rss_at_start_mb=40.0,
            growth_mb_per_100_messages=100 * each_mb if messages >= 5 else None,
        ) | fields
        for n in range(slots)
    ]  # fmt: skip
    return scenes.status(children, supervisor={"rss_budget_mb": 130, "rss_hard_mb": 200})


EVERYWHERE = "warn: Children keep memory: about 7.2 MB with each message, in all 4 slots: a leak."


def test_growth_alone_warns(told: Told) -> None:
    """A leak is told before it has cost a child: what counts is what was kept, and how soon the budget is reached."""
    assert told(growing(11)) == [EVERYWHERE]
    assert told(growing(4)) == []
    assert told(growing(16, each_mb=0.25)) == []  # 4 MB in all: warm-up
    assert told(growing(200, each_mb=0.1)) == []  # 700 messages to go
    assert told(growing(11, slots=1)) == [
        "warn: Slot 0 keeps memory: about 7.2 MB with each message: a leak."
    ]
    mixed = growing(11)
    mixed["children"][2] = scenes.child(2)
    assert told(mixed) == [
        "warn: Children keep memory: about 7.2 MB with each message, in 3 of 4 slots: a leak."
    ]


def test_a_young_child_is_taken_for_its_predecessor(told: Told) -> None:
    """Right after a round of replacements nothing has grown yet, and the leak is still one; one end tells nothing."""
    young = growing(2)
    events = [
        one
        for n in range(4)
        for one in scenes.replaced(30 - n, n, 4000 + n, "rss_soft", rss_mb=133.6, messages=13)
    ]
    assert told(young | {"events": events}) == [EVERYWHERE]
    assert told(young | {"events": events[:3]}) == [
        "note: Slot 0 was replaced at 00:03:35: over the soft budget (rss_soft)."
    ]
    flat = growing(20, each_mb=0.1)
    assert "leak" not in "".join(told(flat | {"events": events}))  # their successors do not grow


def test_replacements_everywhere_are_one_sentence(told: Told) -> None:
    """More than three slots are told together; with a tie none of them is the worst."""
    events = [one for n in range(12) for one in scenes.replaced(500 - 40 * n, n % 6, 4200 + n, "rss_soft")]
    whole = scenes.status([scenes.child(n) for n in range(6)], events)
    assert told(whole) == [
        "warn: 6 slots were replaced 12 times since 23:55:45: over the soft budget (rss_soft)."
    ]


def details(tab: Tab, status: dict[str, Any]) -> str:
    """Give what stands below the headline."""
    ask = "status => { const v = verdict(complete(status)); return plain([...v.more, ' ', ...v.todo]) }"
    return spaced(tab.ask(ask, status))


def test_details_name_the_most_frequent_only_where_there_is_one(tab: Tab) -> None:
    """Four slots that were replaced alike often have no worst one."""
    events = [one for n in range(12) for one in scenes.replaced(500 - 40 * n, n % 6, 4200 + n, "rss_soft")]
    whole = scenes.status([scenes.child(n) for n in range(6)], events)
    assert "Most often" not in details(tab, whole)
    more = [*events, *scenes.replaced(9, 4, 4300, "rss_soft")]
    assert "Most often slot 4: 3 times." in details(tab, whole | {"events": more})


def test_advice_against_a_leak_is_of_one_mind(tab: Tab) -> None:
    """A leak is not cured by a larger budget."""
    said = details(tab, growing(11))
    assert "over its soft budget of 130 MB after about 13 messages" in said
    assert "report it" in said
    assert "--rss-mb" not in said


def test_an_outage_is_told_first(told: Told) -> None:
    """With the breaker open its failures are no news of their own, and no slot or conversation is to blame."""
    assert told(scenes.outage()) == [
        (
            "bad: The Memory API is down: calls time out or fail in all 8 slots, every conversation since 23:58:47"
            " (MEMORY_API_TIMEOUT and MEMORY_API_ERROR)."
        )
    ]
    unheard = scenes.outage() | {"events": []}
    assert told(unheard) == ["bad: The Memory API is down: no child takes a message."]


def test_an_outage_counts_since_the_last_answer(tab: Tab) -> None:
    """A failure before the last success is not among those in a row; one after the breaker opened is."""
    whole = scenes.outage()
    whole["events"].insert(0, scenes.failed(2000, 1, "c-old", "MEMORY_API_TIMEOUT"))
    assert tab.ask("status => inARow(complete(status)).length", whole) == 17
    whole["supervisor"]["breaker"]["failed_in_a_row"] = 3  # a program that stops counting at the breaker
    assert tab.ask("status => inARow(complete(status)).length", whole) == 17


POISONED = (
    "conversation c-17 killed 2 children, in slot 3 and slot 5, at 00:03:04:"
    " too much memory, near the hard budget (rss_hard)."
)


def later(status: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Give the same, looked at later."""
    return status | {"as_of": status["as_of"] + seconds}


def test_a_poison_message_is_told_by_its_conversation(told: Told) -> None:
    """Two children of the same conversation are one sentence, with both slots, and its failure none of its own."""
    assert told(scenes.poison()) == ["bad: C" + POISONED[1:]]


def test_a_poison_message_calms_down(told: Told, tab: Tab) -> None:
    """Minutes after the last death it is over, later a note, and no row is marked any more."""
    marked = "status => [...verdict(complete(status)).marked.keys()].sort()"
    assert tab.ask(marked, scenes.poison()) == [3, 5]
    for seconds, level in ((300, "warn"), (700, "note")):
        past = later(scenes.poison(), seconds)
        assert told(past) == [f"{level}: It is over: {POISONED}"]
        assert tab.ask(marked, past) == []
    assert told(later(scenes.poison(), 3700)) == []


def test_a_poison_message_is_told_with_what_comes_next(tab: Tab) -> None:
    """When, who recorded it, that the others go on, what happens to it, and a command to type."""
    said = details(tab, scenes.poison("c'17"))
    assert said.startswith(
        "61 s ago. Last read at 366 and 371 MB. Slot 1 recorded it as FAILED MEMORY_BUDGET_EXCEEDED"
    )
    assert "the other messages go on. It is not tried again by itself." in said
    assert r"friendship-supervisor events show 'c'\''17'" in said
    crashed = scenes.poison()
    crashed["events"][-1]["code"] = "CHILD_CRASHED"
    assert "It is tried again by itself in hours, up to five times" in details(tab, crashed)


def test_a_first_death_is_a_warning(told: Told) -> None:
    """One child that died of its message may have a second."""
    events = scenes.replaced(95, 3, 4103, "crashed", conversation_id="c-17", signal=11, exit=None)
    assert told(scenes.status([scenes.child(n) for n in range(4)], events)) == [
        (
            "warn: Conversation c-17 killed the child of slot 3 at 00:02:30:"
            " a crash in native code, signal 11 (crashed)."
        )
    ]


def test_the_last_end_of_a_slot_speaks_where_its_event_has_gone(told: Told) -> None:
    """Fifty later events may have pushed a death out of the list; its slot still knows it."""
    ends = [scenes.last_end(ago, "rss_hard", 900 + ago, "c-17", 370.0) for ago in (30, 60)]
    children = [scenes.child(n, restarts=1, last_end=end) for n, end in enumerate(ends)]
    assert told(scenes.status(children)) == [
        (
            "bad: Conversation c-17 killed 2 children, in slot 1 and slot 0, at 00:03:35:"
            " too much memory, near the hard budget (rss_hard)."
        )
    ]


def test_marks_of_the_rows_agree_with_the_sentences(tab: Tab) -> None:
    """Each slot that leaks is marked, and none in an outage, which is nobody's."""
    marked = "status => [...verdict(complete(status)).marked.entries()]"
    assert tab.ask(marked, growing(11)) == [[n, "warn"] for n in range(4)]
    assert tab.ask(marked, scenes.outage()) == []
    level = "([child, said]) => rowLevel(child, {rss_budget_mb: 300, rss_hard_mb: 375}, said)"
    assert tab.ask(level, [scenes.child(0), "warn"]) == "warn"
    assert tab.ask(level, [scenes.child(0), None]) == ""


@pytest.mark.parametrize(
    ("parts", "ready", "words"),
    [
        ({"queue": {"ready": 36}, "rates": {"failed_per_min": 18.0}}, [], "60 s at this pace"),
        ({"queue": {"ready": 0}}, [], ""),
        ({"queue": {"ready": 36}}, [10, 12, 20, 25, 30, 36], "growing"),
        ({"rates": {"processed_per_min": 0.0}}, [], "nothing is settled"),
        ({"breaker": {"state": "open"}}, [], "nothing is taken"),
        ({"breaker": {"state": "half_open"}}, [1, 2, 3, 4, 5, None, 60], "nothing is taken, growing"),
    ],
)
def test_no_pace_is_told_of_a_queue_that_does_not_shrink(
    tab: Tab, parts: dict[str, Any], ready: list[int], words: str
) -> None:
    """A time is said only where messages are settled faster than they come."""
    whole = scenes.status([scenes.child(0)], **parts)
    assert spaced(tab.ask("([status, ready]) => pace(complete(status), ready)", [whole, ready])) == words


def test_the_header_has_the_headlines_answer(tab: Tab) -> None:
    """It does not say ready where the headline says trouble, and says what is waited for."""
    word = "status => { const s = complete(status); return stateWords(s, verdict(s).level) }"
    assert tab.ask(word, scenes.calm()) == "ready"
    assert tab.ask(word, growing(11)) == "ready, but see below"
    assert tab.ask(word, scenes.outage()) == "waiting for the Memory API"
    away = scenes.child(0, "waiting", phase="waiting_database")
    assert tab.ask(word, scenes.status([away], supervisor={"state": "waiting"})) == "waiting for the database"


def test_failures_of_many_are_told_by_their_cause(told: Told) -> None:
    """Several failures name no slot and no conversation, and are a note when they lie back."""
    events = [scenes.failed(90 - n, n, f"c-{n}", "LOG_UNAVAILABLE") for n in range(3)]
    whole = scenes.status([scenes.child(n) for n in range(4)], events)
    sentence = (
        "3 messages failed since 00:02:35: the conversation's log is neither in the message, nor in S3,"
        " nor in the row (LOG_UNAVAILABLE)."
    )
    assert told(whole) == [f"warn: {sentence}"]
    assert told(later(whole, 300)) == [f"note: {sentence}"]


def test_repeated_events_are_folded(tab: Tab) -> None:
    """Many of a kind are one line with slots and times; what happens once parts them and stays in sight."""
    lines = """status => folded(mainOnly(complete(status).events).map(tell))
        .map(one => plain(one.many ? foldedParts(one) : one.parts))"""
    whole = scenes.outage()
    whole["events"] = [
        one | {"code": "MEMORY_API_TIMEOUT"} if "code" in one else one for one in whole["events"]
    ]
    whole["events"].append(scenes.failed(50, 2, "c-9", "MEMORY_API_TIMEOUT"))
    told = [spaced(one) for one in tab.ask(lines, whole)]
    assert told == [
        "16 \u00d7 MEMORY_API_TIMEOUT, slots 0\u20137, 23:58:47\u201300:00:33",
        "the breaker opened: no child takes a message until the Memory API answers",
        "slot 5: conversation c-4816 failed, MEMORY_API_TIMEOUT",
        "the call that tried failed too, the breaker stays open",
        "slot 2: conversation c-9 failed, MEMORY_API_TIMEOUT",
    ]


def test_causes_stand_before_what_came_of_them(tab: Tab) -> None:
    """Within one second children die, then messages fail, then the breaker opens, whoever wrote first."""
    events = [
        {"ts": 9.1, "event": "breaker_opened"},
        {"ts": 9.2, "event": "message_failed"},
        {"ts": 9.3, "event": "child_exited", "reason": "crashed"},
        {"ts": 9.4, "event": "child_exited", "reason": "rss_soft"},
        {"ts": 8.9, "event": "breaker_half_open"},
    ]
    ordered = tab.ask("events => inOrder(events).map(one => one.reason ?? one.event)", events)
    assert ordered == ["breaker_half_open", "crashed", "message_failed", "rss_soft", "breaker_opened"]


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
def test_other_troubles_have_a_sentence(told: Told, parts: dict[str, Any], sentence: str) -> None:
    """What is wrong with the supervisor itself, its errands or its queue is said."""
    assert told(scenes.status([scenes.child(0)], **parts)) == [sentence]


def test_troubles_of_a_child_have_a_sentence(told: Told) -> None:
    """A server that is away, a slot that cannot be filled, a late message and a failure are said, with the slot."""
    children = [
        scenes.child(0, message_worked_s=80.0),
        scenes.child(1, "waiting", phase="waiting_database", note="connection refused"),
        scenes.empty_slot(2, refill_in_s=8.0, last_end=scenes.last_end(3, "crashed", 9, None, None)),
    ]
    events = [scenes.failed(50, 0, "c-9", "MEMORY_API_REJECTED")]
    assert told(scenes.status(children, events)) == [
        "bad: Slot 2 is empty: its children end too soon after their start: a crash (crashed).",
        "warn: Slot 1 waits for the database.",
        "warn: Slot 2 was replaced at 00:04:02: a crash (crashed).",
        "warn: Slot 0 is close to the message deadline with conversation c-4711.",
        (
            "warn: One message failed, conversation c-9: the Memory API refused what is in the request,"
            " with 400, 413, 415 or 422 (MEMORY_API_REJECTED)."
        ),
    ]


def test_a_quiet_hour_says_so(tab: Tab) -> None:
    """Nothing wrong is one calm sentence; an old failure is none."""
    first = (
        "status => { const v = verdict(complete(status)); return [v.level, plain(v.what), v.others.length] }"
    )
    said = tab.ask(first, scenes.calm())
    assert [spaced(one) if isinstance(one, str) else one for one in said] == [
        "well", "All is well: 8 of 8 children ready.", 0
    ]  # fmt: skip
