"""docs/configuration.md out of the one table of options: `python scripts/configuration.py` writes it anew."""

from collections.abc import Iterator
from pathlib import Path

from supervisor.arithmetic import IDLE_RSS_BYTES, LLM_LOAD, S3_LOAD
from supervisor.cli.arithmetic import IDLE_CHILDREN_AT_LEAST
from supervisor.cli.options import OPTIONS, Option
from supervisor.cli.settings import (
    DEADLINE_MARGIN_S,
    DRAIN_MARGIN_S,
    HARD_FACTOR,
    LEASE_MARGIN_S,
    SCHEMA_WAIT_S,
    WRITE_BUDGET_S,
)

PAGE = Path(__file__).parents[1] / "docs" / "configuration.md"
UNITS = {"S": "seconds", "MB": "MB", "HOURS": "hours", "POINTS": "points"}
SCALE = 2**20

HEAD = """\
# Configuration

Written by `python scripts/configuration.py` out of [supervisor/cli/options.py](../supervisor/cli/options.py), which is also what `--help`
prints. An option beats its variable, which beats the default; an empty variable counts as unset, unless an empty value means
something (said in the last column). Connection options are taken before and after the command. MB are 2^20 bytes everywhere.
`friendship-supervisor check` tells all that is wrong with a configuration in one run, with the remedies.
"""

TAIL = f"""\
## Defaults that follow from others

| setting | follows from | and must be |
|---|---|---|
| `--rss-hard-mb` | {HARD_FACTOR:g} x `--rss-mb` | at least `--rss-mb`; `--rss-mb` at least {IDLE_CHILDREN_AT_LEAST * IDLE_RSS_BYTES // SCALE} (twice an idle child; S3 adds {S3_LOAD.idle_rss_bytes // SCALE} to that child, the LLM {LLM_LOAD.idle_rss_bytes // SCALE}) |
| `--max-message-mb` | | twice it and an idle child within `--rss-hard-mb` |
| `--message-deadline` | the time limits in use (`--memory-api-timeout`; `LOG_FETCH_TIMEOUT_SECONDS` with S3, `LLM_TIMEOUT_SECONDS` with the LLM) + {DEADLINE_MARGIN_S:g} s | at least those limits + {WRITE_BUDGET_S:g} s for writing the outcome |
| `--lease` | `--message-deadline` + {LEASE_MARGIN_S:g} s | longer than `--message-deadline` |
| `--drain-timeout` | `--message-deadline` + {DRAIN_MARGIN_S:g} s | shorter only with a warning; the platform must wait longer than it (docker: 10 s, Kubernetes: 30 s by default) |

What all processes may need together must fit the container's memory limit: see [the memory arithmetic](decisions/0010-memory-arithmetic.md).
`--allow-overcommit` starts all the same.

## Other variables that are read

| variable | by | meaning |
|---|---|---|
| `FRIENDSHIP_RETRY_LIMIT` | `retry` | its `--limit` |
| `TMPDIR` | children, `dead`, `forget` | where bodies go that are too large for memory: a directory on a disk, with room for the largest |
| `SSL_CERT_FILE`, `SSL_CERT_DIR` | children, `check` | certificate authorities for amqps and https (S3 and the LLM too), instead of the system's |
| `PGSSLMODE`, `PGSSLROOTCERT`, `PGPASSFILE` and libpq's others | whatever asks the database | what `DATABASE_URL` leaves out |
| `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, `AWS_PROFILE` and botocore's others | children, `publish --log-to s3`, `check`, with `S3_ALLOWED_BUCKETS` only | credentials and region for S3; without any, requests go unsigned |
| `NOTIFY_SOCKET`, `WATCHDOG_USEC`, `WATCHDOG_PID` | `run` | set by systemd: readiness, status line, watchdog |

No proxy is used for the Memory API, S3 and the LLM, whatever `HTTP_PROXY` says.

## Exit codes

| code | meaning |
|---:|---|
| 0 | stopped as asked; of a command: done, and for `check` nothing FAILs |
| 1 | failed while running (children cannot be kept alive); of a command: not done, or not all, and one line says why |
| 2 | bad usage, configuration or schema, every problem named at once; an old schema is waited for {SCHEMA_WAIT_S:g} s |
"""


def page() -> str:
    """Give the whole page."""
    sections = dict.fromkeys(option.section for option in OPTIONS)
    tables = ("\n".join(_section(section)) for section in sections)
    return "\n".join([HEAD, *tables, TAIL])


def _section(section: str) -> Iterator[str]:
    yield f"## {section}"
    yield ""
    yield "| option | variable | unit | default | meaning |"
    yield "|---|---|---|---|---|"
    for option in OPTIONS:
        if option.section == section:
            yield f"| {' | '.join(_cells(option))} |"
    yield ""


def _cells(option: Option) -> Iterator[str]:
    value = "" if option.metavar in {"", *UNITS} else f" {option.metavar}"
    yield f"`{option.flag}{_escaped(value)}`" if option.flag else ""
    yield f"`{option.env}`"
    yield UNITS.get(option.metavar, "")
    yield _default(option)
    yield _escaped(option.help) + (" May be empty." if option.may_be_empty else "")


def _default(option: Option) -> str:
    if option.default_shown:
        return option.default_shown
    return f"`{_escaped(option.default)}`" if option.default else "empty"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<queue>", "&lt;queue&gt;")


if __name__ == "__main__":
    PAGE.write_text(page())
