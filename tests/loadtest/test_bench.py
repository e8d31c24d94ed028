"""The parts of the benchmark, on small loads: what it measures with, and that it notices a wrong answer."""

import io
import itertools
import json
import os
import shutil
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path

import click
import grpc
import psutil
import pytest
import redis
from rich.console import Console

from loadtest.baseline.service import status_key
from loadtest.bench import h2
from loadtest.bench.answers import BATCH, LANE, UNARY, WrongAnswer, require_empty, require_green
from loadtest.bench.gates import Gates, connections
from loadtest.bench.h2 import Burst, Done, read_log, require_h2load, send
from loadtest.bench.latencies import of_rounds
from loadtest.bench.limits import DALEK, verify_calls
from loadtest.bench.loads import Shape, require_data
from loadtest.bench.measured import Measured, Ratio, first_core, in_turns, last_core, percentile
from loadtest.bench.result import JSON_NAME, Result
from loadtest.bench.running import STOCK
from loadtest.bench.setting import Setting
from loadtest.costs import Costs
from loadtest.generator import Plan
from loadtest.process_tree import tree
from loadtest.processes import ProcessError
from tests.eventually import eventually
from verifier.v1 import verifier_pb2 as pb
from verifier.v1.verifier_pb2_grpc import VerifierServiceServicer, add_VerifierServiceServicer_to_server
from verifier.verdict import Verdict

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


def test_a_percentile_is_the_sample_that_so_many_do_not_exceed() -> None:
    samples = [float(number) for number in range(10_000, 0, -1)]
    assert [percentile(samples, percent) for percent in (50, 99, 99.9)] == [5_000, 9_900, 9_990]
    assert percentile([*samples, 10_001], 50) == 5_001


def test_there_is_no_percentile_with_fewer_than_ten_samples_above_it() -> None:
    samples = [float(number) for number in range(1, 1_001)]
    assert percentile(samples, 99) == 990
    assert percentile(samples[:-1], 99) is None
    assert percentile([7.0], 50) is None


def test_rounds_too_short_for_a_percentile_give_it_together_or_not_at_all() -> None:
    rounds = [[float(number) for number in range(100)]] * 3
    assert of_rounds(rounds, 50) == (49, 49, 49)
    assert of_rounds(rounds, 95) == (94,)  # five above in a round, fifteen in all
    assert of_rounds(rounds, 99) == ()


def test_cores_are_those_that_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {2, 5}, raising=False)
    assert (first_core(), last_core()) == (2, 5)


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
    for empty in (STOCK, "grpcio"):
        assert loads.empty_us(setting.empty(empty), Shape("a few", 2, 2, 40)) >= 0
    assert len(loads.unary_paced(verifier, per_s=5_000, calls=500).took_ms) == 500


@NEEDS_H2LOAD
def test_calls_that_fail_are_noticed_where_nothing_counts_them(setting: Setting, tmp_path: Path) -> None:
    naive, loads = setting.naive(), setting.loads()
    assert loads.unary_us(naive, Shape("a few", 2, 2, 40)) >= 0
    address = setting.empty(STOCK).address
    done = send(Burst("/loadtest.Empty/NoSuchCall", b"", 40, 2, 2), address, folder=tmp_path, core=None)
    assert done.calls == 40  # h2load finds nothing wrong
    with pytest.raises(WrongAnswer, match="expected 200 to 200 bytes of answers, got 0"):
        require_data(done, range(1))
    with pytest.raises(WrongAnswer, match="UNIMPLEMENTED"):
        require_empty(address, "/loadtest.Empty/NoSuchCall")


def test_answers_that_grow_meanwhile_are_all_there_between_the_least_and_the_most() -> None:
    require_data(Done(10, 1.0, 10 * (5 + 60) + 4), range(60, 62))
    for short_or_long in (10 * (5 + 60) - 1, 10 * (5 + 61) + 1):
        with pytest.raises(WrongAnswer, match="650 to 660"):
            require_data(Done(10, 1.0, short_or_long), range(60, 62))


@NEEDS_H2LOAD
def test_a_load_meanwhile_has_to_be_answered(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    loads, verifier = setting.loads(), setting.verifier("grpcio")
    before = verifier.verdicts().total()
    with loads.unary_meanwhile(verifier, per_s=500, beside=lambda: 0):
        eventually(lambda: verifier.verdicts().total() >= before + 200)
    asked = itertools.count(0, 1_000_000)  # all that was answered was somebody else's
    with (
        pytest.raises(ProcessError, match="were answered"),
        loads.unary_meanwhile(verifier, per_s=500, beside=lambda: next(asked)),
    ):
        pass
    monkeypatch.setattr(h2, "_command", lambda *_: ["false"])
    with (
        pytest.raises(ProcessError, match="h2load ended with 1"),
        loads.unary_meanwhile(verifier, per_s=500, beside=lambda: 0),
    ):
        eventually(lambda: any(one.status() == psutil.STATUS_ZOMBIE for one in psutil.Process().children()))


def test_each_gate_has_a_connection_of_its_own(setting: Setting) -> None:
    verifier, city = setting.verifier("grpcio"), setting.city()
    with Gates(verifier.address, count=5, key=city.gate_key) as gates:
        assert connections(verifier.address) >= 5
        assert {gates.ask(gate, city.code(1)) for gate in range(5)} == {Verdict.GREEN}
        assert gates.asked == 5


@pytest.mark.skipif(not hasattr(os, "sched_getscheduler"), reason="needs Linux")
def test_an_empty_server_is_scheduled_as_the_workers_of_a_verifier_and_a_stock_one_as_others(
    setting: Setting,
) -> None:
    _supervisor, *workers = tree(setting.verifier("grpcio").process)
    (empty,), (stock,) = tree(setting.empty("grpcio").process), tree(setting.empty(STOCK).process)
    policy = os.sched_getscheduler(workers[0].pid)
    assert {os.sched_getscheduler(thread.id) for thread in empty.threads()} == {policy}
    assert os.sched_getscheduler(stock.pid) == os.SCHED_OTHER != policy


def test_the_bare_verify_call_is_of_a_signature_that_holds(setting: Setting) -> None:
    calls = verify_calls(setting.city())
    assert calls[DALEK]() is None  # it raises on another one
    assert calls["dalek, as the verifier calls it"]() is True


def test_the_gate_key_is_no_argument_of_the_generator() -> None:
    plan = Plan("127.0.0.1:1", UNARY, Path("requests"), 1, 1, 1, 0.0, Path("answers"), "a secret")
    assert not any("secret" in one for one in (*plan.arguments(), repr(plan)))
    assert Plan.read(plan.arguments(), "a secret") == plan


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
    result.add("batch", subject, Measured("a lane: p99.9", "ms", ()))
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
    subject_read, unknown = content["measured"]
    assert subject_read["samples"] == [60, 70, 65]
    assert "p99" not in subject_read
    assert unknown["median"] is unknown["least"] is unknown["most"] is None
    (line,) = (line for line in shown.getvalue().splitlines() if "p99.9" in line)
    assert line.count(" - ") == 3
    assert Costs.read(tmp_path / JSON_NAME).unary_us == 1
