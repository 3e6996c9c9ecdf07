"""The report as text for a terminal of 100 columns, and as Markdown; pure."""

import textwrap
from collections.abc import Iterator, Sequence

from scripts.load import rungs
from scripts.load.results import Run
from scripts.load.rows import Cell, groups
from scripts.load.verdict import sentence
from scripts.load.words import hands, size

WIDTH = 100
LABEL_WIDTH = 30
WIDEST_CELL = 22
BAD = "!"
BRIEF = (
    ("published", "published"),
    ("processed", "processed"),
    ("failed, to be tried again", "failed, to be tried again"),
    ("unfinished", "unfinished"),
    ("lost", "lost"),
    ("scored more than once", "doubled"),
    ("delivered again", "delivered again"),
    ("nine of ten", "9 of 10 processed within, s"),
    ("PSS at its highest", "memory, MB"),
    ("killed by the memory limit", "killed"),
    ("s idle in transaction", "idle in transaction, s"),
    ("ms a settled message", "CPU a message, ms"),
)
"""Rows by their labels, and as columns are called there."""


def text(run: Run) -> str:
    """Lay out the report: what was run, a verdict for each worker, and the figures, one column a worker.

    A figure that should not be so is followed by `!`.
    """
    blocks = ["\n".join(_wrapped(headline(run)))]
    if run.workers:
        blocks += [_verdicts(run), "\n".join(_figures(run))]
    if run.steps:
        blocks += ["\n".join(_wrapped(f"{rungs.sentence(run.steps)}.")), "\n".join(_steps(run))]
    return "\n\n".join(blocks)


def markdown(run: Run) -> str:
    """Write the same for a page: a list of verdicts and one table."""
    blocks = [f"{headline(run)}."]
    if run.workers:
        blocks.append("\n".join(f"- **{worker.title}**: {sentence(run, worker)}." for worker in run.workers))
        titles = [f"{worker.title} {worker.version or ''}".strip() for worker in run.workers]
        lines = [_piped(["", *titles]), "|---|" + "---:|" * len(titles)]
        for group in groups(run):
            lines.append(_piped([f"**{group.title}**", *("" for _ in titles)]))
            lines += [_piped([row.label, *map(_marked, row.cells)]) for row in group.rows]
        blocks.append("\n".join(lines))
    if run.steps:
        lines = [_piped(rungs.COLUMNS), "|" + "---:|" * len(rungs.COLUMNS)]
        blocks += [
            f"{rungs.sentence(run.steps)}.",
            "\n".join([*lines, *(_piped(rungs.cells(step)) for step in run.steps)]),
        ]
    return "\n\n".join(blocks) + "\n"


def brief(run: Run) -> str:
    """Write the few rows that a README has room for, one worker a row. A figure that should not be so is bold."""
    rows = {row.label: row for group in groups(run) for row in group.rows}
    heads = ["", *(words for _, words in BRIEF)]
    lines = [_piped(heads), "|---|" + "---:|" * len(BRIEF)]
    for number, worker in enumerate(run.workers):
        cells = [_marked(rows[label].cells[number]) for label, _ in BRIEF]
        lines.append(_piped([worker.title, *cells]))
    return "\n".join(lines) + "\n"


def headline(run: Run) -> str:
    """Say in one line what was run."""
    return f"{run.title}: {settings(run)}"


def settings(run: Run) -> str:
    """Say how it was run."""
    said = [f"messages of {size(run.message_kb)}"]
    if run.workers:
        time = f"minutes {run.from_minute:g} to {run.to_minute:g}, times x {run.time_scale:g}"
        said = [time, f"{hands(run)}", *said]
    if run.steps:
        said.append(f"steps of {', '.join(str(step.children) for step in run.steps)} children")
    if run.limit_mb:
        said.append(f"memory limit {run.limit_mb:,} MB")
    return ", ".join(said)


def _verdicts(run: Run) -> str:
    widest = max(len(worker.title) for worker in run.workers)
    lines: list[str] = []
    for worker in run.workers:
        lines += _wrapped(f"{worker.title.ljust(widest)}  {sentence(run, worker)}", indent=widest + 2)
    return "\n".join(lines)


def _figures(run: Run) -> Iterator[str]:
    width = min(WIDEST_CELL, (WIDTH - LABEL_WIDTH) // len(run.workers))
    titles = [
        [*textwrap.wrap(worker.title, width - 2), *([worker.version] if worker.version else [])]
        for worker in run.workers
    ]
    height = max(map(len, titles))
    for row in zip(*([""] * (height - len(title)) + title for title in titles), strict=True):
        yield _line("", [f"{words} " for words in row], width)
    for group in groups(run):
        yield from ("", group.title)
        for figure in group.rows:
            cells = [f"{cell.text}{BAD if cell.bad else ' '}" for cell in figure.cells]
            yield _line(f"  {figure.label}", cells, width)


def _steps(run: Run) -> Iterator[str]:
    rows = [rungs.cells(step) for step in run.steps]
    width = WIDTH // len(rungs.COLUMNS)
    heads = [textwrap.wrap(title, width - 1) for title in rungs.COLUMNS]
    heads = [[""] * (2 - len(head)) + head for head in heads]
    for row in (*zip(*heads, strict=True), *rows):
        yield "".join(cell.rjust(width) for cell in row).rstrip()


def _line(label: str, cells: Sequence[str], width: int) -> str:
    return (label.ljust(LABEL_WIDTH) + "".join(cell.rjust(width) for cell in cells)).rstrip()


def _wrapped(words: str, indent: int = 0) -> list[str]:
    return textwrap.wrap(words, WIDTH, subsequent_indent=" " * indent)


def _marked(cell: Cell) -> str:
    return f"**{cell.text}**" if cell.bad else cell.text


def _piped(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |".replace("|  |", "| |")
