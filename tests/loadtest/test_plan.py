"""A city's plan: numbers worked out by hand, and nonsense refused."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from loadtest.costs import Costs, NoCosts
from loadtest.needs import City, cores, needs
from loadtest.plan import plan
from loadtest.sizes import Sizes, weigh

COSTS = Costs(
    machine="a machine",
    unary_us=150,
    batch_us=60,
    stream_us=90,
    code_us=36,
    worker_mib=64,
    redis_bytes_a_credential=8,
    redis_bytes_a_feed_entry=60,
    register_bytes_a_scan=200,
)
SIZES = Sizes(
    scan_in=400,
    scan_out=250,
    batch_scan_in=240,
    batch_scan_out=70,
    journal_entry=100,
    bundle_code=200,
)
# 86.4 million scans a day: a thousand a second.
CITY = City(people=43.2e6, scans_per_person_day=2)


def worked_out(city: City = CITY) -> dict[str, float]:
    return {f"{need.group}: {need.what}": need.value for need in needs(city, COSTS, SIZES)}


def test_the_peak_is_the_mean_of_the_day_times_the_factor() -> None:
    found = worked_out()
    assert found["crowd: scans a day"] == 86.4e6
    assert found["crowd: scans, mean"] == 1_000
    assert found["crowd: scans, peak"] == 10_000
    assert found["crowd: displays a day"] == 864e6


@pytest.mark.parametrize(("per_minute", "per_s"), [(1.2e6, 20_000), (3e5, 10_000)])
def test_a_peak_that_is_known_counts_where_it_is_larger(per_minute: float, per_s: float) -> None:
    assert worked_out(replace(CITY, peak_per_minute=per_minute))["crowd: scans, peak"] == per_s


def test_the_cores_of_the_verifiers_leave_the_headroom_free() -> None:
    # 10 000/s x 150 µs keep 1.5 cores busy: 3 at a half, 2 at a quarter.
    assert worked_out()["verifiers: cores, unary"] == 3
    assert worked_out(replace(CITY, headroom=0.25))["verifiers: cores, unary"] == 2
    assert worked_out(replace(CITY, is_batched=True))["verifiers: cores, batched"] == 2
    assert worked_out(replace(CITY, cores_a_host=2))["verifiers: hosts of 2 cores"] == 3  # a spare


def test_cores_are_whole_and_no_core_is_added_for_a_rounding_error() -> None:
    assert cores(10_000, 100, 0) == 1
    assert cores(10_001, 100, 0) == 2
    assert cores(70_000, 100, 0.3) == 10


def test_memory_redis_and_network_are_of_so_many_people() -> None:
    found = worked_out()
    mirror_mib = 43.2e6 * 8 / 2**20
    assert found["verifiers: memory of each"] == pytest.approx((2 * mirror_mib + 32 * 64) / 1024)
    assert found["Redis: status"] == pytest.approx(mirror_mib)
    assert found["Redis: feed"] == pytest.approx(60e6 / 2**20)
    assert found["Redis: scan log, at most"] == 512
    assert found["network: into the verifiers"] == pytest.approx(32)  # 10 000/s x 400 bytes
    assert found["network: out of them"] == pytest.approx(20)
    assert found["network: scan log to Redis"] == pytest.approx(8)
    # One host and a spare.
    assert found["network: status from Redis, at a new epoch"] == pytest.approx(2 * mirror_mib)


def test_the_scan_log_is_a_row_a_scan_for_as_long_as_it_is_kept() -> None:
    found = worked_out(replace(CITY, retention_days=10))
    assert found["scan log: journals and Redis, a day"] == pytest.approx(8.64e9 / 2**30)
    assert found["scan log: register, a day"] == 86.4e6
    assert found["scan log: register, 10 days"] == pytest.approx(864e6 * 200 / 2**30)


def test_phones_that_keep_codes_ahead_cost_the_issuer_the_same_whatever_the_bundle() -> None:
    found = worked_out(replace(CITY, bundle_hours=1))
    assert found["issuer: bundles"] == 16_000  # 43.2 million in three quarters of an hour
    assert found["issuer: codes"] == 1_920_000  # 120 each
    assert found["issuer: cores"] == 139  # 1.92 million/s x 36 µs = 69.12, twice
    assert found["issuer: bundles to phones"] == pytest.approx(3_072)
    assert worked_out(replace(CITY, bundle_hours=24))["issuer: codes"] == 1_920_000
    assert worked_out(replace(CITY, fetching_share=0.25))["issuer: codes"] == 480_000


def test_the_public_peaks_are_held_by_so_many_cores() -> None:
    found = worked_out()
    assert found["public peaks: Xi'an, rated in 2021, unary"] == 6  # 20 000/s x 150 µs = 3, twice
    assert found["public peaks: Xi'an, rated in 2021, batched"] == 3  # 2.4
    assert found["public peaks: Guangdong, 10 January 2022, unary"] == 7  # 23 333/s: 3.5, twice
    assert found["public peaks: Guangdong, 10 January 2022, batched"] == 3  # 2.8


def test_a_public_peak_of_requests_says_that_each_is_taken_as_a_scan() -> None:
    how = {need.what: need.how for need in needs(CITY, COSTS, SIZES) if need.group == "public peaks"}
    assert how["Guangdong, 10 January 2022, unary"].startswith("1.4 million requests, each taken as a scan")
    assert how["Xi'an, rated in 2021, unary"].startswith("1.2 million scans")


def test_real_messages_are_of_plausible_size() -> None:
    sizes = weigh()
    assert 170 < sizes.batch_scan_in < sizes.scan_in < 600  # the QR text alone is some 175
    assert 50 < sizes.batch_scan_out < sizes.scan_out < 400
    assert 80 < sizes.journal_entry < 130
    assert 170 < sizes.bundle_code < 220


def run(tmp_path: Path, *arguments: str, content: Any = None) -> Result:
    costs = {"costs": {name: getattr(COSTS, name) for name in COSTS.__slots__}}
    file = tmp_path / "bench.json"
    file.write_text(json.dumps(content or costs))
    return CliRunner().invoke(plan, ["--costs", str(file), *arguments])


@pytest.mark.parametrize("people", ["43.2e6", "43200000", "43,200,000", "43_200_000"])
def test_people_are_a_number_as_it_is_written(tmp_path: Path, people: str) -> None:
    result = run(tmp_path, "--people", people, "--json")
    content = json.loads(result.stdout)
    assert content["city"]["people"] == 43.2e6
    assert content["assumptions"]
    lines = {(need["group"], need["what"]): need["value"] for need in content["needs"]}
    assert lines["verifiers", "cores, unary"] == 3


def test_the_table_tells_cores_with_their_formula_and_what_it_assumes(tmp_path: Path) -> None:
    result = run(tmp_path, "--people", "43.2e6", "--batch", "--peak-per-minute", "1.4e6")
    assert result.exit_code == 0
    for words in ("cores, batched", "Guangdong", "It assumes:", "a machine"):
        assert words in result.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        *(["--people", people] for people in ("0", "-5", "nan", "inf", "many", "5e9", "")),
        ["--people", "1e6", "--headroom", "1"],
        ["--people", "1e6", "--peak-factor", "0.5"],
        ["--people", "1e6", "--scans-per-person-day", "0"],
        ["--people", "1e6", "--retention-days", "-1"],
        [],
    ],
)
def test_nonsense_is_refused(tmp_path: Path, arguments: list[str]) -> None:
    assert run(tmp_path, *arguments).exit_code == 2


def test_without_costs_it_says_to_measure_them_first(tmp_path: Path) -> None:
    result = CliRunner().invoke(plan, ["--people", "25e6", "--costs", str(tmp_path / "none.json")])
    assert result.exit_code == 2
    assert "run `make bench` first" in result.stderr


@pytest.mark.parametrize("content", [{"costs": {"machine": "a"}}, {"costs": 3}, {"ratios": []}, [1]])
def test_a_file_without_costs_is_refused(tmp_path: Path, content: Any) -> None:
    result = run(tmp_path, "--people", "25e6", content=content)
    assert result.exit_code == 2
    assert "run `make bench` again" in result.stderr


def test_costs_of_nothing_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    costs = {name: getattr(COSTS, name) for name in COSTS.__slots__} | {"batch_us": 0}
    file.write_text(json.dumps({"costs": costs}))
    with pytest.raises(NoCosts, match="above 0"):
        Costs.read(file)
