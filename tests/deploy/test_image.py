"""What the Dockerfile says, without building it: tests/deploy/test_pid_one.py runs its steps."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tests.deploy.dockerfile import stages
from tests.deploy.manifests import CHECKOUT, DEPLOY, document, kubernetes, pod
from tests.deploy.programs import program, run

STAGES = stages(CHECKOUT / "Dockerfile")
FINAL = STAGES[-1]
HEALTHCHECK = DEPLOY / "healthcheck.py"


def test_the_image_runs_the_program_itself_as_nobody_special() -> None:
    """Exec form, so that the program is PID 1 and hears SIGTERM; a user by number, which Kubernetes can judge."""
    assert FINAL.only("ENTRYPOINT").words == ["friendship-supervisor"]
    assert FINAL.only("USER").argument == "10001:10001"
    assert FINAL.only("STOPSIGNAL").argument == "SIGTERM"
    assert FINAL.only("ENV").pairs["FRIENDSHIP_LISTEN"] == "0.0.0.0:9464"
    assert FINAL.only("EXPOSE").argument == "9464"


def test_what_the_image_is_made_of_is_pinned_and_built_elsewhere() -> None:
    """By hashes and without a compiler; the last stage runs no installer, and all stages have one base."""
    build = STAGES[0]
    installs = [step.words for step in build.steps if step.word == "RUN" and "install" in step.words]
    backend, dependencies, package = installs
    assert {"--require-hashes", "--only-binary", "locks/build.lock", "--target"} <= {*backend}
    assert {"--require-hashes", "--only-binary", "requirements.lock", "--compile"} <= {*dependencies}
    # In isolation pip would fetch whatever builds packages today
    assert {"--no-deps", "--no-build-isolation"} <= {*package}
    assert all("pip" not in step.words for step in FINAL.steps if step.word == "RUN")
    assert len({stage.base for stage in STAGES}) == 1


def test_what_is_copied_is_in_the_build_context() -> None:
    """`.dockerignore` lets in what the Dockerfile copies, and nothing else."""
    let_in = {
        line.removeprefix("!")
        for line in (CHECKOUT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    copied = {
        source
        for stage in STAGES
        for step in stage.steps
        if step.word == "COPY" and "from" not in step.flags
        for source in step.argument.split()[:-1]
    }
    assert copied == let_in
    assert all((CHECKOUT / source).exists() for source in copied)


def test_everybody_names_the_same_user() -> None:
    """The manifests run it as the image's user."""
    workloads = [
        pod(manifest) for _, manifest in kubernetes() if manifest["kind"] in {"Deployment", "Job", "CronJob"}
    ]
    assert len(workloads) == 3
    for each in workloads:
        assert each["securityContext"]["runAsUser"] == each["securityContext"]["runAsGroup"] == 10001


@contextmanager
def answering(status: int) -> Iterator[int]:
    """Serve /healthz with this status; give the port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/healthz" else 404)
            self.end_headers()
            self.wfile.write(b"the loop turns\n")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server.server_port
        server.shutdown()


def health(listen: str) -> int:
    """Run the health check in an environment of nothing but this."""
    done = subprocess.run(
        [sys.executable, "-I", HEALTHCHECK],
        env={"FRIENDSHIP_LISTEN": listen},
        capture_output=True,
        check=False,
    )
    return done.returncode


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_the_health_check_passes_on_what_the_server_says(status: int, code: int) -> None:
    """0 for 200 only, and where all addresses are listened on, one of them is asked."""
    with answering(status) as port:
        assert health(f"0.0.0.0:{port}") == code


def test_the_health_check_knows_when_there_is_nobody_to_ask() -> None:
    """No answer is bad, unless the server was switched off."""
    with answering(200) as port:
        pass
    assert health(f"127.0.0.1:{port}") == 1
    assert health("nonsense") == 1
    assert health("") == 0


def test_compose_asks_no_more_than_the_image_has() -> None:
    """The targets that it builds are stages, and its read-only supervisor has a place for large bodies."""
    services = document(DEPLOY / "compose.yaml")["services"]
    targets = {service["build"].get("target") for service in services.values() if "build" in service}
    assert targets - {None} <= {stage.name for stage in STAGES}
    assert services["supervisor"]["read_only"]
    assert services["supervisor"]["volumes"] == ["spool:/tmp"]


@pytest.mark.full
def test_hadolint_finds_nothing() -> None:
    """Not even a matter of style."""
    done = run(program("hadolint"), "Dockerfile", cwd=CHECKOUT)
    assert (done.returncode, done.stdout) == (0, "")
