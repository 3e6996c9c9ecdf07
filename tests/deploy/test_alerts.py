"""Alerts, dashboard and Datadog's list: each speaks of metrics that there are, and each alert of a remedy."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from supervisor.counters import Step, Times, Totals
from supervisor.status import metrics
from tests.deploy.manifests import CHECKOUT, DEPLOY, document
from tests.deploy.programs import program, run
from tests.fixtures.standings import child, standing

RULES = DEPLOY / "prometheus/rules.yaml"
STORIES = DEPLOY / "prometheus/rules.test.yaml"
DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana/friendship-supervisor.json").read_text())
ALERTS = [rule for group in document(RULES)["groups"] for rule in group["rules"]]
NAME = re.compile(r"\bfriendship_\w+")


class Told(dict[str, Any]):
    """Part of a status in which every figure is known: one that is not given is 1."""

    def __missing__(self, key: str) -> Any:
        return 1


def status() -> dict[str, Any]:
    """Give a status from which every metric can be told."""
    given = standing([Told(child(0))])
    return given | {part: Told(given[part]) for part in ("supervisor", "queue")}


STEPS = {name: Step({"any": 1}, Times()) for name in metrics.STEPS}
TOTALS = Totals({"processed": 1}, {"X": 1}, steps=STEPS)


@pytest.fixture(scope="module")
def families() -> dict[str, str]:
    """Give each family of the exposition with its type."""
    return {family.name: family.type for family in metrics.families(status(), TOTALS)}


def series(families: dict[str, str]) -> set[str]:
    """Give the names of the series: counters end with _total, histograms are three."""
    suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
    return {name + suffix for name, kind in families.items() for suffix in suffixes.get(kind, ("",))}


def panels() -> Iterator[dict[str, Any]]:
    """Give the panels that show something."""
    return (panel for panel in DASHBOARD["panels"] if panel["type"] != "row")


def expressions() -> list[str]:
    """Give all that the dashboard asks."""
    asked = [target["expr"] for panel in panels() for target in panel["targets"]]
    return asked + [annotation["expr"] for annotation in DASHBOARD["annotations"]["list"]]


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_tells_what_is_wrong_and_where_its_remedy_stands(
    alert: dict[str, Any], families: dict[str, str]
) -> None:
    """It asks for metrics that there are; its text names slot or reason where the series have one."""
    assert {*NAME.findall(alert["expr"])} <= series(families)
    assert alert["labels"]["severity"] in {"critical", "warning"}
    told = alert["annotations"]
    assert told.keys() == {"summary", "description", "runbook_url"}
    assert told["runbook_url"] == f"docs/operations.md#{alert['alert'].lower()}"
    label = (
        "slot"
        if "friendship_child_" in alert["expr"]
        else "reason"
        if "(job, instance, reason)" in alert["expr"]
        else ""
    )
    assert f"{{{{ $labels.{label} }}}}" in told["summary"] or not label


def test_the_runbook_has_a_heading_for_each_alert() -> None:
    """And none for an alert that is no more."""
    headings = re.findall(
        r"^### (Friendship\w+)$", (CHECKOUT / "docs/operations.md").read_text(), re.MULTILINE
    )
    assert sorted(headings) == sorted(alert["alert"] for alert in ALERTS)


def test_each_alert_fires_in_one_of_the_stories() -> None:
    """rules.test.yaml, which promtool plays, has each of them with a text to compare."""
    fired = {
        check["alertname"]
        for story in document(STORIES)["tests"]
        for check in story.get("alert_rule_test", ())
        if check.get("exp_alerts")
    }
    assert fired == {alert["alert"] for alert in ALERTS}


def test_the_dashboard_shows_metrics_that_there_are(families: dict[str, str]) -> None:
    """Each name is one of the exposition, and each question keeps to the jobs and instances that were chosen."""
    for asked in expressions():
        names = NAME.findall(asked)
        assert names, asked
        assert {*names} <= series(families), asked
        assert len(re.findall(r'\{job=~"\$job", instance=~"\$instance"', asked)) == len(names), asked


def test_the_dashboard_is_laid_out() -> None:
    """Ids are unique, panels lie within 24 columns and on no other, and each has a title and a question."""
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
    assert all(panel["title"] and panel["targets"] for panel in panels())
    assert all(panel["datasource"]["uid"] == "${datasource}" for panel in panels())
    assert [each["name"] for each in DASHBOARD["templating"]["list"]] == ["datasource", "job", "instance"]


def test_every_metric_is_on_the_dashboard_or_known_to_be_left_out(families: dict[str, str]) -> None:
    """A new metric is either shown, or named here with its reason."""
    shown = {name for asked in expressions() for name in NAME.findall(asked)}
    left_out = {"friendship_queue_consumers"}  # children by state say the same, for all that are watched
    hidden = {name for name, kind in families.items() if not shown & series({name: kind})}
    assert hidden == left_out


def test_datadog_is_told_all_metrics(families: dict[str, str]) -> None:
    """By the names of their families, without the prefix."""
    (instance,) = document(DEPLOY / "datadog/openmetrics.yaml")["instances"]
    prefix = instance["raw_metric_prefix"]
    assert [prefix + name for name in instance["metrics"]] == sorted(families)


def test_prometheus_and_compose_name_one_port_and_one_job() -> None:
    """The job that the alerts look for is the one of the example, and its target is let in."""
    (job,) = document(DEPLOY / "prometheus/prometheus.yaml")["scrape_configs"]
    (target,) = job["static_configs"][0]["targets"]
    assert f'job="{job["job_name"]}"' in ALERTS[0]["expr"]
    service, _, port = target.partition(":")
    compose = document(DEPLOY / "compose.yaml")["services"]
    assert port == "9464"
    assert compose[service]["environment"]["FRIENDSHIP_ALLOWED_HOSTS"] == service


@pytest.mark.full
def test_promtool_plays_the_stories() -> None:
    """Every alert fires when it should, with its text, and none on a good day."""
    promtool = program("promtool")
    for words in (("check", "config", "prometheus.yaml"), ("test", "rules", "rules.test.yaml")):
        done = run(promtool, *words, cwd=RULES.parent)
        assert done.returncode == 0, done.stdout
    assert "SUCCESS" in done.stdout


@pytest.mark.full
def test_promtool_can_read_what_the_dashboard_asks(tmp_path: Path) -> None:
    """Each question as a recording rule, with Grafana's variables filled in."""
    filled = [
        asked.replace("$__rate_interval", "1m").replace("$job", ".+").replace("$instance", ".+")
        for asked in expressions()
    ]
    rules = [{"record": f"asked:number{number}", "expr": asked} for number, asked in enumerate(filled)]
    path = tmp_path / "asked.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = run(program("promtool"), "check", "rules", path)
    assert done.returncode == 0, done.stdout
    assert f"{len(rules)} rules found" in done.stdout


@pytest.mark.full
def test_promtool_has_nothing_against_the_exposition() -> None:
    """Names and texts as Prometheus likes them, and a text that its parser can read."""
    text = metrics.exposition(status(), TOTALS)
    done = subprocess.run(
        [program("promtool"), "check", "metrics"], input=text, capture_output=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")
