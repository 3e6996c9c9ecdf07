"""The image as a container would run it: its steps in a root directory, its entrypoint as PID 1, within a memory limit.

No Docker engine is needed: chroot, namespaces for processes and mounts, a control group (where none can be made, a
watch that kills), the image's user without any capability, a read-only root directory. The network is the machine's,
where the servers are.
"""

import http.client
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from scripts.faults.container import ControlGroup, Limit, limited
from scripts.servers.process import Port
from supervisor.limits import MB
from tests.deploy.dockerfile import stages
from tests.deploy.manifests import CHECKOUT, DEPLOY, LIMITS, document, size_bytes
from tests.deploy.programs import program, run, without
from tests.deploy.root import Builder, Image
from tests.fixtures.desk import Desk
from tests.fixtures.eventually import eventually
from tests.fixtures.worker import Worker

pytestmark = pytest.mark.full

LIMIT_BYTES = size_bytes(document(DEPLOY / "compose.yaml")["services"]["supervisor"]["mem_limit"])
# $0 the root directory, $1 a directory for /tmp, then the command. /sys is there to be read, as in a container
ENTER = """
mount --rbind "$0" "$0" && mount --rbind /sys "$0/sys" && mount --bind "$1" "$0/tmp" &&
mount -o remount,bind,ro "$0" && shift && exec chroot "$0" "$@"
"""
# Who changes the user loses what `--kill-child` has set: it is set again
CONFINED = ("--pdeathsig=KILL", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all", "--no-new-privs")
BIG = 3_000_000
TOO_LARGE = 65 * MB
ORPHANS = 5


class Container(Worker):
    """The image's entrypoint as PID 1. process: the `unshare` outside, which ends as it does."""

    def __init__(self, image: Image, tmp: Path, given: dict[str, str], limit: Limit) -> None:
        self._image = image
        self._given = given
        unshare = [program("unshare"), "--mount", "--pid", "--fork", "--kill-child"]
        words = [
            *unshare,
            f"--mount-proc={image.root / 'proc'}",
            "sh",
            "-c",
            ENTER,
            str(image.root),
            str(tmp),
        ]
        self._start(limit.inside([*words, *self._as_the_user(), *image.entrypoint]))
        self.seen: set[psutil.Process] = set()

    def _as_the_user(self) -> list[str]:
        uid, gid = self._image.user.split(":")
        user = ["setpriv", f"--reuid={uid}", f"--regid={gid}", *CONFINED]
        environment = [f"{name}={value}" for name, value in (self._image.environment | self._given).items()]
        return [*user, "env", "-i", "-C", self._image.directory, *environment]

    def one(self) -> psutil.Process:
        """Give PID 1 as the machine sees it."""
        (found,) = psutil.Process(self.pid).children()
        return found

    def processes(self) -> list[psutil.Process]:
        """Give all in the container, and remember them."""
        found = [self.one(), *self.one().children(recursive=True)]
        self.seen.update(found)
        return found

    def enter(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run a command inside, as `docker exec` does."""
        place = ("--target", str(self.one().pid), "--pid", "--mount", "--root")
        return run(program("nsenter"), *place, *self._as_the_user(), *words)

    def send(self, number: signal.Signals) -> None:
        self.one().send_signal(number)

    def left_behind(self) -> list[int]:
        return [process.pid for process in self.seen if process.is_running()]

    def destroy(self) -> None:
        if self.process.poll() is None:
            self.send(signal.SIGKILL)
            self.process.wait()
        super().destroy()


@pytest.fixture(scope="module")
def images(base: Path, workshop: Path) -> dict[str, Image]:
    """Run all steps of the Dockerfile; give its stages by name, the last of which has none."""
    probe = run(program("unshare"), "--mount", "--pid", "--fork", f"--mount-proc={base / 'proc'}", "true")
    if probe.returncode != 0:
        without(f"namespaces cannot be made here: {probe.stdout.strip()}")
    builder = Builder(base, workshop)
    return {stage.name: builder.build(stage) for stage in stages(CHECKOUT / "Dockerfile")}


@pytest.fixture
def image(images: dict[str, Image]) -> Image:
    """Give the image of the supervisor."""
    return images[""]


@pytest.fixture
def limit() -> Iterator[Limit]:
    with limited(LIMIT_BYTES) as made:
        yield made


@pytest.fixture
def listen() -> Iterator[str]:
    """Give an address for the status server: all of the machine's, and a port that nobody has."""
    port = Port.reserve()
    yield f"0.0.0.0:{port.number}"
    port.release()


@pytest.fixture
def spool(workshop: Path) -> Path:
    """Give a directory that everybody may write to, for /tmp."""
    path = workshop / "tmp"
    path.mkdir(exist_ok=True)
    path.chmod(0o1777)
    return path


@pytest.fixture
def start(
    image: Image, limit: Limit, listen: str, environment: dict[str, str], spool: Path
) -> Iterator[Callable[[], Container]]:
    """Start the image with its own defaults, told only where the servers are."""
    servers = ("RABBITMQ_URL", "RABBITMQ_QUEUE", "DATABASE_URL", "MEMORY_API_URL")
    given = {name: environment[name] for name in servers} | {"FRIENDSHIP_LISTEN": listen}
    started: list[Container] = []

    def start() -> Container:
        started.append(Container(image, spool, given, limit))
        limit.enforce_on(started[-1].pid)
        return started[-1]

    yield start
    for container in started:
        container.destroy()


def fetch(listen: str, path: str) -> tuple[int, bytes]:
    """Ask the status server from outside of the container."""
    connection = http.client.HTTPConnection("127.0.0.1", int(listen.rpartition(":")[2]), timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_it_works_as_pid_one_of_a_container(
    image: Image, start: Callable[[], Container], limit: Limit, listen: str, desk: Desk
) -> None:
    """Small, large and too large messages end as they must, orphans are reaped, and SIGTERM ends it with 0."""
    container = start()
    container.wait_for("child_ready", times=LIMITS.children)
    container.processes()
    one = container.one()
    told = dict(
        line.split(":\t", 1)
        for line in Path(f"/proc/{one.pid}/status").read_text().splitlines()
        if ":\t" in line
    )
    assert told["NSpid"].split()[-1] == "1"
    assert told["Uid"].split() == told["Gid"].split() == ["10001"] * 4
    assert {int(told[name], 16) for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {0}
    assert told["NoNewPrivs"] == "1"
    assert container.enter("touch", "/opt/friendship-supervisor/here").returncode != 0, (
        "the root directory is writable"
    )
    if isinstance(limit, ControlGroup):
        assert container.logged("memory_sum")[0]["limit_mb"] == LIMIT_BYTES // MB

    desk.publish_many(200)
    desk.publish_many(20, size_bytes=BIG, prefix="big")
    desk.publish_raw(b"[" + b" " * TOO_LARGE + b"]", message_id="too-large")
    container.wait_until(lambda: desk.statuses()["PROCESSED"] == len(desk.published), "all are processed")
    container.wait_until(lambda: desk.depth(desk.broker.dead_queue) == 1, "the large one is set aside")

    done = container.enter("sh", "-c", f"for n in $(seq {ORPHANS}); do sleep 0.2 & done")
    assert done.returncode == 0, done.stdout
    eventually(
        lambda: all(each.status() != psutil.STATUS_ZOMBIE for each in container.processes()),
        "no zombie is left",
    )
    eventually(lambda: "sleep" not in {each.name() for each in container.processes()}, "the orphans are gone")

    done = container.enter(*image.healthcheck)
    assert done.returncode == 0, done.stdout
    for path in ("/readyz", "/metrics", "/"):
        status, body = fetch(listen, path)
        assert (status, bool(body)) == (200, True), f"{path}: {body[:200]!r}"

    done = container.enter(*image.entrypoint, "status", "--json")
    assert done.returncode == 0, done.stdout
    assert len(json.loads(done.stdout)["children"]) == LIMITS.children

    container.processes()
    assert container.stop(limit_s=LIMITS.drain_timeout_s) == 0
    desk.assert_clean_ending(container)
    assert limit.kills() == 0
    assert limit.peak_bytes() <= LIMIT_BYTES


def test_its_end_by_force_leaves_nothing(start: Callable[[], Container]) -> None:
    """SIGKILL to PID 1, as when the platform's patience ends: the kernel takes all others with it."""
    container = start()
    container.wait_for("child_ready", times=LIMITS.children)
    assert len(container.processes()) > LIMITS.children
    os.kill(container.one().pid, signal.SIGKILL)
    assert container.wait() != 0
    assert container.left_behind() == []


def test_commands_run_in_the_image(image: Image, start: Callable[[], Container], desk: Desk) -> None:
    """`migrate`, which jobs run, does so as the image's user beside a running supervisor."""
    container = start()
    container.wait_for("child_ready", times=LIMITS.children)
    done = container.enter(*image.entrypoint, "migrate")
    assert done.returncode == 0, done.stdout


def test_the_stand_in_has_all_that_it_needs(images: dict[str, Image]) -> None:
    """The stage `memory-api`, which compose.yaml builds, answers on its port."""
    image = images["memory-api"]
    port = Port.reserve()
    user = ["setpriv", *(f"--re{kind}=10001" for kind in ("uid", "gid")), *CONFINED]
    place = [
        "env",
        "-i",
        "-C",
        image.directory,
        *(f"{name}={value}" for name, value in image.environment.items()),
    ]
    words = ["chroot", str(image.root), *user, *place, *image.entrypoint, "--port", str(port.number)]
    with subprocess.Popen(words) as process:
        try:
            eventually(lambda: answers(port.number), "the stand-in answers")
        finally:
            process.terminate()
            port.release()


def answers(port: int) -> bool:
    """Say whether the stand-in tells what it saw."""
    try:
        return fetch(f":{port}", "/calls")[0] == http.client.OK
    except ConnectionError:
        return False
