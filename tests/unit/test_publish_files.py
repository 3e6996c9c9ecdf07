"""What words mean files, and where the places in them are recorded."""

import errno
import os
import subprocess
import sys
from pathlib import Path
from socket import AF_UNIX, socket

import click
import pytest

from supervisor.cli.publishing.files import sheets
from supervisor.cli.publishing.journal import (
    AlreadyUnderWay,
    Journal,
    Target,
    identify,
    state_directory,
)
from supervisor.cli.publishing.place import Identity, Place

TARGET = Target("queue", "host:5672//", "message")


def identity(path: str) -> Identity:
    with Path(path).open("rb") as file:
        return identify(file.fileno())


def test_a_folder_means_the_files_below_it_in_order(tmp_path: Path) -> None:
    """Hidden ones and others are left out; a file that is meant twice comes once."""
    for name in (
        "b.jsonl",
        "a/z.JSON",
        "a/c.jsonl.gz",
        "notes.txt",
        ".hidden.json",
        ".git/x.json",
        "c.json.gz",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = sheets([str(tmp_path), str(tmp_path / "b.jsonl"), "-", str(tmp_path / "notes.txt"), "-"])
    assert [(Path(each.path).name, each.unit) for each in found] == [
        ("b.jsonl", "line"),
        ("c.json.gz", "item"),
        ("c.jsonl.gz", "line"),
        ("z.JSON", "item"),
        ("-", "line"),
        ("notes.txt", "line"),
    ]
    assert [each.is_resumable for each in found] == [True] * 4 + [False, True]


def test_a_word_that_means_no_file_is_a_mistake(tmp_path: Path) -> None:
    """Before anything is sent."""
    for word in (tmp_path / "missing.json", tmp_path):
        with pytest.raises(click.BadParameter):
            sheets([str(word)])


def names(folder: Path) -> list[str]:
    return [os.path.relpath(each.path, folder) for each in sheets([str(folder)])]


def test_links_to_folders_are_followed_once(tmp_path: Path) -> None:
    """Also in a circle; what is linked to is published, and each file once."""
    inside, outside = tmp_path / "in", tmp_path / "out"
    for name in (inside / "b.jsonl", inside / "d" / "c.jsonl", outside / "e.jsonl"):
        name.parent.mkdir(parents=True, exist_ok=True)
        name.touch()
    (inside / "d" / "up").symlink_to(inside)
    (inside / "x").symlink_to(outside)
    (inside / "y").symlink_to(outside)
    (inside / "z.jsonl").symlink_to(inside / "b.jsonl")
    (inside / "nowhere").symlink_to(tmp_path / "missing")
    assert names(inside) == ["b.jsonl", "d/c.jsonl", "x/e.jsonl"]


def test_in_a_folder_only_regular_files_are_read(tmp_path: Path) -> None:
    """Nobody may ever write into a pipe that lies there; one that is named itself is meant."""
    folder = tmp_path / "in"
    folder.mkdir()
    pipe = folder / "a.jsonl"
    os.mkfifo(pipe)
    (folder / "b.jsonl").symlink_to(pipe)
    with socket(AF_UNIX) as bound:
        bound.bind(str(folder / "c.json"))
    (folder / "d.json").symlink_to("/dev/null")
    (folder / "e.json").touch()
    (folder / "f.json").symlink_to(folder / "e.json")
    passed_over: list[str] = []
    found = sheets([str(folder)], passed_over.append)
    assert [each.path for each in found] == [str(folder / "e.json")]
    assert passed_over == [str(folder / name) for name in ("a.jsonl", "b.jsonl", "c.json", "d.json")]
    assert [each.size for each in sheets([str(pipe)])] == [None]


def test_a_folder_of_pipes_holds_no_file(tmp_path: Path) -> None:
    """As an empty one."""
    os.mkfifo(tmp_path / "a.jsonl")
    with pytest.raises(click.BadParameter, match="holds no file"):
        sheets([str(tmp_path)])


def test_a_file_of_two_names_is_published_once(tmp_path: Path) -> None:
    """Under the first of them."""
    (tmp_path / "a.jsonl").touch()
    (tmp_path / "b.jsonl").hardlink_to(tmp_path / "a.jsonl")
    assert names(tmp_path) == ["a.jsonl"]


def test_a_folder_that_cannot_be_read_is_a_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is below it would be left out, and nobody told; root may read all, so it is said by the system's call."""
    (tmp_path / "a.jsonl").touch()
    (tmp_path / "closed").mkdir()
    scandir = os.scandir

    def refuses(path: str) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuses)
    with pytest.raises(click.BadParameter, match=r"closed: Permission denied"):
        sheets([str(tmp_path)])


def test_a_link_that_cannot_be_followed_is_a_mistake(tmp_path: Path) -> None:
    """It may be a folder."""
    (tmp_path / "a.jsonl").touch()
    (tmp_path / "more").symlink_to("x" * 300)
    with pytest.raises(click.BadParameter, match=r"more: File name too long"):
        sheets([str(tmp_path)])


def test_a_word_that_no_path_can_be_is_a_mistake() -> None:
    """As a missing file is, on every Python."""
    with pytest.raises(click.BadParameter, match="File name too long"):
        sheets(["x" * 5000])


def test_a_name_moves_no_cursor(tmp_path: Path) -> None:
    """Nor is one that is no UTF-8 a crash."""
    path = os.fsencode(tmp_path) + b"/a\x1b[2J\xff.jsonl"
    Path(os.fsdecode(path)).touch()
    (found,) = sheets([str(tmp_path)])
    assert found.name.isprintable()
    with Journal(tmp_path / "j", TARGET).page(os.path.realpath(found.path)) as page:
        page.begin(identity(found.path), Place())


def test_the_state_directory_is_where_the_specification_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative XDG_STATE_HOME is to be ignored."""
    monkeypatch.setenv("HOME", "/home/lan")
    default = Path("/home/lan/.local/state/friendship-supervisor/publish")
    assert state_directory({}) == state_directory({"XDG_STATE_HOME": "x"}) == default
    assert state_directory({"XDG_STATE_HOME": "/s"}) == Path("/s/friendship-supervisor/publish")


def test_a_place_is_found_again_by_file_and_target_alone(tmp_path: Path) -> None:
    """Another queue, broker or door has places of its own; what is removed is gone."""
    file = tmp_path / "a.jsonl"
    file.write_bytes(b"x" * 100_000)
    journal = Journal(tmp_path / "j", TARGET)
    with journal.page(str(file)) as page:
        assert page.is_new
        page.begin(identity(str(file)), Place())
        page.note(Place(number=3, accepted=3))
    with journal.page(str(file)) as page:
        assert not page.is_new
        assert page.recorded is not None
        assert page.recorded[0] == Place(number=3, accepted=3)
        assert page.recorded[1].head_bytes == 65536
    for other in (
        Target("q", "host:5672//", "message"),
        Target("queue", "h:1//", "message"),
        Target("queue", "host:5672//", "row"),
    ):
        with Journal(tmp_path / "j", other).page(str(file)) as page:
            assert page.is_new
    journal.forget(str(file))
    journal.forget(str(file))
    with journal.page(str(file)) as page:
        assert page.is_new


def test_pages_are_their_owners_alone(tmp_path: Path) -> None:
    """They name files, which may name children."""
    journal = Journal(tmp_path / "j", TARGET)
    with journal.page("/some/file") as page:
        page.begin(identity(__file__), Place())
    (found,) = (tmp_path / "j").iterdir()
    assert found.stat().st_mode & 0o77 == (tmp_path / "j").stat().st_mode & 0o77 == 0


HOLDER = """
import sys
from pathlib import Path
from supervisor.cli.publishing.journal import Journal, Target
with Journal(Path(sys.argv[1]), Target("queue", "host:5672//", "message")).page("/file"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_two_processes_do_not_publish_one_file_at_a_time(tmp_path: Path) -> None:
    """Nor does one remove the other's page; it is free again when its holder is gone, however that ends."""
    journal = Journal(tmp_path, TARGET)
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdin=-1, stdout=-1) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(AlreadyUnderWay):
            journal.page("/file")
        with pytest.raises(AlreadyUnderWay):
            journal.forget("/file")
        holder.kill()
    with journal.page("/file") as page:
        assert page.is_new


def test_without_a_home_there_is_no_page(tmp_path: Path) -> None:
    """An error like any other of a directory that cannot be written."""
    with pytest.raises(OSError, match="no home"):
        Journal(None, TARGET).page("/file")
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"exists|Not a directory"):
        Journal(tmp_path / "file", TARGET).page("/file")
