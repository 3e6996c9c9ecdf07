"""The memory limit around us, as control groups of both versions tell it."""

import subprocess
import sys
from pathlib import Path

import pytest

from supervisor.container import Container, find
from tests.fixtures.cgroup import MemoryGroup

MB = 2**20
NONE_V1 = "9223372036854771712\n"


class Groups:
    """Control groups made of plain files. `us` is what /proc/self/cgroup tells."""

    def __init__(self, directory: Path) -> None:
        self.root = directory / "fs"
        self.root.mkdir()
        self.cgroup = directory / "cgroup"
        self.us("0::/")

    def us(self, *lines: str) -> None:
        self.cgroup.write_text("".join(f"{line}\n" for line in lines))

    def put(self, name: str, **files: object) -> Path:
        """Make a group below the root, with files: memory_max=5 is memory.max."""
        group = self.root / name
        group.mkdir(parents=True, exist_ok=True)
        for file, content in files.items():
            (group / file.replace("_", ".", 1)).write_text(f"{content}\n")
        return group

    def find(self) -> Container:
        return find(self.cgroup, self.root)


@pytest.fixture
def tree(tmp_path: Path) -> Groups:
    return Groups(tmp_path)


def test_without_control_groups_there_is_no_limit(tree: Groups, tmp_path: Path) -> None:
    """Nothing is mounted, or nothing can be read; a name for it exists all the same."""
    assert find(tmp_path / "none", tmp_path) == Container()
    assert tree.find() == Container()
    assert Container().working_set_bytes() is None
    assert Container().name == "no control group"


def test_the_smallest_limit_on_the_way_up_counts(tree: Groups) -> None:
    """Version 2: a unit without a limit, in a slice with one, in a larger one."""
    tree.us("0::/outer/slice/unit")
    tree.put("outer", memory_max=900 * MB)
    tight = tree.put("outer/slice", memory_max=300 * MB)
    tree.put("outer/slice/unit", memory_max="max")
    found = tree.find()
    assert found.limit_bytes == 300 * MB
    assert found.name == str(tight)


@pytest.mark.parametrize("name", ["/", "/docker/abc", "/kubepods/pod-1/abc", "/../other"])
@pytest.mark.parametrize("version", [1, 2])
def test_in_a_container_our_group_is_the_root_of_the_mount(tree: Groups, name: str, version: int) -> None:
    """The path that we are told is the host's, and there is nothing of that name below our mount."""
    if version == 1:
        tree.us("9:cpu:/x", f"4:memory:{name}")
        tree.put("memory", memory_limit_in_bytes=700 * MB)
    else:
        tree.us(f"0::{name}")
        tree.put("", memory_max=700 * MB)
    assert tree.find().limit_bytes == 700 * MB


def test_a_huge_limit_of_version_1_is_none(tree: Groups) -> None:
    """The kernel has no other word for it there; with pages of 64 KiB the number is another one."""
    tree.us("4:memory:/unit")
    tree.put("memory", memory_limit_in_bytes=NONE_V1)
    tree.put("memory/unit", memory_limit_in_bytes="9223372036854710272")
    assert tree.find() == Container()


def test_a_limit_above_what_we_can_see_is_known_from_version_1(tree: Groups) -> None:
    """A pod's limit stands above the container's group; memory.stat tells it, and the outermost group gets it."""
    tree.us("4:memory:/kubepods/pod/abc")
    top = tree.put(
        "memory", memory_limit_in_bytes=NONE_V1, memory_stat=f"hierarchical_memory_limit {500 * MB}"
    )
    found = tree.find()
    assert (found.limit_bytes, found.name) == (500 * MB, str(top))


def test_a_limit_in_sight_is_charged_to_its_own_group(tree: Groups) -> None:
    """memory.stat repeats it; the usage to look at is that of the group which sets it."""
    tree.us("4:memory:/slice/unit")
    stat = f"hierarchical_memory_limit {500 * MB}"
    tree.put("memory", memory_limit_in_bytes=NONE_V1)
    tight = tree.put("memory/slice", memory_limit_in_bytes=500 * MB, memory_stat=stat)
    tree.put("memory/slice/unit", memory_limit_in_bytes=600 * MB, memory_stat=stat)
    assert tree.find().name == str(tight)


@pytest.mark.parametrize("unified", ["", "unified"])
def test_hybrid_mounts_are_read_where_the_memory_files_are(tree: Groups, unified: str) -> None:
    """Version 1 controllers beside an empty version 2 tree, or the memory controller in the version 2 tree."""
    tree.put("unified/unit")
    tree.us("4:memory:/unit", "0::/unit")
    tree.put("memory/unit", memory_limit_in_bytes=400 * MB)
    assert tree.find().limit_bytes == 400 * MB
    tree.us("9:cpu:/unit", "0::/unit")
    tree.put(f"{unified}/unit".lstrip("/"), memory_max=350 * MB)
    assert tree.find().limit_bytes == 350 * MB


def test_the_mark_where_the_kernel_throttles_is_known(tree: Groups) -> None:
    """memory.high kills nobody, but from there on nothing moves."""
    tree.us("0::/slice/unit")
    tree.put("slice", memory_max="max", memory_high=250 * MB)
    tree.put("slice/unit", memory_max=300 * MB, memory_high="max")
    found = tree.find()
    assert (found.limit_bytes, found.throttle_bytes) == (300 * MB, 250 * MB)


def test_the_working_set_leaves_out_what_can_be_dropped(tree: Groups) -> None:
    """Usage minus inactive file pages, of the group that sets the limit; on version 1 with its descendants'."""
    tree.us("0::/unit")
    stat = f"anon {80 * MB}\ninactive_file {30 * MB}\nactive_file 5"
    unit = tree.put("unit", memory_max=300 * MB, memory_current=120 * MB, memory_stat=stat)
    assert tree.find().working_set_bytes() == 90 * MB
    (unit / "memory.current").write_text("17\n")
    assert tree.find().working_set_bytes() == 0
    tree.us("4:memory:/unit")
    tree.put(
        "memory/unit",
        memory_limit_in_bytes=300 * MB,
        memory_usage_in_bytes=100 * MB,
        memory_stat=f"inactive_file 1\ntotal_inactive_file {40 * MB}",
    )
    assert tree.find().working_set_bytes() == 60 * MB


@pytest.mark.parametrize("missing", ["memory.current", "memory.stat"])
def test_a_working_set_that_cannot_be_read_is_unknown(tree: Groups, missing: str) -> None:
    """Never 0, which would look like room."""
    unit = tree.put("", memory_max=300 * MB, memory_current=1, memory_stat="inactive_file 0")
    found = tree.find()
    assert found.working_set_bytes() == 1
    (unit / missing).unlink()
    assert found.working_set_bytes() is None


def test_a_real_group_of_version_1_is_found_from_inside(memory_group: MemoryGroup) -> None:
    """Its limit, its directory, and a working set that holds the process which asks."""
    memory_group.limit(200 * MB)
    script = (
        "from supervisor.container import find; found = find();"
        "held = b'x' * (32 << 20);"
        "print(found.limit_bytes, found.name, found.working_set_bytes())"
    )
    done = subprocess.run(
        memory_group.inside(sys.executable, "-c", script), capture_output=True, text=True, check=True
    )
    limit, name, used = done.stdout.split()
    assert (int(limit), name) == (200 * MB, str(memory_group.directory))
    assert 32 * MB < int(used) < 200 * MB
