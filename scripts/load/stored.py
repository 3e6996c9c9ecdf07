"""A run as the JSON file that keeps it, and back.

What was read many times is kept in columns, rounded to what can be told apart: 1500 readings of four workers and
as many times of progress take less than 500 kB. A file of another schema is refused: it would be read wrongly.
"""

from collections.abc import Iterable
from typing import Any

import msgspec
import orjson

from scripts.load.results import SCHEMA, Run

KIND = "friendship-supervisor load test"
DIGITS = {
    "minute": 3,
    "rss_mb": 1,
    "pss_mb": 1,
    "cpu_s": 2,
}  # MB and s; 0.001 minutes are 60 ms of the scenario


class NotARun(ValueError):
    """The file is not one that this version of the load test wrote; the message says why."""


def dump(run: Run) -> bytes:
    """Write the run. A status that no event has at one time is written as 0 events."""
    plain = orjson.loads(orjson.dumps(run))
    for worker in plain["workers"]:
        statuses = {status: 0 for row in worker["progress"] for status in row["statuses"]}
        for row in worker["progress"]:
            row["statuses"] = statuses | row["statuses"]
        worker["progress"] = _columns(worker["progress"])
        if "statuses" in worker["progress"]:
            worker["progress"]["statuses"] = _columns(worker["progress"]["statuses"])
        worker["readings"] = _columns(worker["readings"])
    return orjson.dumps({"kind": KIND, **plain}, option=orjson.OPT_APPEND_NEWLINE)


def load(text: bytes) -> Run:
    """Read what `dump` wrote. Raises NotARun."""
    try:
        plain = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise NotARun(f"no JSON: {error}") from None
    if not isinstance(plain, dict) or plain.pop("kind", None) != KIND:
        raise NotARun("no result of the load test: it does not say that it is one")
    if plain.get("schema") != SCHEMA:
        raise NotARun(f"written in schema {plain.get('schema')}; this version reads schema {SCHEMA}")
    try:
        for worker in plain["workers"]:
            if "statuses" in worker["progress"]:
                worker["progress"]["statuses"] = _rows(worker["progress"]["statuses"])
            worker["progress"] = _rows(worker["progress"])
            worker["readings"] = _rows(worker["readings"])
        return msgspec.convert(plain, Run)
    except (KeyError, TypeError, ValueError, AttributeError, msgspec.ValidationError) as error:
        raise NotARun(f"not as the load test writes it: {error}") from None


def _columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    names: Iterable[str] = rows[0] if rows else ()
    return {name: [_rounded(name, row[name]) for row in rows] for name in names}


def _rounded(name: str, value: Any) -> Any:
    return round(value, DIGITS[name]) if name in DIGITS else value


def _rows(columns: dict[str, list[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
