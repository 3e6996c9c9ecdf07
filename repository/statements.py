"""Named SQL: reads `-- name:` sections out of a file.

    -- fragment: due                a piece used below as {due}; it may use the fragments above it
    e.next_attempt_at <= clock_timestamp()

    -- name: count_due              one statement
    -- severity: warning            only in invariants.sql
    -- What it answers, in prose.
    SELECT count(*) FROM conversation_events AS e WHERE {due}

What several files use stands in shared.sql, which holds fragments alone and comes before each of them.

Parameters are psycopg's, `%(name)s`. An unknown fragment, an unknown key or a name used twice is a ValueError
at import: a file that parses is one whose every statement is complete.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

HEADER = re.compile(r"^-- (name|fragment): ([a-z0-9_]+)$", re.MULTILINE)
KEY = re.compile(r"^(severity): (\w+)$")
FRAGMENT = re.compile(r"\{([a-z0-9_]+)\}")


@dataclass(frozen=True)
class Statement:
    """One statement and what its comment says."""

    name: str
    sql: bytes
    meaning: str
    severity: str = ""


def load(file: str) -> Mapping[str, Statement]:
    """Read repository/sql/<file>.sql as it was installed."""
    fragments: dict[str, str] = {}
    for name in ("shared", file):
        statements = _parse((files("repository") / "sql" / f"{name}.sql").read_text("utf-8"), fragments)
    return statements


def parse(text: str) -> Mapping[str, Statement]:
    """Split a file into its statements, fragments filled in, in the order of the file.

    Raises ValueError for a file that does not hold together.
    """
    return _parse(text, {})


def _parse(text: str, fragments: dict[str, str]) -> Mapping[str, Statement]:
    """Split a file, with the fragments of those before it, to which its own are added."""
    statements: dict[str, Statement] = {}
    heads = list(HEADER.finditer(text))
    ends = [head.start() for head in heads[1:]] + [len(text)]
    for head, end in zip(heads, ends, strict=True):
        kind, name = head.groups()
        if name in fragments or name in statements:
            raise ValueError(f"two sections are named {name}")
        prose, sql = split(text[head.end() : end])
        sql = fill(sql, fragments, name)
        if not sql:
            raise ValueError(f"{name} holds no SQL")
        if kind == "fragment":
            fragments[name] = sql
            continue
        keys = {match[1]: match[2] for line in prose if (match := KEY.match(line))}
        meaning = " ".join(line for line in prose if not KEY.match(line))
        statements[name] = Statement(name, sql.encode(), meaning, **keys)
    return statements


def split(section: str) -> tuple[list[str], str]:
    """Take the comment lines at the head of a section from the SQL below them."""
    lines = section.strip().splitlines()
    prose = []
    while lines and lines[0].startswith("--"):
        prose.append(lines.pop(0).removeprefix("--").strip())
    return prose, "\n".join(lines).strip().removesuffix(";")


def fill(sql: str, fragments: Mapping[str, str], name: str) -> str:
    def piece(match: re.Match[str]) -> str:
        if match[1] not in fragments:
            raise ValueError(f"{name} uses the unknown fragment {match[1]}")
        return fragments[match[1]]

    return FRAGMENT.sub(piece, sql)
