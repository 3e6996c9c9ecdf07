"""Each ground of the matrix is run once, when its first cell is asked for."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from scripts.servers.memory_api import MemoryApiStandIn
from scripts.servers.postgres import Postgres
from scripts.servers.rabbitmq import RabbitMQ
from tests.faults.cells import Cell, Ground, Outcome
from tests.faults.grounds import RUNS
from tests.faults.laboratory import Laboratory

OutcomeOf = Callable[[Cell, Sequence[Cell]], Outcome]


@pytest.fixture(scope="session")
def outcome_of(
    rabbitmq_of_the_session: RabbitMQ,
    postgres_of_the_session: Postgres,
    memory_api_of_the_session: MemoryApiStandIn,
    migrated_template: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> OutcomeOf:
    """Give the outcome of a cell, run with the others of these that share its ground."""
    seen: dict[tuple[Ground, int], dict[str, Outcome] | str] = {}

    def run(cells: list[Cell], ground: Ground, directory: Path) -> dict[str, Outcome]:
        lab = Laboratory(
            rabbitmq_of_the_session,
            postgres_of_the_session,
            memory_api_of_the_session,
            template=migrated_template,
            directory=directory,
            cells=cells,
        )
        try:
            return lab.outcomes(RUNS[ground](lab))
        finally:
            lab.close()

    def outcome(cell: Cell, among: Sequence[Cell]) -> Outcome:
        key = cell.ground, id(among)
        if key not in seen:
            cells = [one for one in among if one.ground is cell.ground]
            try:
                seen[key] = run(cells, cell.ground, tmp_path_factory.mktemp("faults"))
            except AssertionError as failed:
                seen[key] = str(failed)
        found = seen[key]
        if isinstance(found, str):
            raise AssertionError(f"the run of all cells on this ground failed: {found}")  # noqa: TRY004
        return found[cell.id]

    return outcome
