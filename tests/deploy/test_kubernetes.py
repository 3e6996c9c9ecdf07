"""The manifests: that they fit together, and the published schemas."""

import shutil
from pathlib import Path

import pytest
import yaml

from tests.deploy.manifests import KUBERNETES, LIMITS, document, kubernetes, pod
from tests.deploy.programs import program, run, without

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


@pytest.mark.full
def test_kustomize_puts_the_example_together(base: Path) -> None:
    """With all components: names with their hashes arrive where they are used, and what comes out is valid."""
    place = base / "srv/k8s"
    shutil.copytree(KUBERNETES, place, dirs_exist_ok=True)
    example = place / "example/kustomization.yaml"
    example.write_text(example.read_text().replace("# - ../retry-cronjob", "- ../retry-cronjob"))
    installed = run(
        "chroot", base, "apt-get", "install", "-y", "--no-install-recommends", "kustomize", limit_s=600
    )
    if installed.returncode != 0:
        without(f"kustomize could not be installed: {installed.stdout[-500:]}")
    done = run("chroot", base, "kustomize", "build", "/srv/k8s/example")
    assert done.returncode == 0, done.stdout

    built = {(each["kind"], each["metadata"]["name"]): each for each in yaml.safe_load_all(done.stdout)}
    kinds = {kind for kind, _ in built}
    assert kinds == CUSTOM | {"Namespace", "ConfigMap", "Secret", "Deployment", "Job", "CronJob"}
    (config,) = (each for (kind, _), each in built.items() if kind == "ConfigMap")
    assert config["data"]["FRIENDSHIP_RETRY_EVERY"] == "0"
    secrets = {name for kind, name in built if kind in {"Secret", "ConfigMap"}}
    for name in ("Deployment", "CronJob", "Job"):
        (workload,) = (each for (kind, _), each in built.items() if kind == name)
        (container,) = pod(workload)["containers"]
        used = {reference["name"] for source in container["envFrom"] for reference in source.values()}
        assert used <= secrets
        assert container["image"] == "registry.example.com/friendship-supervisor:1.0"
    assert ("Secret", "friendship-supervisor-keda") in built

    (base / "srv/built.yaml").write_text(done.stdout)
    done = run(program("kubernetes-validate"), "--strict", base / "srv/built.yaml")
    assert done.returncode == 0, done.stdout
