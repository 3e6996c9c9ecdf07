"""Ages on the command line: a number and its unit."""

import re

import click

UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
MOST_S = 100 * 366 * UNITS_S["d"]


def age_s(text: str) -> float:
    """Read `90d`, `12h`, `30m`, `45s`, `2w` as seconds. Raises BadParameter."""
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,6})?)([smhdw])", text.strip().lower(), re.ASCII)
    seconds = float(found[1]) * UNITS_S[found[2]] if found else -1.0
    if not 0 <= seconds <= MOST_S:
        raise click.BadParameter(f"{text!r} is no age such as 90d, 12h, 30m or 45s, at most 100 years")
    return seconds
