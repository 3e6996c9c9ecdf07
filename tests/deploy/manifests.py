"""The files of deploy/, read; and the program's own numbers, to hold against them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from supervisor.arithmetic import Demand
from supervisor.cli import settings
from supervisor.limits import MB

CHECKOUT = Path(__file__).parents[2]
DEPLOY = CHECKOUT / "deploy"
KUBERNETES = DEPLOY / "k8s"

DEFAULTS = settings.read({}, {})
LIMITS = DEFAULTS.supervisor
DEMAND = Demand(LIMITS.children, LIMITS.rss_hard_bytes)

SPARE_BYTES = 32 * MB
"""How much more than the sum a limit may be: it is rounded up, and no more."""

STOP_MARGIN_S = 15.0
"""After the drain time-out children are killed and their accounts written, before the platform's patience ends."""

Document = dict[str, Any]


def documents(path: Path) -> list[Document]:
    """Give the YAML documents of a file."""
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def document(path: Path) -> Document:
    """Give the one document of a file."""
    (only,) = documents(path)
    return only


def everything() -> list[Path]:
    """Name all YAML files of deploy/."""
    return sorted(DEPLOY.rglob("*.yaml"))


def kubernetes() -> Iterator[tuple[Path, Document]]:
    """Give the manifests for a cluster; not kustomize's own files."""
    for path in sorted(KUBERNETES.rglob("*.yaml")):
        if path.name != "kustomization.yaml":
            for each in documents(path):
                yield path, each


def pod(manifest: Document) -> Document:
    """Give a workload's pod spec."""
    spec = manifest["spec"]
    if manifest["kind"] == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    found: Document = spec["template"]["spec"]
    return found


def unit(name: str) -> dict[str, list[str]]:
    """Read a systemd unit: the values of each key, over all sections."""
    values: dict[str, list[str]] = {}
    for line in (DEPLOY / "systemd" / name).read_text().splitlines():
        if line and not line.startswith(("#", "[")):
            key, _, value = line.partition("=")
            values.setdefault(key, []).append(value)
    return values


def size_bytes(text: str) -> int:
    """Read a size as systemd (M), Docker (m) and Kubernetes (Mi, Gi) write it, all of them by 1024."""
    for suffix, factor in (("Gi", 1024 * MB), ("Mi", MB), ("M", MB), ("m", MB)):
        if text.endswith(suffix):
            return int(text.removesuffix(suffix)) * factor
    raise ValueError(text)
