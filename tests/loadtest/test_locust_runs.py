"""Locust itself, as a process, against a verifier on a socket: what people see who run it."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from loadtest.bench.running import RunningVerifier
from loadtest.city import GATE_ID, City
from loadtest.corpus_city import corpus_of_city
from loadtest.corpus_file import CorpusFile, Scan, Slot, write_corpus
from loadtest.embedded_redis import EmbeddedRedis, free_port
from loadtest.locust_process import LOCUSTFILE
from loadtest.mix import GATE
from loadtest.recording import RESULTS_NAME, Recording
from tests.eventually import eventually
from verifier.bearer import write_key_file
from verifier.verdict import Verdict

ROOT = LOCUSTFILE.parents[1]


class Place:
    """A verifier with a city behind it, and what generators need."""

    def __init__(self, folder: Path, city: City, verifier: RunningVerifier) -> None:
        self.folder, self.verifier = folder, verifier
        self.corpus, self.gate_key_file = folder / "corpus.bin", folder / "load.key"
        write_key_file(self.gate_key_file, city.gate_key)
        corpus_of_city(city.file, self.corpus, codes=2_000, seconds=600, mix=GATE)

    def write_wrong_corpus(self) -> Path:
        """Write a corpus that expects green for what is no code at all."""
        with_age = CorpusFile.open(self.corpus)
        scans = [Scan(b"https://shop.example/", Verdict.GREEN, "foreign")]
        path = self.folder / "wrong.bin"
        write_corpus(path, [Slot(scans, with_age.good_from, with_age.good_until)])
        with_age.close()
        return path

    def send(self, number: signal.Signals) -> None:
        """Send the whole verifier a signal."""
        supervisor = psutil.Process(self.verifier.process.pid)
        for process in (supervisor, *supervisor.children(recursive=True)):
            process.send_signal(number)


class Locust:
    """A process of Locust."""

    def __init__(self, place: Place, name: str, *options: str, plain: bool = False) -> None:
        self.results = place.folder / name
        ours = (
            *("--host", place.verifier.address, "--corpus", str(place.corpus), "--headless"),
            *("--gate-id", GATE_ID, "--gate-key-file", str(place.gate_key_file)),
            *("--people-a-minute", "4500", "--sites", "4", "--results", str(self.results)),
            # The machine may have a lot else to do.
            *("--threshold", "honest_p99_ms=20000", "--deadline", "20"),
        )
        command = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--only-summary"]
        self._out, self._err = place.folder / f"{name}.out", place.folder / f"{name}.err"
        with self._out.open("w") as out, self._err.open("w") as err:
            self._process = subprocess.Popen(
                [*command, *(() if plain else ours), *options],
                stdout=out,
                stderr=err,
                stdin=subprocess.DEVNULL,
                cwd=place.folder,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                start_new_session=True,
            )

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        os.killpg(self._process.pid, signal.SIGINT)

    def kill(self) -> None:
        """End it, whatever it does."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def wait_for(self, text: str, times: int = 1) -> None:
        """Wait until it has said that, so often."""
        eventually(lambda: self._err.read_text().count(text) >= times, timeout_s=40, interval_s=0.02)

    def wait(self) -> "Ended":
        """Wait for its end."""
        exit_code = self._process.wait(60)
        out, err = self._out.read_text(), self._err.read_text()
        return Ended(exit_code, out, err, self.results, self._process.pid)


def processes(count: int) -> tuple[str, ...]:
    """Return options for so many generators, with a port that no other run has."""
    port = str(free_port())
    return ("--processes", str(count), "--master-bind-port", port, "--master-port", port)


def is_gone(group: int) -> bool:
    """Tell whether no process of a group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


@dataclass(frozen=True, slots=True)
class Ended:
    exit_code: int
    out: str
    err: str
    results: Path
    group: int  # of processes

    def recording(self) -> Recording:
        assert (self.results / RESULTS_NAME).exists(), self.err
        return Recording.read(self.results)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("place")
    with EmbeddedRedis(folder) as redis:
        city = City(redis.url, folder=folder, credentials=10_000, is_mixed=True)
        with city.heartbeats():
            verifier = RunningVerifier(city, engine="grpcio", workers=1, folder=folder)
            try:
                yield Place(folder, city, verifier)
            finally:
                verifier.process.stop()


@pytest.fixture(scope="module")
def start(place: Place) -> Iterator[Callable[..., Locust]]:
    with ExitStack() as running:

        def start(name: str, *options: str, plain: bool = False) -> Locust:
            locust = Locust(place, name, *options, plain=plain)
            running.callback(locust.kill)
            return locust

        yield start


@pytest.fixture(scope="module")
def runs(place: Place, start: Callable[..., Locust]) -> dict[str, Ended]:
    """Runs that are in nobody's way, all at once."""
    port = str(free_port())
    to_master, of_master = ("--master-port", port), ("--master-bind-port", port)
    started = {
        "unary": start("unary", "-t", "2s", "--csv", str(place.folder / "locust")),
        "batch": start("batch", "--duration", "2", "--flavour", "batch", "--json"),
        "stream": start("stream", "--duration", "2", "--flavour", "stream", "--arrivals", "even"),
        "wrong": start("wrong", "--duration", "2", "--corpus", str(place.write_wrong_corpus())),
        "missing": start("missing", "--corpus", "nowhere.bin", *processes(2)),
        "two": start("two", "--duration", "2", *processes(2)),
        "master": start("master", "--duration", "2", "--master", "--expect-workers", "2", *of_master),
        "worker-1": start("worker-1", "--worker", *to_master, plain=True),
        "worker-2": start("worker-2", "--worker", *to_master, plain=True),
    }
    port = str(free_port())
    dying = start("dying", "--worker", "--master-port", port, plain=True)
    started["orphaned"] = start("orphaned", "--duration", "2", "--master", "--master-bind-port", port)
    slowly = ("-t", "3m", "--people-a-minute", "1200")
    to_be_stopped = {
        "stopped": start("stopped", *slowly),
        "stopped-two": start("stopped-two", *slowly, *processes(2)),
    }
    started["orphaned"].wait_for("Shape test updating")
    dying.kill()
    ended = {name: locust.wait() for name, locust in started.items()}
    to_be_stopped["stopped"].wait_for("takes part in run")
    to_be_stopped["stopped-two"].wait_for("takes part in run", times=2)
    for locust in to_be_stopped.values():
        locust.interrupt()
    return ended | {name: locust.wait() for name, locust in to_be_stopped.items()}


@pytest.mark.parametrize(
    ("flavour", "method"),
    [("unary", "VerifyCode"), ("batch", "VerifyCodes"), ("stream", "StreamVerify")],
)
def test_each_way_to_ask_gets_the_right_verdicts(runs: dict[str, Ended], flavour: str, method: str) -> None:
    assert runs[flavour].exit_code == 0, runs[flavour].err
    recording = runs[flavour].recording()
    total = recording.total()
    assert total.right == total.sent == total.due > 100
    assert total.wrong == total.failed == total.missed == total.missed_by_server == 0
    assert total.honest.count + total.hostile.count == total.due
    assert len(total.verdicts) > 3
    assert total.in_flight > 0
    assert total.generator_cpu_s > 0
    assert recording.generators[0].sites == recording.plan.sites == 4
    assert recording.plan.flavour == flavour
    assert method in runs[flavour].err or method in runs[flavour].out


def test_locusts_own_files_have_the_scans_too(runs: dict[str, Ended], place: Place) -> None:
    with (place.folder / "locust_stats.csv").open(newline="") as file:
        total = next(row for row in csv.DictReader(file) if row["Name"] == "Aggregated")
    assert int(total["Request Count"]) == runs["unary"].recording().total().sent
    assert (runs["unary"].results / "percentiles.csv").stat().st_size > 0


def test_with_json_standard_output_is_json(runs: dict[str, Ended]) -> None:
    assert [entry["name"] for entry in json.loads(runs["batch"].out)] == ["VerifyCodes"]
    assert "waited, ms" in runs["batch"].err


def test_a_wrong_verdict_is_a_failure_and_named_with_its_scan_id(runs: dict[str, Ended]) -> None:
    ended = runs["wrong"]
    assert ended.exit_code == 1
    recording = ended.recording()
    total = recording.total()
    assert total.wrong == total.sent > 100
    assert total.verdicts == {"MALFORMED": total.wrong}
    first = recording.wrong[0]
    assert (first.kind, first.expected, first.got) == ("foreign", "GREEN", "MALFORMED")
    assert f"wrong verdict: scan {first.scan_id} (foreign): expected GREEN, got MALFORMED" in ended.err
    assert len(recording.wrong) == 100
    # Locust's own table of failures has one row for all of them.
    assert len(re.findall(r"WrongAnswer\(", ended.err)) == 1


def test_no_qr_text_is_printed_or_written(runs: dict[str, Ended]) -> None:
    ended = runs["wrong"]
    said = ended.out + ended.err + (ended.results / RESULTS_NAME).read_text()
    assert "shop.example" not in said


@pytest.mark.parametrize("name", ["two", "master"])
def test_what_two_generators_did_is_merged(runs: dict[str, Ended], name: str) -> None:
    assert runs[name].exit_code == 0, runs[name].err
    recording = runs[name].recording()
    total = recording.total()
    assert total.right == total.due > 100
    assert [one.sites for one in recording.generators] == [2, 2]
    assert total.honest.count + total.hostile.count == total.due
    assert all(one.cores > 0 for one in recording.generators)


def test_a_missing_corpus_is_a_usage_error(runs: dict[str, Ended]) -> None:
    assert runs["missing"].exit_code == 2, runs["missing"].err
    assert "nowhere.bin cannot be read: No such file or directory" in runs["missing"].err
    assert "Traceback" not in runs["missing"].err
    eventually(lambda: is_gone(runs["missing"].group))


@pytest.mark.parametrize("name", ["stopped", "stopped-two"])
def test_ctrl_c_still_writes_what_was_measured(runs: dict[str, Ended], name: str) -> None:
    assert runs[name].exit_code == 3, runs[name].err
    assert "the run was stopped after" in runs[name].out
    assert "did not report its end" not in runs[name].out, runs[name].err
    recording = runs[name].recording()
    assert any("the run was stopped after" in problem for problem in recording.problems)
    assert recording.plan.duration_s == 180
    assert recording.total().right > 0


def test_a_generator_that_dies_makes_the_run_prove_nothing(runs: dict[str, Ended]) -> None:
    assert runs["orphaned"].exit_code == 3, runs["orphaned"].err
    assert "did not report its end" in runs["orphaned"].out


def test_a_verifier_that_stands_still_shows_in_the_tail(start: Callable[..., Locust], place: Place) -> None:
    """Whoever was due meanwhile waited until it went on, and so says the second in which they were due."""
    locust = start("frozen", "-t", "8s", "--max-in-flight", "200")
    locust.wait_for("All users spawned")
    spawned = time.monotonic()
    # The first scan is due a second later; there are some before, and some after.
    eventually(lambda: time.monotonic() > spawned + 2.5)
    place.send(signal.SIGSTOP)
    frozen_at = time.time()
    try:
        eventually(lambda: time.time() > frozen_at + 5, interval_s=0.02)
    finally:
        place.send(signal.SIGCONT)
    recording = locust.wait().recording()
    total = recording.total()
    assert total.wrong == 0
    # On a busy machine some are refused, or have waited too long, when it goes on.
    assert total.right + total.failed + total.missed_by_server == total.due
    longest_ms = total.honest.max_ms
    assert longest_ms is not None
    assert longest_ms >= 4_900
    p99_ms = total.honest.percentile_ms(99)
    assert p99_ms is not None
    assert p99_ms >= 4_000
    # 75 come in a second, so that 200 were under way after three; the others stood in line.
    assert total.in_flight >= 200
    assert max(second.in_flight for second in recording.seconds.values()) == 200
    assert total.held > 50
    for number in range(1, 4):
        waited_ms = recording.seconds[int(frozen_at) + number].honest.max_ms
        assert waited_ms is not None
        # Whoever was due at the begin of that second, or soon after, waited until the end.
        assert waited_ms >= (4.8 - number) * 1000


def test_grpc_is_loaded_after_the_fork_only() -> None:
    """Locust loads the locustfile before it forks --processes, which gRPC does not survive."""
    script = (
        "import sys; from locust.util.load_locustfile import load_locustfile;"
        f"users, shapes = load_locustfile({str(LOCUSTFILE)!r});"
        "assert users and shapes; sys.exit('grpc' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)
