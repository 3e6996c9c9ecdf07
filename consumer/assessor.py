"""The LLM's part in one message: when it is asked, and what the breakdown says of it."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from consumer.analysis import NOT_NEEDED, UNASKED, Analysis, Result
from consumer.decoding import Json
from consumer.patience import Patience
from consumer.reader import Reading
from consumer.runtime import Runtime

if TYPE_CHECKING:
    # Loaded only where an LLM is asked
    from consumer.excerpt import Excerpt


class Analyst(Protocol):
    """The LLM: consumer.llm.Analyst."""

    def excerpt(self, log: Json) -> "Excerpt":
        """Choose what of a log is shown. Raises MalformedMessage when it is none."""
        ...

    def analyse(self, told: "Excerpt") -> Analysis:
        """Have it judged; any failure is a result."""
        ...


class Assessor:
    """Has conversations judged. analyst: None where the LLM is off."""

    def __init__(
        self, runtime: Runtime, patience: Patience, analyst: Analyst | None, clock: Callable[[], float]
    ) -> None:
        self._runtime = runtime
        self._patience = patience
        self._analyst = analyst
        self._clock = clock

    def assess(self, reading: Reading) -> tuple[Analysis, dict[str, Any]]:
        """Give what the LLM made of a log, or the defaults, and its part of the breakdown. Raises GiveBack."""
        if self._analyst is None or reading.shown is None:
            analysis = UNASKED
        elif not reading.transcript.messages:
            analysis = NOT_NEEDED
        elif not reading.shown.said:
            analysis = Analysis(Result.ERROR, reason="not one turn fits into LLM_LOG_CHARS")
        else:
            return self._ask(self._analyst, reading.shown)
        return analysis, _details(analysis)

    def _ask(self, analyst: Analyst, shown: "Excerpt") -> tuple[Analysis, dict[str, Any]]:
        self._patience.give_back_if_over("stopping before the analysis")
        analysis = Analysis(Result.ERROR)
        started = self._clock()
        self._runtime.analysing()
        try:
            analysis = analyst.analyse(shown)
        finally:
            self._runtime.analysed(analysis.result.value)
        return analysis, _details(analysis) | {"llm_ms": round((self._clock() - started) * 1000)}


def _details(analysis: Analysis) -> dict[str, Any]:
    details = {"llm": analysis.result.value}
    return details | {"llm_reason": analysis.reason} if analysis.reason else details
