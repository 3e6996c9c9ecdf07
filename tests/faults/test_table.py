"""docs/reliability.md shows the matrix as it is tested."""

import re

import pytest

from tests.faults.cells import FAULTS, MATRIX
from tests.faults.table import section, shown
from tests.faults.test_matrix import test_a_fault_ends_as_the_matrix_says as matrix_test


def parameter_ids() -> list[str]:
    (mark,) = (one for one in matrix_test.pytestmark if one.name == "parametrize")  # type: ignore[attr-defined]
    return [mark.kwargs["ids"](cell) for cell in mark.args[1]]


def test_every_cell_is_a_test_and_every_test_a_cell() -> None:
    """The identifiers in the document's table are those of the parametrised test, each once."""
    assert sorted(re.findall(r"`([a-z_]+-at-[a-z_]+)`", shown())) == sorted(parameter_ids())


def test_the_document_says_what_the_tests_expect() -> None:
    """Outcomes too: the table is generated from the values that the tests compare with."""
    assert shown() == section(), "run: python -m tests.faults.table"


def test_no_two_cells_share_a_conversation() -> None:
    """In a run, a row shows the outcome of one cell alone."""
    assert len({(cell.ground, cell.conversation_id) for cell in MATRIX}) == len(MATRIX)
    assert len(set(parameter_ids())) == len(MATRIX)


@pytest.mark.parametrize("fault", sorted({cell.fault for cell in MATRIX}))
def test_every_fault_is_explained(fault: str) -> None:
    """A name alone says nothing to an operator."""
    assert FAULTS[fault]
