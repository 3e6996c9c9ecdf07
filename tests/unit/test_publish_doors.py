"""Where a log goes before its message does."""

import gzip
import json

import pytest

from consumer.buckets import log_url
from consumer.errors import LogUnavailable
from supervisor.cli.publishing import doors
from supervisor.cli.publishing.doors import TRIES, S3Door, pause_s
from supervisor.cli.publishing.entries import Entry
from supervisor.cli.publishing.letters import Letter, letter


def line(user: str = "anna", text: str = "hi", conversation_id: str = "c") -> Letter:
    log = [{"speaker": "user", "text": text}]
    body = json.dumps({"conversation_id": conversation_id, "user_id": user, "conversation_log": log}).encode()
    return letter(Entry(1, 0, len(body), len(body), body), len(body))


class FakeArchive:
    """Keeps objects as S3 does: one put under a name that is there takes its place.

    Fails so many times first. away: as of a server that is, and not of one object.
    """

    def __init__(self, failures: int = 0, *, away: bool = True) -> None:
        self.objects: dict[str, bytes] = {}
        self.asked = 0
        self._failures = failures
        self._away = away

    def write(self, url: str, body: bytes) -> None:
        self.asked += 1
        if self.asked <= self._failures:
            raise LogUnavailable("S3 bucket logs: answered 503 (SlowDown)", away=self._away)
        self.objects[url] = body

    def log_of(self, body: bytes) -> object:
        return json.loads(gzip.decompress(self.objects[json.loads(body)["conversation_log_url"]]))

    def door(self, prefix: str = "p") -> S3Door:
        return S3Door(
            self.write, lambda conversation_id, mark: log_url("logs", prefix, conversation_id, mark)
        )


def test_two_lines_of_one_conversation_never_share_an_object() -> None:
    """Or one child's event would be scored with another's words; the same line is the same object."""
    archive = FakeArchive()
    door = archive.door()
    lines = [line("anna", "ANNA"), line("ben", "BEN"), line("ben", "ANNA"), line("anna", "BEN")]
    bodies = [door.carry(each) for each in lines]
    assert [archive.log_of(body) for body in bodies] == [
        json.loads(bytes(each.message.log or b"")) for each in lines
    ]
    assert len(archive.objects) == len(lines)
    assert [door.carry(each) for each in lines] == bodies
    assert len(archive.objects) == len(lines)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Have no pause last, and say which were made."""
    made: list[float] = []
    monkeypatch.setattr(doors, "sleep", made.append)
    return made


def test_a_busy_s3_is_asked_again(pauses: list[float]) -> None:
    """One SlowDown ends no run of a hundred thousand lines."""
    archive = FakeArchive(failures=TRIES - 1)
    archive.door().carry(line())
    assert (archive.asked, len(archive.objects)) == (TRIES, 1)
    assert pauses == [pause_s(number) for number in range(1, TRIES)]


def test_an_s3_that_stays_away_ends_the_run(pauses: list[float]) -> None:
    """With its last reason."""
    archive = FakeArchive(failures=TRIES)
    with pytest.raises(LogUnavailable, match="SlowDown"):
        archive.door().carry(line())
    assert (archive.asked, len(pauses)) == (TRIES, TRIES - 1)


def test_a_refusal_of_this_log_is_not_asked_about_again(pauses: list[float]) -> None:
    """Such as of one that we may not write there: the same would be said each time."""
    archive = FakeArchive(failures=1, away=False)
    with pytest.raises(LogUnavailable):
        archive.door().carry(line())
    assert (archive.asked, pauses) == (1, [])


def test_pauses_grow_and_are_short() -> None:
    """A person waits in front of it."""
    lengths = [pause_s(number) for number in range(1, TRIES)]
    assert lengths == sorted(set(lengths))
    assert 0 < sum(lengths) < 5
