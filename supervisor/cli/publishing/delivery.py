"""One run over files: each entry checked, its log carried to its place, published, and recorded.

The order of every step decides what a death in between costs. A log is in its place before its message is published,
and a place is recorded after the confirm: dying between two steps makes the next run repeat the line, and an event is
scored once however often its message comes. No death leaves a line out.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import assert_never

from consumer.errors import MalformedMessage
from supervisor.cli.publishing import feed
from supervisor.cli.publishing.doors import Door
from supervisor.cli.publishing.entries import Broken, Entry
from supervisor.cli.publishing.feed import Reader
from supervisor.cli.publishing.files import Sheet
from supervisor.cli.publishing.journal import AlreadyUnderWay, Journal, Page, identify
from supervisor.cli.publishing.letters import letter
from supervisor.cli.publishing.outbox import Outbox
from supervisor.cli.publishing.pacing import Pace
from supervisor.cli.publishing.place import Changed, Grown, Identity, Place, find, judge
from supervisor.cli.publishing.screen import Screen, Tally
from supervisor.cli.publishing.stopping import Stop


class Book:
    """The place in one file, recorded as long as that can be: publishing goes on without."""

    def __init__(self, page: Page | None, lost: Callable[[OSError], None]) -> None:
        self._page = page
        self._lost = lost
        self.place = Place()

    @property
    def is_kept(self) -> bool:
        return self._page is not None

    def begin(self, reader: Reader, place: Place) -> None:
        """Record where it begins, and with which file. Raises Broken."""
        self.place = place
        if self._page is None:
            return
        identity = _identity(reader)
        with self._kept() as page:
            if page is not None:
                page.begin(identity, place)

    def note(self, place: Place) -> None:
        """Record how far it has come."""
        self.place = place
        with self._kept() as page:
            if page is not None:
                page.note(place)

    @contextmanager
    def _kept(self) -> Iterator[Page | None]:
        try:
            yield self._page
        except OSError as error:
            self._page = None
            self._lost(error)


@dataclass(slots=True)
class Delivery:
    """One run. max_bytes: of one message.

    recording: where it stands is recorded; not for long where the journal cannot be written.
    current: the file that is being published, for whoever tells of an interruption.
    """

    outbox: Outbox
    door: Door
    stop: Stop
    screen: Screen
    tally: Tally
    journal: Journal
    max_bytes: int
    pace: Pace
    from_start: bool
    recording: bool = field(default=True, init=False)
    current: tuple[Sheet, Book] | None = field(default=None, init=False)

    def run(self, sheets: Sequence[Sheet]) -> None:
        """Publish the files in order. Raises what the outbox and the door raise, and KeyboardInterrupt.

        Files that are done keep their pages until all are: the same command, run again after an interruption, passes
        them over.
        """
        for sheet in sheets:
            try:
                self._publish(sheet)
            except Broken as broken:
                self.tally.broken += 1
                self.screen.say(f"{sheet.name}: {broken}")
        self.current = None
        if not self.tally.broken:
            for sheet in sheets:
                if sheet.is_resumable:
                    self._forget(sheet)

    def _publish(self, sheet: Sheet) -> None:
        with ExitStack() as stack:
            page = self._page(sheet, stack)
            book = Book(page, self._unrecorded)
            self.current = sheet, book
            reader = stack.enter_context(feed.opened(sheet.path))
            recorded = self._recorded(sheet, page, reader)
            has_grown = isinstance(recorded, Grown)
            place = recorded.place if isinstance(recorded, Grown) else recorded
            book.place = place
            if place.ended:
                self._go_on(sheet, place, sheet.size or 0)
                return
            entries = self._entries(sheet, reader, Place() if has_grown else place)
            done = 0
            if place.number:
                last = find(place, entries, whole=has_grown)
                if last is not None:
                    done = reader.consumed_bytes(last)
                    self._go_on(sheet, place, done)
                else:
                    self.screen.say(
                        f"{sheet.name}: begins anew: it has changed before {sheet.unit} {place.number}"
                    )
                    place = Place()
                    reader = stack.enter_context(feed.opened(sheet.path))
                    entries = self._entries(sheet, reader, place)
            book.begin(reader, place)
            for entry in entries:
                self._deal_with(sheet, book, entry)
                at = reader.consumed_bytes(entry)
                self.screen.advance(at - done)
                done = at
            self.screen.advance(max(0, (sheet.size or 0) - done))
            if not book.place.number:
                if not sheet.is_resumable:
                    raise Broken("it held no conversation: what writes it may have failed")
                self.screen.say(f"{sheet.name} holds no conversation")
            book.note(book.place.at_end())

    def _deal_with(self, sheet: Sheet, book: Book, entry: Entry) -> None:
        try:
            read = letter(entry, self.max_bytes)
            self._wait()
            body = self.door.carry(read)
        except MalformedMessage as malformed:
            self.screen.refused(sheet, entry, malformed.reason)
            remedy = _remedy(entry) if sheet.unit == "line" and not book.place.number else None
            if remedy:
                self.screen.hint(sheet, remedy)
            book.note(book.place.after(entry, accepted=False))
            return
        self.outbox.ready()
        with self.stop.under_way():
            self.outbox.publish(body, read.message.conversation_id)
            book.note(book.place.after(entry, accepted=True))
            self.tally.accepted += 1

    def _wait(self) -> None:
        wait_s = self.pace.wait_s(time.monotonic())
        if wait_s:
            time.sleep(wait_s)  # a signal ends it: its handler raises
        self.pace = self.pace.sent(time.monotonic())

    def _entries(self, sheet: Sheet, reader: Reader, place: Place) -> Iterator[Entry]:
        """Give the entries of a file, the one that was dealt with last again."""
        match sheet.unit:
            case "line":
                return feed.lines(reader, self.max_bytes, place.start, place.number or 1)
            case "item":
                return feed.items(reader, self.max_bytes, place.start)
            case _:
                assert_never(sheet.unit)

    def _page(self, sheet: Sheet, stack: ExitStack) -> Page | None:
        if not self.recording or not sheet.is_resumable:
            return None
        try:
            return stack.enter_context(self.journal.page(os.path.realpath(sheet.path)))
        except OSError as error:
            self._unrecorded(error)
            return None
        except AlreadyUnderWay:
            problem = "another process is publishing it: nothing of it was sent"
        raise Broken(problem)

    def _recorded(self, sheet: Sheet, page: Page | None, reader: Reader) -> Place | Grown:
        """Say where to go on: what is recorded, as far as it still holds, or the beginning."""
        if page is None or page.is_new or self.from_start:
            return Place()
        found: Place | Grown | Changed
        if page.recorded is None:
            found = Changed("the record of where it stood cannot be read")
        else:
            place, then = page.recorded
            found = judge(place, then, _identity(reader, then.head_bytes))
        if isinstance(found, Changed):
            self.screen.say(f"{sheet.name}: begins anew: {found.reason}")
            return Place()
        return found

    def _go_on(self, sheet: Sheet, place: Place, size: int) -> None:
        self.tally.before_accepted += place.accepted
        self.tally.before_refused += place.refused
        self.screen.skip(size)
        how = "it was done by an earlier run" if place.ended else f"goes on after {sheet.unit} {place.number}"
        self.screen.say(f"{sheet.name}: {how} (--from-start: begins anew)")

    def _unrecorded(self, error: OSError) -> None:
        self.recording = False
        self.screen.say(
            f"where it stands cannot be recorded ({error.strerror}; --journal names another directory): "
            "after an interruption the same command would begin anew"
        )

    def _forget(self, sheet: Sheet) -> None:
        try:
            self.journal.forget(os.path.realpath(sheet.path))
        except AlreadyUnderWay:
            pass  # whoever is at it now keeps its record
        except OSError as error:
            self.screen.say(
                f"{sheet.name}: the record of where it stood cannot be removed ({error.strerror}): "
                "give --from-start to publish it again"
            )


def _remedy(first: Entry) -> str | None:
    """Say what makes lines of a JSON text; None where the first line is no beginning of one, but wrong by itself."""
    match first.body:
        case b"{":
            return "jq -c ."
        case bytes() as text if text.startswith(b"["):
            return "jq -c '.[]'"
        case _:
            return None


def _identity(reader: Reader, head_bytes: int | None = None) -> Identity:
    try:
        return identify(reader.fileno(), head_bytes)
    except OSError as error:
        problem = error.strerror or "it cannot be read"
    raise Broken(problem)
