"""What must hold in the database at any time, asked of it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, cast

from repository.connection import Database, Row
from repository.statements import Statement, load

SQL = load("invariants")
SAMPLE = 5  # offenders that a finding names

Severity = Literal["breach", "warning"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One promise that does not hold.

    breach: ours is broken. warning: another program, or an operator, did something that we can live with.
    count: how many offend; sample: the first few, comma-separated ids, never a message's content.
    """

    name: str
    severity: Severity
    count: int
    sample: str
    meaning: str


def check(database: Database) -> list[Finding]:
    """Ask every question of sql/invariants.sql; an empty list is good.

    It reads the tables whole: give the connection a statement timeout to match. Raises DatabaseAway.
    """
    answers = database.execute(EVERYTHING)
    return [finding(SQL[answer["name"]], answer) for answer in answers if answer["count"]]


def together(questions: Iterable[Statement]) -> Statement:
    """Make one statement of all questions, so that they see one snapshot: else an event moves on between two."""
    return Statement("everything", b" UNION ALL ".join(map(counted, questions)), "")


def counted(question: Statement) -> bytes:
    """Count a question's offenders and take the first few."""
    return (
        b"SELECT '%s' AS name, count(*) AS count, coalesce((array_agg(offender))[1:%d], '{}') AS sample"
        b" FROM (%s) AS x(offender)" % (question.name.encode(), SAMPLE, question.sql)
    )


def finding(question: Statement, answer: Row) -> Finding:
    return Finding(
        question.name,
        cast(Severity, question.severity),
        answer["count"],
        ", ".join(answer["sample"]),
        question.meaning,
    )


EVERYTHING = together(SQL.values())
