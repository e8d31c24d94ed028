"""The alerts that Prometheus is given: of metrics that there are, by the thresholds of `status`, in words."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from click.testing import CliRunner

from tests.verifier.observe.exposed import ADDED, ITS_OWN
from tests.verifier.observe.promql import metrics_in, parse, threshold
from verifier import health_rules as rules
from verifier.cli import main
from verifier.observe import ALERTS, DASHBOARD
from verifier.seen_metrics import PREFIX, SeenMetrics
from verifier.trouble import Part, Trouble

# What `gatelight-verifier status` judges by, and the alerts that judge by the same.
_THRESHOLDS: dict[str, float] = {
    "StatusAges": rules.STATUS_OLD_S,
    "FeedLags": rules.FEED_LAG_S,
    "KeySetEndsSoon": rules.KEY_SET_LEFT_S,
    "GateListEndsSoon": rules.GATE_LIST_LEFT_S,
    "IssuerGateListEndsSoon": rules.GATE_LIST_LEFT_S,
    "CertificateEndsSoon": rules.CERTIFICATE_LEFT_S,
    "ScanLogNotShipped": rules.SCAN_LOG_UNSHIPPED_S,
    "ScanLogNotArchived": rules.SCAN_LOG_UNARCHIVED_S,
    "KeptStateOld": rules.KEPT_STATE_OLD_S,
    "DescriptorsUsedUp": rules.DESCRIPTORS_SHARE,
    "ClockLeapt": rules.CLOCK_STEP_S,
    "ClocksDiffer": rules.CLOCK_REDIS_S,
    "RedisSlow": rules.REDIS_SLOW_S,
    "CallsFail": 0.0,
    "CallsShed": rules.SHED_PER_S,
    "CallsWait": rules.BACKLOG_SHARE,
    "CallsSlow": rules.CALL_P99_S,
    "CodesComeEarly": rules.CODES_EARLY_SHARE,
    "CodesComeLate": rules.CODES_LATE_SHARE,
    "CodesForged": rules.CODES_FORGED_SHARE,
    "GatesUnknown": rules.UNKNOWN_GATES_PER_S,
    "WorkersUneven": rules.WORKER_SKEW_RATIO,
    "OneEntryByOneVerifier": rules.ENTRIES_LOCAL_PER_S,
}
_FIRING = Path(__file__).parent / "alerts_test.yml"
_SEVERITIES = {"critical", "warning", "info"}
_RULE_KEYS = {"alert", "expr", "for", "labels", "annotations"}


def _alerts() -> dict[str, dict[str, Any]]:
    groups = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    assert [set(group) for group in groups] == [{"name", "rules"}] * len(groups)
    found = [rule for group in groups for rule in group["rules"]]
    assert len({rule["alert"] for rule in found}) == len(found)
    return {rule["alert"]: rule for rule in found}


_ALL = _alerts()


@pytest.mark.parametrize("name", _ALL)
def test_each_alert_is_one_that_prometheus_takes_and_says_what_it_means(name: str) -> None:
    rule = _ALL[name]
    assert set(rule) <= _RULE_KEYS
    assert re.fullmatch(r"[A-Z][A-Za-z]+", name)
    parse(rule["expr"])
    if "for" in rule:
        promql_parser.parse_duration(rule["for"])
    assert set(rule["labels"]) == {"severity"}
    assert rule["labels"]["severity"] in _SEVERITIES
    assert set(rule["annotations"]) == {"summary", "description"}
    assert rule["annotations"]["summary"][-1] not in ".:"
    assert rule["annotations"]["description"].rstrip()[-1] == "."
    # What is put into a text has to be in what the expression gives.
    labels = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
    assert labels <= ADDED | set().union(*metrics_in(rule["expr"]).values()) | {"operator", "part"}


def test_each_alert_reads_what_is_told(exposed: dict[str, set[str]]) -> None:
    for name, rule in _ALL.items():
        for metric, labels in metrics_in(rule["expr"]).items():
            assert metric in exposed | ITS_OWN, f"{name}: nobody tells {metric}"
            known = (exposed | ITS_OWN)[metric] | ADDED
            assert labels <= known, f"{name}: {metric} has no label {labels - known}"


def test_alerts_and_status_judge_by_the_same_thresholds() -> None:
    assert {name: threshold(_ALL[name]["expr"]) for name in _THRESHOLDS} == _THRESHOLDS
    early, late = (f'le="{bound_s}"' for bound_s in (-rules.CODE_EARLY_S, rules.CODE_LATE_S))
    assert early in _ALL["CodesComeEarly"]["expr"]
    assert late in _ALL["CodesComeLate"]["expr"]
    of_redis = [rule for rule in _ALL.values() if "gatelight_verifier_trouble{" in rule["expr"]]
    assert {promql_parser.parse_duration(rule["for"]).total_seconds() for rule in of_redis} == {
        rules.TROUBLE_S,
        60.0,
    }


@pytest.mark.parametrize("part", [Part.JOURNAL, Part.SCAN_LOG, Part.KEPT_STATE])
def test_of_a_disk_that_fails_alert_and_status_say_the_same(part: Part) -> None:
    trouble = f'{PREFIX}trouble{{part="{part}",kind="disk"}} 1\n'
    (problem,) = rules.problems(SeenMetrics(f"{PREFIX}workers_serving 1\n{trouble}"))
    effect = re.search(r"verdicts go on, (?:and |but )?([^;]+); look at the folder", problem.text)
    assert effect is not None
    said = _ALL["DiskFails"]["annotations"]["description"]
    assert f"ith {'part ' if part is Part.JOURNAL else ''}{part}, {effect[1]}" in said


def test_every_kind_of_trouble_has_its_alert() -> None:
    kinds: set[str] = set()
    for rule in _ALL.values():
        for matched in re.findall(r'gatelight_verifier_trouble\{kind=~?"([a-z_|]+)"', rule["expr"]):
            kinds |= set(matched.split("|"))
    assert kinds == set(Trouble)


def test_panels_that_an_alert_sends_to_are_on_the_dashboard() -> None:
    titles = set(re.findall(r'"title": "([^"]+)"', DASHBOARD.read_text(encoding="utf-8")))
    named = re.findall(r"`([A-Z][^`]+)`", _ALL["CallsSlow"]["annotations"]["description"])
    assert named
    assert set(named) <= titles


def test_the_command_prints_the_file(tmp_path: Path) -> None:
    printed = CliRunner().invoke(main, ["observe", "alerts"])
    assert printed.exit_code == 0
    assert yaml.safe_load(printed.stdout) == yaml.safe_load(ALERTS.read_text(encoding="utf-8"))


def test_alerts_fire_when_they_should() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not here: it comes with Prometheus")
    for command in (["check", "rules", str(ALERTS)], ["test", "rules", str(_FIRING)]):
        done = subprocess.run([promtool, *command], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
