"""The dashboard that Grafana is given: of metrics that there are, and no panel over another."""

import itertools
import json
from typing import Any

import pytest
from click.testing import CliRunner

from tests.verifier.observe.exposed import ADDED, ITS_OWN
from tests.verifier.observe.promql import metrics_in
from verifier.cli import main
from verifier.observe import DASHBOARD

_WIDTH = 24
_SHOWN = json.loads(DASHBOARD.read_text(encoding="utf-8"))
_PANELS: list[dict[str, Any]] = _SHOWN["panels"]
_GRAPHS = [panel for panel in _PANELS if panel["type"] != "row"]
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def test_it_is_of_grafana_10_and_asks_which_prometheus_and_which_instances() -> None:
    assert _SHOWN["schemaVersion"] >= 39
    assert [one["name"] for one in _SHOWN["templating"]["list"]] == [
        "datasource",
        "job",
        "instance",
        "issuer",
    ]
    assert "id" not in _SHOWN  # else an import would replace what has that number


def test_its_rows_are_what_an_operator_asks_about() -> None:
    rows = [panel["title"].partition(":")[0] for panel in _PANELS if panel["type"] == "row"]
    assert rows == ["Gates", "Status", "Keys", "Scan log", "Process", "Clocks", "Issuer and archive"]


def test_each_panel_has_a_number_of_its_own_and_no_panel_lies_on_another() -> None:
    assert len({panel["id"] for panel in _PANELS}) == len(_PANELS)
    taken: set[tuple[int, int]] = set()
    for panel in _PANELS:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= _WIDTH
        columns, rows = range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])
        cells = set(itertools.product(columns, rows))
        assert not cells & taken, panel["title"]
        taken |= cells


@pytest.mark.parametrize("panel", _GRAPHS, ids=lambda panel: panel["title"])
def test_each_panel_says_what_it_shows_and_in_which_unit(panel: dict[str, Any]) -> None:
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["datasource"] == _SOURCE
    assert panel["targets"]
    letters = [target["refId"] for target in panel["targets"]]
    assert letters == sorted(set(letters))
    assert all(target["datasource"] == _SOURCE for target in panel["targets"])


def test_each_panel_reads_what_is_told(exposed: dict[str, set[str]]) -> None:
    known = exposed | ITS_OWN
    for panel in _GRAPHS:
        for target in panel["targets"]:
            for metric, labels in metrics_in(target["expr"]).items():
                assert metric in known, f"{panel['title']}: nobody tells {metric}"
                assert labels <= known[metric] | ADDED, f"{panel['title']}: {metric} {labels}"
    for annotation in _SHOWN["annotations"]["list"]:
        assert set(metrics_in(annotation["expr"])) == {"ALERTS"}


def test_every_metric_of_ours_is_on_it(exposed: dict[str, set[str]]) -> None:
    shown = {name for panel in _GRAPHS for target in panel["targets"] for name in metrics_in(target["expr"])}
    histograms = ("_bucket", "_sum", "_count", "_created")
    ours = {name for name in exposed if name.startswith("gatelight_") and not name.endswith(histograms)}
    # What is on it in another form, and what an alert tells better.
    elsewhere = {
        "gatelight_verifier_backlog_limit", "gatelight_verifier_key_set_starts_in_seconds",
        "gatelight_issuer_info", "gatelight_issuer_key_set_is_stale",
        "gatelight_issuer_key_set_life_left_ratio", "gatelight_issuer_signing_key_is_overdue",
        "gatelight_issuer_failed_authentications_total",
        "gatelight_archive_batches_total", "gatelight_archive_damaged_batches_total",
        "gatelight_archive_scans_ahead_total", "gatelight_archive_purged_scans_total",
        "gatelight_archive_is_working",
    }  # fmt: skip
    assert ours - shown == elsewhere


def test_the_command_prints_the_file() -> None:
    printed = CliRunner().invoke(main, ["observe", "dashboard"])
    assert printed.exit_code == 0
    assert json.loads(printed.stdout) == _SHOWN
