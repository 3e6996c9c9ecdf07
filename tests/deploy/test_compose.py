"""deploy/compose.yaml: the order of starts, the passwords, and the Compose specification."""

import json
from typing import Any

import pytest

from tests.deploy.manifests import DEPLOY, document
from tests.deploy.programs import package

COMPOSE = document(DEPLOY / "compose.yaml")
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


def test_each_waits_for_what_it_needs() -> None:
    """The supervisor for broker and schema, migrate for the database; who is waited for as healthy has a check."""
    assert {name: each["condition"] for name, each in SERVICES["supervisor"]["depends_on"].items()} == {
        "rabbitmq": "service_healthy",
        "migrate": "service_completed_successfully",
        "memory-api": "service_healthy",
    }
    assert SERVICES["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    awaited = {
        name
        for service in SERVICES.values()
        for name, each in service.get("depends_on", {}).items()
        if each["condition"] == "service_healthy"
    }
    assert all("healthcheck" in SERVICES[name] for name in awaited)


def test_urls_lead_to_services_with_their_passwords() -> None:
    """What the program is told is what the servers are told."""
    told = SERVICES["supervisor"]["environment"]
    rabbitmq, postgres = SERVICES["rabbitmq"]["environment"], SERVICES["postgres"]["environment"]
    user, password = rabbitmq["RABBITMQ_DEFAULT_USER"], rabbitmq["RABBITMQ_DEFAULT_PASS"]
    assert told["RABBITMQ_URL"] == f"amqp://{user}:{password}@rabbitmq:5672/%2F"
    user, password, name = (postgres[f"POSTGRES_{key}"] for key in ("USER", "PASSWORD", "DB"))
    assert told["DATABASE_URL"] == f"postgresql://{user}:{password}@postgres:5432/{name}"
    assert told["DATABASE_URL"] == SERVICES["migrate"]["environment"]["DATABASE_URL"]
    assert told["MEMORY_API_URL"] == "http://memory-api:6699"


def test_nothing_is_open_to_the_network() -> None:
    """Passwords that stand in a public file protect nobody: ports are this machine's only."""
    published = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_files_that_are_mounted_are_there() -> None:
    """For Prometheus and Grafana."""
    mounted = [
        volume.split(":")[0]
        for service in SERVICES.values()
        for volume in service.get("volumes", ())
        if volume.startswith(".")
    ]
    assert len(mounted) == 4
    assert all((DEPLOY / path).exists() for path in mounted)


def test_volumes_and_configs_are_declared() -> None:
    """A name that is used is one that is made."""
    used = {
        volume.split(":")[0]
        for service in SERVICES.values()
        for volume in service.get("volumes", ())
        if not volume.startswith(".")
    }
    assert used == COMPOSE["volumes"].keys()
    assert {each["source"] for each in SERVICES["rabbitmq"]["configs"]} == COMPOSE["configs"].keys()


@pytest.mark.full
def test_it_follows_the_compose_specification() -> None:
    """Each key and each value, as a validating parser of the specification reads them."""
    compose_spec = package("compose_spec")
    parsed = compose_spec.PyCompose.from_json(json.dumps(COMPOSE))
    assert {*parsed.service_names()} == SERVICES.keys()
    wrong = json.dumps(COMPOSE).replace("stop_grace_period", "stop_grace_perod")
    with pytest.raises(ValueError, match="stop_grace_perod"):
        compose_spec.PyCompose.from_json(wrong)
