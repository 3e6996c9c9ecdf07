"""The fault matrix: each fault at each step, on the real program; docs/reliability.md shows it as tables."""

from collections.abc import Callable, Sequence
from operator import attrgetter

import pytest

from tests.faults.cells import MATRIX, SAMPLE, Cell, Outcome

OutcomeOf = Callable[[Cell, Sequence[Cell]], Outcome]


@pytest.mark.faults
@pytest.mark.parametrize("cell", MATRIX, ids=attrgetter("id"))
def test_a_fault_ends_as_the_matrix_says(outcome_of: OutcomeOf, cell: Cell) -> None:
    """Row, accounts of the dead, calls and dead letters are what the table says; nothing is lost or counted twice."""
    assert outcome_of(cell, MATRIX) == cell.outcome


@pytest.mark.parametrize("cell", SAMPLE, ids=attrgetter("id"))
def test_a_sample_of_the_matrix(outcome_of: OutcomeOf, cell: Cell) -> None:
    """The faults that take no time: all of them in one run of a few seconds, for every run of the suite."""
    assert outcome_of(cell, SAMPLE) == cell.outcome
