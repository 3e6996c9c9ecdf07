"""Named SQL is read as it is written, and a file that does not hold together is refused."""

import pytest

from repository.statements import Statement, load, parse


def test_a_statement_has_its_name_its_meaning_and_its_sql() -> None:
    """Comment lines at its head are prose; the SQL loses only its semicolon."""
    text = "-- A file.\n\n-- name: count\n-- How many\n-- there are.\nSELECT count(*)\n  FROM t;\n"
    assert parse(text) == {"count": Statement("count", b"SELECT count(*)\n  FROM t", "How many there are.")}


def test_a_severity_is_no_prose() -> None:
    """It is a key of its own."""
    found = parse("-- name: a\n-- severity: breach\n-- Bad.\nSELECT 1")["a"]
    assert (found.severity, found.meaning) == ("breach", "Bad.")


def test_fragments_are_filled_in_where_they_are_named() -> None:
    """Also one in another; braces that name nothing are SQL."""
    text = (
        "-- fragment: due\n-- In time.\nat <= now()\n"
        "-- fragment: mine\n{due} AND owner = %(me)s\n"
        "-- name: take\nUPDATE t SET tags = '{}' WHERE {mine}"
    )
    assert parse(text)["take"].sql == b"UPDATE t SET tags = '{}' WHERE at <= now() AND owner = %(me)s"


def test_comments_inside_a_statement_stay_in_it() -> None:
    """The server's log shows the reason with the query."""
    assert b"-- why" in parse("-- name: a\nSELECT 1 -- why\n")["a"].sql


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("-- name: a\nSELECT 1\n-- name: a\nSELECT 2", "two sections are named a"),
        ("-- fragment: a\n1\n-- name: a\nSELECT 2", "two sections are named a"),
        ("-- name: a\nSELECT {b}", "unknown fragment b"),
        ("-- name: a\nSELECT {b}\n-- fragment: b\n1", "unknown fragment b"),
        ("-- name: a\n-- Only prose.\n", "a holds no SQL"),
    ],
)
def test_a_file_that_does_not_hold_together_is_refused(text: str, complaint: str) -> None:
    """At import, not when the statement is needed."""
    with pytest.raises(ValueError, match=complaint):
        parse(text)


@pytest.mark.parametrize(
    "file",
    [
        *("events", "deaths", "retries", "rejects", "operations", "invariants", "schema", "session"),
        *("logs", "activity", "server"),
    ],
)
def test_every_file_of_the_package_parses(file: str) -> None:
    """And no placeholder is left over."""
    statements = load(file)
    assert statements
    assert not [name for name, statement in statements.items() if b"{" in statement.sql.replace(b"{}", b"")]


def test_the_shared_file_holds_fragments_alone() -> None:
    """Loaded as a file of its own it would name them twice: what it has, no other file may say otherwise."""
    with pytest.raises(ValueError, match="two sections are named"):
        load("shared")
