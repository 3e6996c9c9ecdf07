"""The page in a browser, against a server that says what the test wants."""

from __future__ import annotations

from typing import Any

import pytest

from supervisor import __version__
from tests.browser import scenes
from tests.browser.conftest import OpenTab, Serve

pytestmark = pytest.mark.full

SCENES = {
    "calm": scenes.calm,
    "forty": lambda: scenes.calm(40),
    "empty": scenes.empty,
    "leak": scenes.leak,
    "outage": scenes.outage,
    "poison": scenes.poison,
    "bad_night": scenes.bad_night,
    "hostile": scenes.hostile,
}
WIDE, PHONE = {"width": 1440, "height": 900}, {"width": 360, "height": 740}


def test_shows_what_it_hears(open_tab: OpenTab, serve: Serve) -> None:
    """Header, figures, children, events and causes are all there a moment after the page is."""
    tab = open_tab(serve(scenes.calm()).url).live()
    assert "ready" in tab.text("#state")
    assert tab.text("#host") == "on worker-3"
    assert tab.text("#facts") == f"up 4 h 17 min pid 4090 version {__version__}"
    assert tab.text("#sentence") == "All is well: 8 of 8 children ready."
    assert "Processed 1,248 18 a minute" in tab.text("#tiles")
    assert "6 in hand here 0 dead\u2011lettered" in tab.text("#tiles")
    assert tab.ask("document.querySelectorAll('#rows > tr').length") == 8
    assert "c-4724" in tab.text("#slot-1")
    assert "waits for the Memory API" in tab.text("#slot-1")
    assert "was replaced, rss_soft" in tab.text("#events")
    assert "LOG_UNAVAILABLE" in tab.text("#failures")
    assert tab.ask("document.querySelector('#restarts').closest('section').hidden")
    assert "Skipped" in tab.text("#outcomes")
    assert "0" not in [row.split()[-1] for row in tab.text("#outcomes").split("\n")]
    assert tab.ask("document.querySelector('#breaker').hidden")
    assert tab.page.title() == "friendship-supervisor on worker-3"


def test_a_replaced_child_shows_at_once(open_tab: OpenTab, serve: Serve) -> None:
    """The row of its slot changes, the event stands first, and the sentence names slot, reason and conversation."""
    standin = serve(scenes.calm())
    tab = open_tab(standin.url).live()
    after = scenes.calm()
    after["children"][3] |= {
        "pid": 5000, "restarts": 1, "last_end": scenes.last_end(1, "rss_hard", 4103, "c-17", 371.0)
    }  # fmt: skip
    after["totals"]["restarts"]["rss_hard"] = 1
    after["events"] += scenes.replaced(1, 3, 4103, "rss_hard", conversation_id="c-17")
    standin.show(after)
    tab.wait("document.querySelector('#slot-3').innerText.includes('rss_hard')")
    assert "5000" in tab.text("#slot-3")
    assert "c-17" in tab.text("#slot-3 .end")
    assert tab.text("#sentence") == (
        "Conversation c-17 killed the child of slot 3 at 00:04:04: too much memory, near the hard budget (rss_hard)."
    )
    assert tab.text("#events li:first-child").startswith(
        "00:04:04 Error: Slot 3: child 4103 was replaced, rss_hard"
    )
    assert tab.text("#restarts") == "rss_hard 1"  # the headline says what it means, and once is enough


@pytest.mark.parametrize(
    ("scene", "named"),
    [
        ("leak", ["Slot 3", "rss_soft", "rss_hard", "c-903", "6.1 MB with each message", "a leak"]),
        (
            "outage",
            [
                "Memory API is down",
                "slot 5",
                "c-4816",
                "MEMORY_API_TIMEOUT",
                "Breaker open",
                "in 14 s",
                "row 17",
            ],
        ),
        ("poison", ["c-17", "slot 3", "slot 5", "rss_hard", "MEMORY_BUDGET_EXCEEDED", "events requeue"]),
    ],
)
def test_a_stranger_reads_slot_conversation_and_cause(
    open_tab: OpenTab, serve: Serve, scene: str, named: list[str]
) -> None:
    """In each of the three bad hours the first panel names where, with what, why, and what to do."""
    tab = open_tab(serve(SCENES[scene]()).url).live()
    told = tab.text("#verdict")
    assert [word for word in named if word not in told] == []
    assert "What to do: " in told or tab.ask(
        "getComputedStyle(document.querySelector('#todo'), '::before').content"
    )


def test_survives_the_servers_restart(open_tab: OpenTab, serve: Serve) -> None:
    """It says since when nothing is heard, comes back by itself, and begins its history anew."""
    first = serve(scenes.calm())
    tab = open_tab(first.url).live()
    tab.expects_outage = True
    assert tab.ask("history_.rss_mb[0].length") == 150
    first.stop()
    tab.wait("document.body.dataset.link === 'gone'")
    assert tab.text("#sentence").startswith("No connection since ")
    assert "no connection since" in tab.text("#link")
    again = scenes.calm()
    again["supervisor"] |= {"pid": 7000, "uptime_s": 3.0}
    serve(again, first.port, {"every_s": 2, "rss_mb": {"0": [55.0, 56.0]}, "processed": [0, 0]})
    tab.live()
    tab.wait("document.querySelector('#facts').innerText.includes('7000')")
    assert tab.ask("history_.rss_mb[0].length") <= 5
    assert tab.text("#sentence") == "All is well: 8 of 8 children ready."


def test_survives_an_answer_that_is_no_stream(open_tab: OpenTab, serve: Serve) -> None:
    """After a proxy's 503 a browser gives a stream up for good; the page begins another."""
    standin = serve(scenes.calm())
    tab = open_tab(standin.url).live()
    tab.expects_outage = True
    standin.refuse(True)
    tab.wait("document.body.dataset.link === 'gone' && source.readyState === EventSource.CLOSED")
    standin.refuse(False)
    tab.live()


def test_does_not_trust_a_silent_stream(open_tab: OpenTab, serve: Serve) -> None:
    """A connection that is open and says nothing is a dead one: the page asks for another."""
    standin = serve(scenes.calm())
    tab = open_tab("about:blank")
    tab.page.clock.install()
    tab.page.goto(standin.url)
    tab.live()
    tab.ask("window.before = source; 1")
    standin.silent = True
    tab.page.clock.run_for(12_000)
    tab.wait("document.body.dataset.link === 'gone' && source !== before")
    standin.silent = False
    standin.show(scenes.calm())
    tab.live()


def test_works_behind_a_path_prefix(open_tab: OpenTab, serve: Serve) -> None:
    """All its addresses are relative: a proxy may put it under a path of its own."""
    tab = open_tab(serve(scenes.calm()).url + "behind/a/proxy/").live()
    assert tab.ask("[...document.querySelectorAll('footer a')].map(one => one.pathname)") == [
        f"/behind/a/proxy/{name}" for name in ("status", "metrics", "readyz")
    ]


def test_a_frame_that_changes_nothing_touches_nothing(open_tab: OpenTab, serve: Serve) -> None:
    """What a reader has opened, selected or reached by keyboard stays, also when numbers around it change."""
    standin = serve(scenes.bad_night())
    tab = open_tab(standin.url).live()
    tab.page.locator("#others summary").first.click()
    tab.page.locator("#choose input[value=failed]").check(force=True)
    tab.ask("window.kept = [...document.querySelectorAll('#events li, #rows a, #rows .id, #sentence a')]; 1")
    after = scenes.bad_night()
    after["children"][0]["rss_mb"] += 5
    after["totals"]["processed"] += 1
    standin.show(after)
    tab.wait("document.querySelector('#tiles').innerText.includes('1,249')")
    assert tab.ask("kept.length > 5 && kept.every(node => node.isConnected)")
    assert tab.ask("document.querySelector('#others details').open")
    # The second finding's own words change, and its details stay open
    after["children"][3]["growth_mb_per_100_messages"] = 700.0
    standin.show(after)
    tab.wait("document.querySelector('#others').innerText.includes('about 7')")
    assert tab.ask("document.querySelector('#others details').open")


def test_events_can_be_chosen(open_tab: OpenTab, serve: Serve) -> None:
    """By keyboard: all events, the main ones, replacements only, or failures only."""
    tab = open_tab(serve(scenes.poison()).url).live()
    count = "document.querySelectorAll('#events > li').length"
    assert tab.ask(count) == 3
    tab.page.focus("#choose input[value=main]")
    tab.page.keyboard.press("ArrowRight")
    assert tab.ask(count) == 2
    tab.page.keyboard.press("ArrowRight")
    assert "MEMORY_BUDGET_EXCEEDED" in tab.text("#events")
    assert tab.ask(count) == 1
    tab.page.keyboard.press("ArrowRight")
    assert tab.ask(count) == 13


def test_a_folded_line_opens_and_stays_open(open_tab: OpenTab, serve: Serve) -> None:
    """By keyboard; the next event of its kind joins it and does not close it. All events are never folded."""
    standin = serve(scenes.outage())
    tab = open_tab(standin.url).live()
    fold = "document.querySelector('#events .fold:last-child details')"
    assert "9 \u00d7 MEMORY_API_TIMEOUT, slots 0\u20137" in tab.text(
        "#events .fold:last-child summary"
    ).replace("\u2060", "")
    assert "The breaker opened" in tab.text("#events")
    tab.page.focus("#events .fold:last-child summary")
    tab.page.keyboard.press("Enter")
    assert tab.ask(f"{fold}.open && {fold}.querySelectorAll('.event').length") == 9
    after = scenes.outage()
    after["events"].append(scenes.failed(1, 0, "c-1", "MEMORY_API_TIMEOUT"))
    standin.show(after)
    tab.wait("document.querySelector('#events').innerText.includes('c-1 ')")
    assert tab.ask(f"{fold}.open")
    tab.page.locator("#choose input[value=all]").check(force=True)
    assert tab.ask("document.querySelectorAll('#events .fold').length") == 0


def test_says_a_number_once_and_holds_units_to_it(open_tab: OpenTab, serve: Serve) -> None:
    """How many calls failed in a row stands in one place; the rows say that the breaker holds them."""
    tab = open_tab(serve(scenes.outage()).url).live()
    assert tab.text("body").count("in a row") == 1
    assert "held by the breaker" in tab.text("#slot-0")
    assert "waits for a message" not in tab.text("#rows")
    assert "nothing is taken" in tab.text("#tiles")
    assert "at this pace" not in tab.text("#tiles")
    assert tab.ask("/\\d (MB|s|min|h|d)\\b/.test(document.querySelector('main').innerText)") is False


def test_a_headline_is_read_out_once(open_tab: OpenTab, serve: Serve) -> None:
    """A screen reader hears it when it says something else, and not whenever a number in it moves."""
    standin = serve(scenes.leak())
    tab = open_tab(standin.url).live()
    first = tab.ask("document.querySelector('#spoken').textContent")
    after = scenes.leak()
    after["children"][3]["growth_mb_per_100_messages"] = 700.0
    standin.show(after)
    tab.wait("document.querySelector('#sentence').innerText.includes('about 7')")
    assert tab.ask("document.querySelector('#spoken').textContent") == first
    standin.show(scenes.poison())
    tab.wait("document.querySelector('#spoken').textContent.startsWith('Conversation c-17 killed')")


def test_a_phone_shows_causes_before_events(open_tab: OpenTab, serve: Serve) -> None:
    """What failed how often is not below fifty events."""
    tab = open_tab(serve(scenes.outage()).url, viewport=PHONE).live()
    top = "one => document.querySelector(one).getBoundingClientRect().top"
    assert tab.ask(top, "#failures") < tab.ask(top, "#events")


def test_children_may_come_and_go(open_tab: OpenTab, serve: Serve) -> None:
    """Rows follow the slots, in their order, whatever number comes between two frames."""
    standin = serve(scenes.calm(2))
    tab = open_tab(standin.url).live()
    for number in (5, 1, 3):
        standin.show(scenes.calm(number))
        tab.wait(f"document.querySelectorAll('#rows > tr').length === {number}")
        slots = tab.ask("[...document.querySelectorAll('#rows > tr')].map(row => row.id)")
        assert slots == [f"slot-{n}" for n in range(number)]


@pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["wide", "phone"])
def test_hostile_ids_stay_text(open_tab: OpenTab, serve: Serve, viewport: dict[str, int]) -> None:
    """Markup is shown and not made, a script does not run, and no id turns its neighbours round or widens the page."""
    tab = open_tab(serve(scenes.hostile()).url, viewport=viewport).live()
    assert tab.ask("document.querySelectorAll('main script, main img, main b').length") == 0
    assert tab.page.title() == "trouble: friendship-supervisor on worker-3"
    assert tab.overflows_px() <= 0
    shown = tab.ask(
        "[...document.querySelectorAll('#rows .conv .id')].map(one => [one.title, one.firstChild.tagName])"
    )
    assert shown == [[one, "BDI"] for one in scenes.HOSTILE]
    whole = tab.ask("[...document.querySelectorAll('#rows .conv .id')].map(one => one.textContent)")
    assert whole[3] == scenes.HOSTILE[3]  # cut by the style sheet, not in the text
    assert not any(mark in text for text in whole for mark in "\u202e\u202c\u2066\u2067\u200b\n\t\0")


def test_an_id_is_copied_as_it_is(open_tab: OpenTab, serve: Serve) -> None:
    """One click selects the whole id, and what is copied holds its invisible characters too."""
    tab = open_tab(serve(scenes.hostile()).url).live()
    copy = """() => {
        const how = {clipboardData: new DataTransfer(), bubbles: true, cancelable: true};
        const event = new ClipboardEvent('copy', how);
        document.body.dispatchEvent(event);
        return event.clipboardData.getData('text/plain') }"""
    tab.page.click("#slot-2 .conv .id")
    assert tab.ask("String(getSelection())") == tab.ask(
        "document.querySelector('#slot-2 .conv .id').textContent"
    )
    assert tab.ask(copy) == scenes.HOSTILE[2]


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["wide", "phone"])
def test_axe_finds_nothing(
    open_tab: OpenTab, serve: Serve, scene: str, scheme: str, viewport: dict[str, int]
) -> None:
    """In every scene, scheme and width the accessibility checker has nothing to say, and nothing sticks out."""
    from axe_playwright_python.sync_playwright import Axe  # noqa: PLC0415 - only the extra `full` has it

    tab = open_tab(
        serve(SCENES[scene]()).url, viewport=viewport, color_scheme=scheme, reduced_motion="reduce"
    ).live()
    tab.ask("document.querySelectorAll('details').forEach(one => { one.open = true })")
    assert found(Axe().run(tab.page)) == []
    assert tab.overflows_px() <= 0
    assert tab.ask("document.getAnimations().length") == 0


def test_axe_finds_nothing_without_a_connection(open_tab: OpenTab, serve: Serve) -> None:
    """What is greyed can still be read."""
    from axe_playwright_python.sync_playwright import Axe  # noqa: PLC0415 - only the extra `full` has it

    standin = serve(scenes.bad_night())
    tab = open_tab(standin.url).live()
    tab.expects_outage = True
    standin.stop()
    tab.wait("document.body.dataset.link === 'gone'")
    assert found(Axe().run(tab.page)) == []


def found(results: Any) -> list[str]:
    return [
        f"{one['id']}: {node['html'][:200]} {node.get('failureSummary', '')[:300]}"
        for one in results.response["violations"]
        for node in one["nodes"]
    ]
