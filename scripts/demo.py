"""`./scripts/demo`: conversations are scored while children are recycled, on private servers, before your eyes."""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Literal

import psycopg
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from scripts.conversations import make
from scripts.servers.directory import temporary_directory
from scripts.servers.process import Program, ServerFailed, ServerMissing, account_of_ours, tail
from scripts.servers.stack import Stack

CHECKOUT = Path(__file__).resolve().parents[1]
EXAMPLES = CHECKOUT / "examples" / "conversations.jsonl"
COMMAND = Path(sys.executable).with_name("friendship-supervisor")
DATABASE = "robot_context_handling"
API_DELAY_S, API_SPREAD_S = 0.6, 0.4

BIG_BYTES = 3 << 20
WARM_UP = 4  # conversations after which a child is weighed
LOOKS = 3
MAX_MESSAGE_MB = 8
# Far enough above the budget that nothing is killed here: the demo shows replacements by choice.
HARD_ROOM_MB = 60

# Of what changes all the time, so that the picture stands still.
WIDTHS = {"pid": 7, "state": 8, "RSS MB": 6, "conversation": 18}
STATE_COLOURS = {"busy": "green", "draining": "yellow", "frozen": "red", "killed": "red", "empty": "dim"}
BY_STATUS = "SELECT status, count(*) FROM conversation_events GROUP BY status"
BY_USER = """
    SELECT user_id, (SELECT count(*) FROM conversation_events e WHERE e.user_id = s.user_id AND status = 'PROCESSED'),
           friendship_score, friendship_level,
           (SELECT string_agg(topic, ', ' ORDER BY topic) FROM jsonb_object_keys(topic_metrics) AS topic)
      FROM friendship_status s ORDER BY friendship_score DESC, user_id
"""

LOOK_EVERY_S = 0.25
STUCK_AFTER_S = 60.0


@dataclass(frozen=True)
class Options:
    children: int
    big: int
    keep: bool


@dataclass
class Show:
    """What is known of the run: read from the supervisor's log and from the database."""

    expected: int
    to_skip: int  # of the expected, those that the program does not score
    children: dict[int, dict[str, Any]] = field(default_factory=dict)  # by slot, as the log's child_status
    restarts: Counter[str] = field(default_factory=Counter)  # by reason
    news: deque[str] = field(default_factory=lambda: deque(maxlen=6))
    news_count: int = 0
    highest_mb: float = 0.0
    statuses: Counter[str] = field(default_factory=Counter)  # events by status

    def hear(self, event: dict[str, Any]) -> None:
        """Take in one line of the supervisor's log."""
        match event:
            case {"event": "child_status", "slot": int(slot)}:
                self.children[slot] = event
                self.highest_mb = max(self.highest_mb, event.get("rss_mb") or 0.0)
            case {"event": "child_draining", "slot": slot, "reason": reason, "rss_mb": rss_mb}:
                self.tell(f"child {slot} is {rss_mb} MB: recycled ({reason})")
            case {"event": "child_exited", "reason": reason} if reason != "shutdown":
                self.restarts[reason] += 1
                if reason not in {"rss_soft", "max_messages"}:
                    self.tell(f"child {event.get('slot')} ended: {reason}")
            case {"event": "message_failed", **rest}:
                self.tell(f"failed: {rest.get('conversation_id')} {rest.get('code', '')}")

    def tell(self, line: str) -> None:
        self.news.append(line)
        self.news_count += 1

    @property
    def settled(self) -> int:
        return sum(self.statuses[status] for status in ("PROCESSED", "SKIPPED", "FAILED"))

    @property
    def complete(self) -> bool:
        """Say whether all is processed; the examples' NEXT_LESSON conversations count when they are skipped."""
        good = {"PROCESSED": self.expected - self.to_skip, "SKIPPED": self.to_skip}
        return {name: count for name, count in self.statuses.items() if count} == good


class Supervisor:
    """The real program in a process of its own, its log read as it grows."""

    def __init__(self, directory: Path, environment: dict[str, str], *options: str) -> None:
        log = directory / "supervisor.log"
        log.write_bytes(b"")
        self.program = Program.start(
            [COMMAND, *options],
            env=os.environ | environment,
            cwd=CHECKOUT,
            log=log,
            user=account_of_ours(),
            farewell=signal.SIGQUIT,
            remove=directory,
        )
        self._lines = log.open("rb")
        self._rest = b""

    def events(self) -> Iterator[dict[str, Any]]:
        """Give what was logged since the last time."""
        *lines, self._rest = (self._rest + self._lines.read()).split(b"\n")
        for line in lines:
            if line.startswith(b"{"):
                yield json.loads(line)

    def wait_for(self, name: str, times: int = 1) -> dict[str, Any]:
        """Wait until so many events of this name are logged, and give the last."""
        seen: list[dict[str, Any]] = []

        def logged() -> bool:
            seen.extend(event for event in self.events() if event.get("event") == name)
            return len(seen) >= times

        self.program.wait_until(logged, f"friendship-supervisor ({name})", STUCK_AFTER_S)
        return seen[-1]

    def stop(self) -> None:
        self.program.stop(signal.SIGTERM, patience_s=30.0)
        self._lines.close()


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="demo", description="Watch conversations being scored while children are recycled."
    )
    parser.add_argument("--children", type=int, default=4, help="consumer children (default 4)")
    parser.add_argument("--big", type=int, default=32, help="generated conversations of 3 MB (default 32)")
    parser.add_argument(
        "--keep", action="store_true", help="keep running until ^C when everything is processed"
    )
    options = Options(**vars(parser.parse_args()))
    console = Console(highlight=False, soft_wrap=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        console.print("demo: starting a private RabbitMQ, PostgreSQL and Memory API stand-in")
        with temporary_directory() as directory, Stack() as stack:
            return demonstrate(options, console, stack, directory)
    except (ServerMissing, ServerFailed) as error:
        console.print(f"demo: {error}", markup=False)
        return 1
    except KeyboardInterrupt:
        console.print("demo: stopped")
        return 130


def demonstrate(options: Options, console: Console, stack: Stack, directory: Path) -> int:
    stack.postgres.create_database(DATABASE)
    environment = stack.environment(DATABASE) | {"FRIENDSHIP_LOG_FORMAT": "json", "FRIENDSHIP_LISTEN": ""}
    for name, value in stack.environment(DATABASE).items():
        console.print(f"      {name}={value}", markup=False, soft_wrap=True)
    command(environment, "migrate")
    examples = EXAMPLES.read_text("utf-8").splitlines(keepends=True)
    budget_mb = weigh_idle_child(directory, environment, examples[:WARM_UP])
    stack.memory_api.set_mode("delay", seconds=API_DELAY_S, spread_s=API_SPREAD_S)
    console.print(
        f"demo: an idle child is {budget_mb} MB here, and that is the budget of each of the {options.children} now:"
        " what a 3 MB message leaves behind is enough for a child to be recycled"
    )
    console.print(
        "      (so tight a budget takes --allow-overcommit, and nobody should use it; the default is 300 MB)"
    )
    supervisor = Supervisor(
        directory,
        environment,
        f"--children={options.children}",
        f"--rss-mb={budget_mb}",
        f"--rss-hard-mb={budget_mb + HARD_ROOM_MB}",
        f"--max-message-mb={MAX_MESSAGE_MB}",
        "--allow-overcommit",
        "--listen=127.0.0.1:0",
    )
    try:
        page = supervisor.wait_for("status_listening")["address"]
        console.print(
            f"demo: the same on a page of its own, for as long as this lasts: http://{page}/", markup=False
        )
        to_skip = sum(json.loads(line).get("bot_type") == "NEXT_LESSON" for line in examples)
        show = Show(len(examples) + options.big, to_skip)
        publisher = publish(environment, directory, options.big)
        finished = watch(
            show,
            console,
            supervisor,
            publisher,
            database_url=stack.postgres.url_of(DATABASE),
            keep=options.keep,
        )
        if publisher.poll() is None:
            publisher.kill()
        publisher.wait()
    finally:
        supervisor.stop()
    summarise(show, stack.postgres.url_of(DATABASE), console)
    if not finished:
        console.print("demo: not everything was processed; the supervisor's log ends:", style="bold red")
        console.print(tail(directory / "supervisor.log"), markup=False)
    return 0 if finished else 1


def command(environment: dict[str, str], *words: str, lines: str = "") -> None:
    """Run one of the program's commands to its end. Raises ServerFailed when it fails."""
    done = subprocess.run(
        [COMMAND, *words],
        env=os.environ | environment,
        cwd=CHECKOUT,
        input=lines,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise ServerFailed(f"friendship-supervisor {words[0]} failed: {done.stderr or done.stdout}")


def weigh_idle_child(directory: Path, environment: dict[str, str], conversations: Sequence[str]) -> float:
    """Return what a child weighs after some small messages, with nothing in hand: MB."""
    supervisor = Supervisor(directory, environment, "--children=1", f"--max-message-mb={MAX_MESSAGE_MB}")
    try:
        supervisor.wait_for("child_ready")
        command(environment, "publish", "-", lines="".join(conversations))
        supervisor.wait_for("message_processed", times=len(conversations))
        weight = 0.0
        for _ in range(LOOKS):  # the last line of a message is written before its memory is given back
            sleep(LOOK_EVERY_S)
            supervisor.program.signal(signal.SIGUSR1)
            weight = supervisor.wait_for("child_status")["rss_mb"]
        return weight
    finally:
        supervisor.stop()


def publish(environment: dict[str, str], directory: Path, big: int) -> "subprocess.Popen[bytes]":
    """Start publishing the big ones, which push children over the budget, and then the examples."""
    generated = directory / "generated.jsonl"
    with generated.open("w", encoding="utf-8") as file:
        file.writelines(big_conversations(big))
    return subprocess.Popen(
        [COMMAND, "publish", generated, EXAMPLES],
        env=os.environ | environment,
        cwd=CHECKOUT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def big_conversations(count: int) -> Iterator[str]:
    """Make lines of 3 MB, of three users."""
    for number in range(1, count + 1):
        yield (
            make(f"big-{number:04}", f"user-long-{number % 3 + 1}", size_bytes=BIG_BYTES).body.decode() + "\n"
        )


def watch(  # noqa: PLR0913 - the parts of one run
    show: Show,
    console: Console,
    supervisor: Supervisor,
    publisher: "subprocess.Popen[bytes]",
    *,
    database_url: str,
    keep: bool,
) -> bool:
    """Show the run until every event is settled (with --keep: until ^C); say whether all were processed."""
    moved_at, settled = monotonic(), -1
    with psycopg.connect(database_url, autocommit=True) as database, screen(console) as refresh:
        while True:
            supervisor.program.signal(signal.SIGUSR1)
            try:
                sleep(LOOK_EVERY_S)
            except KeyboardInterrupt:
                if show.complete:
                    return True
                raise
            for event in supervisor.events():
                show.hear(event)
            show.statuses = Counter(dict(database.execute(BY_STATUS).fetchall()))
            if show.settled > settled:
                moved_at, settled = monotonic(), show.settled
                if show.complete and keep:
                    show.tell("everything is processed; ^C stops the demo")
            refresh(show)
            broken = not supervisor.program.alive or (publisher.poll() or 0) != 0
            stuck = monotonic() - moved_at > STUCK_AFTER_S and not show.complete
            if broken or stuck or (settled >= show.expected and not (keep and show.complete)):
                return show.complete and not broken


@contextlib.contextmanager
def screen(console: Console) -> Iterator[Callable[[Show], None]]:
    """Give what shows the run: a live picture on a terminal, lines of progress elsewhere."""
    if console.is_terminal:
        with Live(console=console, auto_refresh=False) as live:
            yield lambda show: live.update(picture(show), refresh=True)
    else:
        yield Progress(console).show


class Progress:
    """Prints what is new, and every two seconds how far it is."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._told = 0
        self._next_at = 0.0

    def show(self, show: Show) -> None:
        new = min(show.news_count - self._told, len(show.news))
        for line in list(show.news)[len(show.news) - new :]:
            self._console.print(f"      {line}", markup=False)
        self._told = show.news_count
        if monotonic() >= self._next_at or show.settled >= show.expected:
            self._next_at = monotonic() + 2.0
            self._console.print(f"demo: {progress_line(show)}", markup=False)


def progress_line(show: Show) -> str:
    statuses = ", ".join(f"{name} {count}" for name, count in sorted(show.statuses.items()))
    restarts = ", ".join(f"{count} {reason}" for reason, count in sorted(show.restarts.items())) or "none"
    return f"{show.settled}/{show.expected} settled ({statuses or 'no events yet'}); restarts: {restarts}"


def picture(show: Show) -> Group:
    children = Table(title="Children", title_justify="left")
    for name in ("slot", "pid", "state", "RSS MB", "messages", "restarts", "conversation"):
        justify: Literal["left", "right"] = "left" if name in {"state", "conversation"} else "right"
        children.add_column(name, justify=justify, min_width=WIDTHS.get(name))
    for slot, child in sorted(show.children.items()):
        cells = (slot, child["pid"], child["state"], child["rss_mb"], child["messages"], child["restarts"])
        shown = ["-" if cell is None else str(cell) for cell in cells]
        colour = STATE_COLOURS.get(child["state"], "")
        children.add_row(*shown, child["conversation_id"] or "", style=colour)
    events = Table(title="Events", title_justify="left")
    events.add_column("status")
    events.add_column("count", justify="right")
    for status in ("PENDING", "PROCESSING", "PROCESSED", "SKIPPED", "FAILED"):
        events.add_row(status, str(show.statuses[status]))
    events.add_row("of", str(show.expected), style="dim")
    side_by_side = Table.grid(padding=(0, 2))
    side_by_side.add_row(children, events)
    return Group(side_by_side, Text("\n".join(show.news), style="dim"))


def summarise(show: Show, database_url: str, console: Console) -> None:
    with psycopg.connect(database_url) as database:
        rows = database.execute(BY_USER).fetchall()
    table = Table(title="Scores", title_justify="left")
    for name in ("user", "conversations", "score", "level", "topics"):
        table.add_column(name, justify="right" if name in {"conversations", "score"} else "left")
    for user, conversations, score, level, topics in rows:
        table.add_row(user, str(conversations), f"{score:.1f}", level, topics or "")
    console.print(table)
    console.print(f"demo: {progress_line(show)}; heaviest child seen: {show.highest_mb:.0f} MB", markup=False)


if __name__ == "__main__":
    sys.exit(main())
