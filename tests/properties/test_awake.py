"""A child is judged by the time in which its judge could run, whatever stood still, and for how long."""

from hypothesis import given
from hypothesis import strategies as st

from supervisor import policy
from supervisor.awake import AwakeClock
from supervisor.lifecycle import UNCOUNTED, Phase
from supervisor.reading import Reading, SlotView
from supervisor.roster import Roster
from tests.unit.limits import SETTINGS

DEADLINE_S = SETTINGS.message_deadline_s
pauses = st.floats(0.0, 2.0)
gaps = st.one_of(st.just(0.0), st.floats(0.0, 3.0), st.floats(10.0, 1e5))
PHASES = (Phase.READING, Phase.CALLING, Phase.HOLDING)


class Story:
    """A supervisor's turns, late as they come, and one child with a message in hand that reports as it likes."""

    def __init__(self) -> None:
        self.real = 1000.0
        self.clock = AwakeClock(lambda: self.real)
        self.began = self.clock.now
        self.view = SlotView(1, Phase.READING, self.real, self.real, message_since=self.real, claimed_by="me")

    def turn(self, pause_s: float, late_s: float) -> None:
        """Let the supervisor wake so much later than planned."""
        due = self.clock.now + pause_s
        self.real += pause_s + late_s
        self.clock.turn(due)

    def enter(self, phase: Phase) -> None:
        """Let the child report another phase, counting its waits as a child does: by monotonic time."""
        waited_s = self.view.waited_s
        if self.view.phase in UNCOUNTED:
            waited_s += self.real - self.view.phase_since
        self.view = SlotView(
            1,
            phase,
            self.real,
            self.real,
            message_since=self.view.message_since,
            waited_s=waited_s,
            claimed_by="me",
        )

    @property
    def is_late(self) -> bool:
        roster = Roster(1, self.began)
        roster.forked(0, 100, self.began, 0)
        reading = Reading(self.view.timed(self.clock.at), 30 << 20, self.clock.now)
        actions = policy.decide(roster, {0: reading}, self.clock.now, SETTINGS)
        return policy.Freeze(0, policy.LATE) in actions


@given(st.lists(st.tuples(pauses, gaps, st.sampled_from(PHASES)), max_size=60), st.lists(gaps, max_size=30))
def test_a_child_that_hangs_for_its_deadline_is_ended_whatever_it_did_before(
    before: list[tuple[float, float, Phase]], late: list[float]
) -> None:
    """In time that the supervisor was awake; neither gaps nor the waits that the child counted are to its credit."""
    story = Story()
    for pause_s, late_s, phase in before:
        story.turn(pause_s, late_s)
        story.enter(phase)
    story.enter(Phase.CALLING)
    hangs_since = story.clock.now
    turns = 0
    while story.clock.now - hangs_since <= DEADLINE_S:
        story.turn(1.0, late[turns % len(late)] if late else 0.0)
        turns += 1
    assert turns <= DEADLINE_S + 1, "each turn brings the deadline nearer"
    assert story.is_late


@given(st.lists(st.tuples(pauses, gaps, st.sampled_from(PHASES)), max_size=60))
def test_a_child_that_had_less_than_its_deadline_is_never_late(
    turns: list[tuple[float, float, Phase]],
) -> None:
    """However long all stood still, and wherever in the child's work that fell."""
    story = Story()
    for pause_s, late_s, phase in turns:
        story.turn(pause_s, late_s)
        if story.clock.now - story.began > DEADLINE_S:
            return
        assert not story.is_late
        story.enter(phase)
