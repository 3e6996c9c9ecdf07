"""The manifests: that they fit together, and the published schemas."""

from pathlib import Path

import pytest

from tests.deploy.manifests import KUBERNETES, LIMITS, document, kubernetes, pod
from tests.deploy.programs import program, run

CUSTOM = {"ScaledObject", "TriggerAuthentication", "PodMonitor"}
"""Their schemas are in no package: nothing validates them here."""

WORKLOADS = [
    (path, manifest)
    for path, manifest in kubernetes()
    if manifest["kind"] in {"Deployment", "Job", "CronJob"}
]
CORE = sorted({path for path, manifest in kubernetes() if manifest["kind"] not in CUSTOM})
DEPLOYMENT = document(KUBERNETES / "base/deployment.yaml")


@pytest.mark.parametrize(
    "path", sorted(KUBERNETES.rglob("kustomization.yaml")), ids=lambda path: path.parent.name
)
def test_what_a_kustomization_names_is_there(path: Path) -> None:
    """Resources and components exist, and so do the files of secrets."""
    found = document(path)
    named = [*found.get("resources", ()), *found.get("components", ())]
    named += [file for secret in found.get("secretGenerator", ()) for file in secret["envs"]]
    assert named
    for name in named:
        place = path.parent / name
        assert place.is_file() or (place / "kustomization.yaml").is_file(), name


@pytest.mark.parametrize(
    ("path", "manifest"), WORKLOADS, ids=lambda each: each["kind"] if isinstance(each, dict) else ""
)
def test_no_container_may_do_more_than_it_must(path: Path, manifest: dict[str, object]) -> None:
    """What the restricted pod security standard asks for, and a root directory that is read-only besides."""
    spec = pod(manifest)
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in spec["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_probes_ask_the_right_questions() -> None:
    """A restart must not follow from a broker that is away; only the rollout waits for readiness."""
    (container,) = pod(DEPLOYMENT)["containers"]
    paths = {
        name: container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "liveness", "readiness")
    }
    assert paths == {"startup": "/healthz", "liveness": "/healthz", "readiness": "/readyz"}
    assert container["ports"] == [{"name": "status", "containerPort": 9464}]


def test_large_bodies_have_a_place_that_is_no_memory() -> None:
    """/tmp can be written to, and is on disk."""
    (container,) = pod(DEPLOYMENT)["containers"]
    assert container["volumeMounts"] == [{"name": "spool", "mountPath": "/tmp"}]
    (volume,) = pod(DEPLOYMENT)["volumes"]
    assert "medium" not in volume["emptyDir"]


def test_a_busy_pod_does_not_call_for_another() -> None:
    """KEDA counts what children hold, so its target a pod is above what a pod holds."""
    scaled, _ = (manifest for path, manifest in kubernetes() if path.parent.name == "keda")
    (trigger,) = scaled["spec"]["triggers"]
    assert trigger["metadata"]["protocol"] == "http"
    assert trigger["metadata"]["excludeUnacknowledged"] == "false"
    assert int(trigger["metadata"]["value"]) > LIMITS.children
    assert scaled["spec"]["minReplicaCount"] >= 1, "somebody has to run the retry pass"


def test_the_example_holds_no_secret() -> None:
    """Every password says that it is to be changed."""
    for path in (KUBERNETES / "example").glob("*.env"):
        for line in path.read_text().splitlines():
            assert ":CHANGE_ME@" in line, path


@pytest.mark.full
@pytest.mark.parametrize("path", CORE, ids=lambda path: path.stem)
def test_core_kinds_fit_the_published_schemas(path: Path) -> None:
    """Strictly: a key that the schema does not know is a mistake."""
    done = run(program("kubernetes-validate"), "--strict", path)
    assert done.returncode == 0, done.stdout
    assert "passed" in done.stdout
