"""The parts of the benchmark, on small loads: what it measures with, and that it notices a wrong answer."""

import io
import json
import shutil
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path

import click
import grpc
import pytest
import redis
from rich.console import Console

from loadtest.baseline.service import status_key
from loadtest.bench.answers import BATCH, LANE, UNARY, WrongAnswer, require_green
from loadtest.bench.h2 import read_log, require_h2load
from loadtest.bench.loads import Shape
from loadtest.bench.measured import Measured, Ratio, in_turns, percentile
from loadtest.bench.result import JSON_NAME, Result
from loadtest.bench.setting import Setting
from loadtest.costs import Costs
from loadtest.processes import ProcessError
from verifier.v1 import verifier_pb2 as pb
from verifier.v1.verifier_pb2_grpc import VerifierServiceServicer, add_VerifierServiceServicer_to_server

SCAN = pb.VerifyCodeRequest(qr_text=b"GL1:", scan_id="a", gate_id="north-3")
REQUESTS = {
    UNARY: SCAN.SerializeToString(),
    BATCH: pb.VerifyCodesRequest(scans=[SCAN, SCAN]).SerializeToString(),
    LANE: pb.StreamVerifyRequest(scan=SCAN).SerializeToString(),
}
NEEDS_H2LOAD = pytest.mark.skipif(shutil.which("h2load") is None, reason="needs nghttp2-client")


def test_a_ratio_is_of_each_round_and_its_median_not_that_of_the_medians() -> None:
    subject, limit = Measured("a", "µs", (10, 40, 90)), Measured("b", "µs", (10, 10, 30))
    ratio = Ratio.of("unary", "a / b", subject, limit, aim=3)
    assert ratio.samples == (1, 4, 3)
    assert ratio.median == 3
    assert ratio.is_met is True
    assert Ratio.of("unary", "a / 10", subject, 10).samples == (1, 4, 9)


@pytest.mark.parametrize(
    ("aim", "is_floor", "is_met"),
    [(3, False, True), (2.9, False, False), (3, True, True), (3.1, True, False)],
)
def test_an_aim_is_the_most_or_the_least(aim: float, is_floor: bool, is_met: bool) -> None:
    assert Ratio("unary", "a / b", (1, 3, 4), aim, is_floor).is_met is is_met
    assert Ratio("unary", "a / b", (1, 3, 4)).is_met is None


def test_limits_add_up_round_by_round() -> None:
    both = Measured("message", "µs", (30, 50)) + Measured("verify", "µs", (50, 60))
    assert both.samples == (80, 110)
    assert both.a_core_second("verdicts").samples == pytest.approx((12_500, 9_090.9), abs=0.1)


def test_rounds_of_different_number_are_not_divided() -> None:
    with pytest.raises(ValueError, match="shorter"):
        Ratio.of("unary", "a / b", Measured("a", "µs", (1, 2)), Measured("b", "µs", (1,)))


def test_what_is_measured_takes_turns() -> None:
    order: list[str] = []

    def note(name: str) -> float:
        order.append(name)
        return len(order)

    assert in_turns({"a": lambda: note("a"), "b": lambda: note("b")}, 2) == {"a": (1, 3), "b": (2, 4)}
    assert order == ["a", "b", "a", "b"]


def test_a_percentile_is_one_of_the_samples() -> None:
    samples = [float(number) for number in range(1000, 0, -1)]
    assert [percentile(samples, percent) for percent in (50, 99, 99.9)] == [501, 991, 1000]
    assert percentile([7.0], 99.9) == 7


def test_the_log_of_h2load_tells_what_calls_took_and_the_rate_that_was_kept() -> None:
    lines = [f"{1_700_000_000_000_000 + 500 * number}\t200\t{1_000 + number}" for number in range(1_000)]
    paced = read_log("\n".join([lines[0] + "\tsomething new", *reversed(lines[1:])]) + "\n")
    assert sorted(paced.took_ms) == [pytest.approx(1 + number / 1_000) for number in range(1_000)]
    assert paced.per_s == pytest.approx(2_000)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1700000000000000\t-1\t1000", "HTTP status -1"),
        ("1700000000000000\t503\t1000", "HTTP status 503"),
        ("1700000000000000\t200", "three numbers"),
        ("start\tstatus\ttook", "three numbers"),
        ("1700000000000000\t200\t1000", "got 1"),
    ],
)
def test_a_log_with_a_failed_call_or_of_another_form_is_refused(line: str, message: str) -> None:
    with pytest.raises(ProcessError, match=message):
        read_log(line)


def test_without_h2load_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(click.UsageError, match="apt install nghttp2-client") as raised:
        require_h2load()
    assert raised.value.exit_code == 2


def stubborn(*answers: pb.VerifyCodeResponse) -> VerifierServiceServicer:
    """Return a service that answers every call the same."""
    servicer = VerifierServiceServicer()
    answer = pb.StreamVerifyResponse(verdict=answers[0])
    vars(servicer)["VerifyCode"] = lambda _request, _context: answers[0]
    vars(servicer)["VerifyCodes"] = lambda _request, _context: pb.VerifyCodesResponse(verdicts=answers)
    vars(servicer)["StreamVerify"] = lambda requests, _context: (answer for _ in requests)
    return servicer


@contextmanager
def serving(servicer: VerifierServiceServicer) -> Iterator[str]:
    with futures.ThreadPoolExecutor(2) as pool:
        server = grpc.server(pool)
        add_VerifierServiceServicer_to_server(servicer, server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield f"127.0.0.1:{port}"
        server.stop(None).wait()


GREEN = pb.VerifyCodeResponse(scan_id="a", verdict=pb.VERDICT_GREEN)
RED = pb.VerifyCodeResponse(scan_id="a", verdict=pb.VERDICT_RED)
OTHER = pb.VerifyCodeResponse(scan_id="b", verdict=pb.VERDICT_GREEN)


@pytest.mark.parametrize("method", [UNARY, BATCH, LANE])
def test_a_green_answer_to_each_scan_is_right(method: str) -> None:
    with serving(stubborn(GREEN, GREEN)) as address:
        require_green(address, method, REQUESTS[method], key="")


@pytest.mark.parametrize("answers", [(RED, GREEN), (OTHER, GREEN), (pb.VerifyCodeResponse(), GREEN)])
@pytest.mark.parametrize("method", [UNARY, BATCH, LANE])
def test_another_verdict_or_scan_is_wrong(method: str, answers: tuple[pb.VerifyCodeResponse, ...]) -> None:
    with serving(stubborn(*answers)) as address, pytest.raises(WrongAnswer, match="GREEN"):
        require_green(address, method, REQUESTS[method], key="")


@pytest.mark.parametrize("answers", [(GREEN,), (GREEN, GREEN, GREEN), (GREEN, RED)])
def test_an_answer_too_few_or_too_many_in_a_batch_is_wrong(
    answers: tuple[pb.VerifyCodeResponse, ...],
) -> None:
    with serving(stubborn(*answers)) as address, pytest.raises(WrongAnswer, match="GREEN"):
        require_green(address, BATCH, REQUESTS[BATCH], key="")


@pytest.mark.parametrize("method", [UNARY, BATCH, LANE])
def test_a_call_that_fails_is_wrong(method: str) -> None:
    with serving(VerifierServiceServicer()) as address, pytest.raises(WrongAnswer, match="UNIMPLEMENTED"):
        require_green(address, method, REQUESTS[method], key="")


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    with Setting(tmp_path_factory.mktemp("bench"), ("grpcio",)) as setting:
        yield setting


@NEEDS_H2LOAD
def test_h2load_sends_bursts_and_keeps_a_rate(setting: Setting) -> None:
    loads, verifier = setting.loads(), setting.verifier("grpcio")
    assert loads.unary_us(verifier, Shape("a few", 2, 2, 40)) >= 0  # the clock of CPU ticks in 10 ms
    assert loads.empty_us(setting.empty("grpcio"), Shape("a few", 2, 2, 40)) >= 0
    assert len(loads.unary_paced(verifier, per_s=5_000, calls=500).took_ms) == 500


def test_the_generator_times_each_call_and_each_message(setting: Setting) -> None:
    loads, verifier = setting.loads(), setting.verifier("grpcio")
    batches = loads.batches_generated(verifier, calls=20, per_s=200)
    assert len(batches.took_ms) == 20
    assert 0 < batches.per_s <= 210  # the last is due after 95 ms
    lanes = loads.lanes_generated(verifier, calls=100, per_s=1_000)
    assert len(lanes.took_ms) == 100
    assert 0 < min(lanes.took_ms) <= max(lanes.took_ms)


def test_a_wrong_verdict_among_many_is_noticed(setting: Setting) -> None:
    loads, naive, city = setting.loads(), setting.naive(), setting.city()
    assert loads.batches_generated(naive, calls=5).per_s > 0
    with redis.Redis.from_url(city.redis_url.removesuffix("/0") + "/3") as client:
        # All but those of the first batch, which is asked beside the load.
        first = pb.VerifyCodesRequest.FromString(loads._messages.batches[0])
        spared = {int(scan.scan_id) for scan in first.scans}
        wrong = {status_key(index): "RED 1" for index in range(city.credentials) if index not in spared}
        client.mset(wrong)
    with pytest.raises(WrongAnswer, match="VERDICT_RED"):
        loads.batches_generated(naive, calls=20)  # one in 17 is looked at


def test_a_verifier_that_answers_another_number_than_was_asked_is_noticed(setting: Setting) -> None:
    verifier = setting.verifier("grpcio")
    request, key = setting.loads()._messages.scan, setting.city().gate_key
    with pytest.raises(WrongAnswer, match="expected 2 scans to be GREEN"), verifier.answering(2):
        require_green(verifier.address, UNARY, request, key=key)


def test_results_are_shown_and_written_with_their_spread_and_the_costs_of_a_plan(tmp_path: Path) -> None:
    result = Result()
    subject = Measured("envoy: a verdict", "µs", (60, 70, 65))
    result.add("batch", subject)
    result.ratio(Ratio.of("batch", "envoy / PyNaCl verify", subject, 50, aim=1.2))
    names = [name for name in Costs.__slots__ if name != "machine"]
    for number, name in enumerate(names, 1):
        result.cost(name, number)
    shown = io.StringIO()
    result.show(Console(width=120, file=shown))
    assert "missed" in shown.getvalue()
    result.write(tmp_path)
    content = json.loads((tmp_path / JSON_NAME).read_text())
    (ratio,) = content["ratios"]
    assert (ratio["median"], ratio["least"], ratio["most"]) == (1.3, 1.2, 1.4)
    assert ratio["is_met"] is False
    assert content["measured"][0]["samples"] == [60, 70, 65]
    assert Costs.read(tmp_path / JSON_NAME).unary_us == 1
