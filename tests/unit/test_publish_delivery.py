"""One run over files that change under it."""

import gzip
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from supervisor.cli.publishing import feed
from supervisor.cli.publishing.delivery import Delivery
from supervisor.cli.publishing.doors import MessageDoor
from supervisor.cli.publishing.feed import Reader
from supervisor.cli.publishing.files import sheets
from supervisor.cli.publishing.journal import Journal, Target
from supervisor.cli.publishing.pacing import Pace
from supervisor.cli.publishing.screen import Screen, Tally
from supervisor.cli.publishing.stopping import Stop


class FakeOutbox:
    """Keeps what is published; interrupted before the one after `patience`."""

    def __init__(self, patience: int) -> None:
        self._patience = patience
        self.sent: list[bytes] = []

    def ready(self) -> None:
        if len(self.sent) == self._patience:
            raise KeyboardInterrupt

    def publish(self, body: bytes, _message_id: str) -> None:
        self.sent.append(body)


Publish = Callable[..., list[bytes]]


@pytest.fixture
def publish(tmp_path: Path) -> Publish:
    """Publish these paths, and give what was sent before an interruption. once_found: done when they are found."""

    def run(*paths: Path, patience: int = -1, once_found: Callable[[], None] = lambda: None) -> list[bytes]:
        outbox: Any = FakeOutbox(patience)
        found, tally = sheets(map(str, paths)), Tally()
        each = Delivery(
            outbox=outbox,
            door=MessageDoor(),
            stop=Stop(),
            screen=Screen(found, tally, as_json=False),
            tally=tally,
            journal=Journal(tmp_path / "journal", Target("q", "h:1//", "message")),
            max_bytes=100_000,
            pace=Pace.of(None),
            from_start=False,
        )
        once_found()
        with suppress(KeyboardInterrupt):
            each.run(found)
        sent: list[bytes] = outbox.sent
        return sent

    return run


def body(name: str, size: int = 0) -> bytes:
    return json.dumps({"conversation_id": name, "user_id": "u", "x": "x" * size}).encode()


BODIES = [body("long", 70_000), body("a"), body("b"), body("c"), body("d")]


def text(form: str, bodies: list[bytes], end: bytes = b"") -> bytes:
    found = b"[%b%b]" % (b",\n".join(bodies), end) if form == "a.json" else b"\n".join(bodies) + end
    # Stored, not packed: what begins alike is alike
    return gzip.compress(found, 0) if form == "a.jsonl.gz" else found


FORMS = pytest.mark.parametrize("form", ["a.jsonl", "a.jsonl.gz", "a.json"])


@FORMS
def test_a_file_is_gone_on_with_as_often_as_need_be(
    publish: Publish, tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    """Each line once and in order; when it is done, nothing is remembered."""
    file = tmp_path / form
    file.write_bytes(text(form, BODIES))
    assert [publish(file, patience=patience) for patience in (0, 2, 1, 0, -1)] == [
        [], BODIES[:2], BODIES[2:3], [], BODIES[3:],
    ]  # fmt: skip
    assert capsys.readouterr().err.count(": goes on after ") == 3
    assert publish(file) == BODIES


@FORMS
def test_a_file_that_grew_goes_on(
    publish: Publish, tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    """With all before the place read again; nothing is sent twice."""
    file = tmp_path / form
    file.write_bytes(text(form, BODIES))
    assert publish(file, patience=3) == BODIES[:3]
    file.write_bytes(text(form, [*BODIES, body("new")], end=b" \n"))
    assert publish(file) == [*BODIES[3:], body("new")]
    assert f"{form}: goes on after" in capsys.readouterr().err


@FORMS
def test_a_file_that_grew_and_was_changed_begins_anew(
    publish: Publish, tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    """Beyond the beginning that is compared, and not in the last line: a new one there would be left out."""
    file = tmp_path / form
    file.write_bytes(text(form, BODIES))
    publish(file, patience=3)
    changed = [BODIES[0], body("A"), *BODIES[2:], body("new")]
    file.write_bytes(text(form, changed, end=b" \n"))
    assert publish(file) == changed
    assert f"{form}: begins anew: it has changed before" in capsys.readouterr().err


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """Give two files of the same lines."""
    files = tmp_path / "1.jsonl", tmp_path / "2.jsonl"
    for each in files:
        each.write_bytes(text("", BODIES))
    return files


def test_a_file_that_vanishes_once_it_is_open_is_published(
    publish: Publish,
    two: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """To its end; and where the others stand is recorded all the same."""
    first, second = two
    really = feed.opened

    def opened(path: str) -> Reader:
        reader = really(path)
        first.unlink(missing_ok=True)
        return reader

    monkeypatch.setattr(feed, "opened", opened)
    assert publish(first, second, patience=7) == BODIES + BODIES[:2]
    assert publish(second) == BODIES[2:]
    assert "cannot be recorded" not in capsys.readouterr().err


def test_a_file_that_is_gone_before_it_is_opened_is_named(
    publish: Publish, two: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """The others are published, and where they stand is recorded."""
    first, second = two
    publish(first, patience=1)
    assert publish(first, second, patience=2, once_found=first.unlink) == BODIES[:2]
    assert publish(second) == BODIES[2:]
    said = capsys.readouterr().err
    assert f"{first}: No such file or directory\n" in said
    assert "cannot be recorded" not in said


@pytest.mark.parametrize("form", ["a.jsonl", "a.jsonl.gz", "a.json"])
@pytest.mark.parametrize("nothing", [b"", b" \n\n", b"[]"])
def test_a_file_without_a_conversation_is_named(
    publish: Publish, tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str, nothing: bytes
) -> None:
    """It may be the wrong one, or what wrote it has failed: once, and without an error."""
    file = tmp_path / form
    # A line that is an empty list is refused
    content = b"" if nothing == b"[]" and form != "a.json" else nothing
    file.write_bytes(gzip.compress(content) if form.endswith(".gz") else content)
    publish(file)
    assert capsys.readouterr().err == f"friendship-supervisor: {file} holds no conversation\n"


@pytest.mark.parametrize("nothing", [b"", b" \n\n"])
def test_a_pipe_without_a_conversation_is_no_success(
    publish: Publish, tmp_path: Path, capsys: pytest.CaptureFixture[str], nothing: bytes
) -> None:
    """The program that was to write into it has failed, likely, and a shell tells the last one's status."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor() as writer:
        written = writer.submit(pipe.write_bytes, nothing)
        publish(pipe)
        written.result()
    told = capsys.readouterr().err
    assert told == f"friendship-supervisor: {pipe}: it held no conversation: what writes it may have failed\n"


def test_a_file_that_was_gone_on_with_did_hold_some(
    publish: Publish, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Though nothing is left of it; nor is one with refused lines empty."""
    file = tmp_path / "a.jsonl"
    file.write_bytes(body("a") + b"\n")
    publish(file)
    file.write_bytes(b"nonsense\n")
    publish(file)
    assert "no conversation" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("begun", "remedy"),
    [
        (b"\n\xef\xbb\xbf" + b"[%b,\n%b]\n", "`jq -c '.[]'`"),
        (b"\n  [\n%b,\n%b\n]\n", "`jq -c '.[]'`"),
        (b'{\n  "a": [%b,\n%b]\n}\n', "`jq -c .`"),
    ],
)
def test_a_json_text_that_is_read_as_lines_is_told_of_once(
    publish: Publish, tmp_path: Path, capsys: pytest.CaptureFixture[str], begun: bytes, remedy: str
) -> None:
    """What every line of it is refused for says nothing of what to do."""
    file = tmp_path / "a.jsonl"
    file.write_bytes(begun.removeprefix(b"\n") % (body("a"), body("b")))
    publish(file)
    said = capsys.readouterr().err
    hint = f"{file} is read as JSON Lines, one object a line: give a .json file, or {remedy}"
    assert said.count(hint) == said.count("JSON Lines") == 1
    assert said.index("line 1 is no message") < said.index(hint)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", b"%b\n[1]\n" % body("a")),
        ("a.jsonl", b'{"x": 1}\n{\n'),
        ("a.json", b"[[1]]"),
    ],
)
def test_a_line_that_is_wrong_by_itself_needs_no_such_advice(
    publish: Publish, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: bytes
) -> None:
    """Only the first line shows what a file is; and a JSON text is read as one."""
    file = tmp_path / name
    file.write_bytes(content)
    publish(file)
    assert "JSON Lines" not in capsys.readouterr().err
