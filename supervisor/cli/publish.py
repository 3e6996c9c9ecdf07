"""`publish`: JSON Lines in, messages out, each accepted when the broker has confirmed it."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import click

from consumer.amqp import Publisher
from consumer.conversation import transcribe
from consumer.errors import BrokerAway, MalformedMessage, MessageTooLarge
from consumer.message import parse
from supervisor.cli.given import command_settings, options
from supervisor.cli.help import SectionedCommand
from supervisor.cli.options import CONNECTIONS, LOGS, MESSAGES
from supervisor.cli.visit import as_json, json_line

REFUSED_SHOWN = 20


@dataclass(slots=True)
class Tally:
    """How many lines the broker has, and which ones are no message: (file, line number from 1, reason)."""

    max_bytes: int
    accepted: int = 0
    refused: list[tuple[str, int, str]] = field(default_factory=list)


@click.command(cls=SectionedCommand)
@as_json
@options(CONNECTIONS, MESSAGES, LOGS)
@click.argument("files", nargs=-1, required=True, type=click.File("rb"), metavar="FILE...|-")
@click.pass_context
def publish(context: click.Context, files: tuple[BinaryIO, ...], as_json: bool) -> None:
    """Publish conversations, one JSON object a line.

    A line counts as accepted when the broker has confirmed it. Lines that are no valid message are named by number
    and make the exit status 1; the others are published all the same.
    """
    given = command_settings(context, CONNECTIONS, LOGS, MESSAGES)
    broker = given.consumer.broker
    tally = Tally(given.consumer.max_message_bytes)
    begun, lost = False, None
    try:
        with Publisher(broker, "publish") as publisher, _progress(files) as advance:
            begun = True
            for file in files:
                _publish_lines(file, broker.queue, publisher, tally, advance)
    except BrokerAway as away:
        how = (
            "was lost: {}; the line under way may have arrived" if begun else "is away: {}; nothing was sent"
        )
        lost = f"the broker {how.format(away.reason)}"
    except KeyboardInterrupt:
        lost = (
            "interrupted; the line under way may have arrived" if begun else "interrupted; nothing was sent"
        )
    if as_json:
        _tell(tally)
    else:
        _report(tally)
    if lost:
        click.echo(f"friendship-supervisor: {lost}", err=True)
    sys.exit(1 if tally.refused or lost else 0)


def _publish_lines(
    file: BinaryIO, queue: str, publisher: Publisher, tally: Tally, advance: Callable[[int], None]
) -> None:
    for number, line in enumerate(file, 1):
        body = line.strip()
        if body:
            try:
                conversation_id = _checked(body, tally.max_bytes)
            except MalformedMessage as malformed:
                tally.refused.append((file.name, number, malformed.reason))
            else:
                publisher.publish(queue, body, conversation_id)
                tally.accepted += 1
        advance(len(line))


def _checked(body: bytes, max_bytes: int) -> str:
    if len(body) > max_bytes:
        raise MessageTooLarge(f"{len(body)} bytes, over the limit of {max_bytes} (MAX_MESSAGE_MB)")
    message = parse(body)
    if message.log is not None:
        transcribe(message.log, message.user_id, message.conversation_id)
    return message.conversation_id


@contextlib.contextmanager
def _progress(files: tuple[BinaryIO, ...]) -> Iterator[Callable[[int], None]]:
    """Show a bar on a terminal, by bytes; elsewhere nothing."""
    if not sys.stderr.isatty():
        yield lambda _bytes: None
        return
    sizes = [os.fstat(file.fileno()).st_size for file in files if file.seekable()]
    length = sum(sizes) if len(sizes) == len(files) else None
    shown: Any = click.progressbar(length=length, label="publishing", file=sys.stderr)
    with shown as bar:
        yield bar.update


def _tell(tally: Tally) -> None:
    for name, number, reason in tally.refused:
        json_line({"file": name, "line": number, "reason": reason})
    json_line({"accepted": tally.accepted, "refused": len(tally.refused)})


def _report(tally: Tally) -> None:
    for name, number, reason in tally.refused[:REFUSED_SHOWN]:
        click.echo(f"{name}: line {number} is no message: {reason}", err=True)
    if len(tally.refused) > REFUSED_SHOWN:
        numbers = ", ".join(str(number) for _, number, _ in tally.refused[REFUSED_SHOWN:])
        click.echo(f"and lines {numbers}", err=True)
    click.echo(f"accepted {tally.accepted}, refused {len(tally.refused)}")
