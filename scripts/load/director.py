"""Make happen what the scenario says, at its time."""

from collections.abc import Callable
from time import monotonic

from scripts.load.background import Background
from scripts.load.clock import Clock
from scripts.load.results import Kind, Mark
from scripts.load.scenario import Breakage, Scenario, Step
from scripts.servers.stack import Stack


class Director(Background):
    """Goes through the steps. marks: what was done so far."""

    def __init__(
        self, stack: Stack, scenario: Scenario, seed: int, clock: Clock, before_broker: Callable[[], None]
    ) -> None:
        """before_broker: called before a broker's restart, whose counters begin again."""
        super().__init__()
        self._stack, self._scenario, self._seed, self._clock = stack, scenario, seed, clock
        self._before_broker = before_broker
        self.marks: list[Mark] = []

    def work(self) -> None:
        for step in self._scenario.steps:
            if self.over.wait(max(0.0, self._clock.at(step.minute) - monotonic())):
                return
            self._take(step)

    def _take(self, step: Step) -> None:
        if step.text:
            self.marks.append(Mark(step.minute, Kind.SCENARIO, step.text))
        if behaviour := step.behaviour(self._clock.scale, self._seed):
            self._stack.memory_api.set_mode(behaviour.pop("mode"), **behaviour)
        match step.breaks:
            case Breakage.BROKER_RESTART:
                self._before_broker()
                self._stack.rabbitmq.restart()
                self._back("broker is back")
            case Breakage.DATABASE_RESTART:
                self._stack.postgres.restart("immediate")
                self._back("database is back")
            case None:
                pass

    def _back(self, text: str) -> None:
        # A restart takes the time that it takes: the smaller the scale, the longer it is in the scenario
        self.marks.append(Mark(round(self._clock.minute(monotonic()), 3), Kind.SCENARIO, text))
