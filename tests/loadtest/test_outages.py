"""The framework itself: what is not as it must be is complained about."""

import pkgutil
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Self, cast

import pytest
from click.testing import CliRunner

from loadtest import outages
from loadtest.__main__ import main
from loadtest.corpus_file import Scan
from loadtest.outages import command, faults
from loadtest.outages.command import Setting, run_group
from loadtest.outages.fault import Fault, Meanwhile
from loadtest.outages.faults import FAULTS, groups_of
from loadtest.outages.gates import Gates, Phase, gates_of
from loadtest.outages.scene import Metrics, Scene, read_metrics
from loadtest.outages.signs import PREFIX, Sign, above, all_of, any_of, below, in_trouble, is_gone
from loadtest.outages.slow_proxy import SlowProxy
from loadtest.outages.table import BEGIN, END, Row, put_into, readme_text
from loadtest.outages.tls_scene import tls_scene
from loadtest.outages.trial import Outcome, Watcher, run_trial
from loadtest.processes import ProcessError
from tests.loadtest.outage_trials import BESIDE_S, CREDENTIALS, RATE
from verifier.client import VerifierClient
from verifier.verdict import Verdict

SOON_S = 0.5


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with tls_scene(tmp_path_factory.mktemp("scene"), engines=["grpcio"], credentials=CREDENTIALS) as here:
        yield here


@pytest.fixture(scope="module")
def gates(here: Scene) -> Iterator[Mapping[str, Gates]]:
    with gates_of(here, rate=RATE) as gates:
        yield gates


def nothing(_: Scene) -> None:
    """Neither break nor mend."""


NO_FAULT = Fault("nothing", "nothing happens", nothing, nothing)


def complaints(here: Scene, fault: Fault, gates: Mapping[str, Gates]) -> Sequence[str]:
    return trial(here, fault, gates).complaints


def trial(here: Scene, fault: Fault, gates: Mapping[str, Gates]) -> Outcome:
    (outcome,) = run_trial(here, fault, gates, beside_s=BESIDE_S, lasts_s=BESIDE_S, most_wait_s=SOON_S)
    return outcome


def test_where_nothing_happens_there_is_nothing_to_complain_about(
    here: Scene, gates: Mapping[str, Gates]
) -> None:
    outcome = trial(here, NO_FAULT, gates)
    assert outcome.complaints == []
    assert outcome.before.right > 0
    assert outcome.noticed_after_s is None


def test_a_fault_that_metrics_do_not_tell_of_is_complained_about(
    here: Scene, gates: Mapping[str, Gates]
) -> None:
    fault = replace(NO_FAULT, sign=in_trouble("mirror", "redis_timeout"))
    assert complaints(here, fault, gates) == ["metrics said nothing"]
    fault = replace(NO_FAULT, rises=f"{PREFIX}feed_gaps_total")
    assert complaints(here, fault, gates) == ["metrics said nothing"]


def test_a_sign_that_was_there_before_shows_nothing(here: Scene, gates: Mapping[str, Gates]) -> None:
    fault = replace(NO_FAULT, sign=above("workers_serving", 0))
    assert complaints(here, fault, gates) == ["metrics said so before", "did not recover"]


def test_verdicts_where_there_must_be_none_are_complained_about(
    here: Scene, gates: Mapping[str, Gates]
) -> None:
    (said,) = complaints(here, replace(NO_FAULT, meanwhile=Meanwhile.CLOSED), gates)
    assert said.endswith("verdicts from nothing")


def test_what_is_never_healed_is_complained_about(here: Scene, gates: Mapping[str, Gates]) -> None:
    fault = replace(NO_FAULT, strike=lambda scene: scene.redis.freeze())
    try:
        assert complaints(here, fault, gates) == ["did not recover"]
    finally:
        here.redis.thaw()


def test_a_wrong_verdict_is_complained_about(here: Scene) -> None:
    green = here.city.code(0)
    gates = Gates(lambda: here.gate("grpcio"), [Scan(green, Verdict.YELLOW, "yellow")], rate=RATE)
    gates.start()
    try:
        (said,) = complaints(here, NO_FAULT, {"grpcio": gates})
    finally:
        gates.stop()
    assert "wrong verdicts" in said
    assert "GREEN for YELLOW" in said


def test_a_scan_without_a_verdict_is_complained_about(here: Scene) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{nobody.getsockname()[1]}"
        gates = Gates(
            lambda: VerifierClient(address, gate_id="north-3", deadline_s=0.2),
            [Scan(b"", Verdict.MALFORMED, "garbage")],
            rate=RATE,
        )
        gates.start()
        try:
            (said,) = complaints(here, NO_FAULT, {"grpcio": gates})
        finally:
            gates.stop()
    assert "scans without a verdict" in said


class StrangeClient:
    """A client that neither answers nor raises what it may."""

    def __init__(self, act: Callable[[], object]) -> None:
        self._act = act

    def verify(self, qr_text: bytes) -> None:  # noqa: ARG002 - as the product's
        self._act()

    def verify_many(self, qr_texts: Iterator[bytes]) -> list[None]:
        self._act()
        return [None for _ in qr_texts]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Close nothing."""


def strange_trial(here: Scene, act: Callable[[], object]) -> Outcome:
    client = cast("VerifierClient", StrangeClient(act))
    gates = Gates(lambda: client, [Scan(b"", Verdict.MALFORMED, "garbage")], rate=RATE, settled_s=SOON_S)
    gates.start()
    try:
        return trial(here, NO_FAULT, {"grpcio": gates})
    finally:
        gates.stop()


def test_a_scan_whose_call_raises_something_unforeseen_has_failed(here: Scene) -> None:
    def raise_it() -> None:
        raise RuntimeError

    outcome = strange_trial(here, raise_it)
    assert outcome.failed == outcome.scans == sum(phase.scans_due for phase in outcome.phases) > 0
    assert outcome.complaints == [
        f"{outcome.failed} scans without a verdict ({outcome.failed} UNFORESEEN RuntimeError)"
    ]


def test_a_scan_whose_call_never_comes_back_has_failed(here: Scene) -> None:
    ended = threading.Event()
    try:
        outcome = strange_trial(here, ended.wait)
    finally:
        ended.set()
    assert outcome.failed == sum(phase.scans_due for phase in outcome.phases) > 0
    assert outcome.complaints == [f"{outcome.failed} scans without a verdict ({outcome.failed} UNFINISHED)"]


def test_gates_go_on_after_what_was_unforeseen() -> None:
    asked = threading.Semaphore(0)

    def raise_it() -> None:
        asked.release()
        raise RuntimeError

    client = cast("VerifierClient", StrangeClient(raise_it))
    gates = Gates(lambda: client, [Scan(b"", Verdict.MALFORMED, "garbage")], rate=1_000)
    gates.start()
    try:
        # There are three threads for each call of a second.
        assert all(asked.acquire(timeout=30) for _ in range(3_500))
    finally:
        gates.stop()


CLOSED = replace(NO_FAULT, meanwhile=Meanwhile.CLOSED)


def outcome_of(fault: Fault, **phases: Phase) -> Outcome:
    names = ("before", "striking", "during", "ending", "healing", "after")
    came = {name: Phase(right=1) for name in names} | phases
    return Outcome(fault, "grpcio", **came, was_well=True, noticed_after_s=None, recovered_after_s=0.0)


@pytest.mark.parametrize(
    ("phase", "status", "is_right"),
    [
        ("before", "UNAVAILABLE", False),
        ("striking", "UNAVAILABLE", True),
        ("during", "UNAVAILABLE", True),
        ("ending", "UNAVAILABLE", True),
        ("healing", "UNAVAILABLE", True),
        ("after", "UNAVAILABLE", False),
        ("striking", "INTERNAL", False),
        ("during", "INTERNAL", False),
        ("ending", "INTERNAL", False),
        ("healing", "INTERNAL", False),
        ("healing", "UNFINISHED", False),
        ("striking", "DEADLINE_EXCEEDED", False),
        ("during", "DEADLINE_EXCEEDED", False),
    ],
)
def test_only_unavailable_is_right_while_nobody_can_know(phase: str, status: str, *, is_right: bool) -> None:
    outcome = outcome_of(CLOSED, **{phase: Phase(right=1, failed=Counter({status: 40}))})
    assert outcome.failed == (0 if is_right else 40)
    said = [] if is_right else [f"40 scans without a verdict (40 {status})"]
    assert outcome.complaints == said


@pytest.mark.parametrize(
    ("phase", "is_right"),
    [
        ("before", False),
        ("striking", True),
        ("during", False),
        ("ending", True),
        ("healing", True),
        ("after", False),
    ],
)
def test_a_call_may_wait_until_its_deadline_while_verifiers_start(phase: str, *, is_right: bool) -> None:
    late = Phase(right=1, failed=Counter(DEADLINE_EXCEEDED=40))
    outcome = outcome_of(replace(CLOSED, is_by_start=True), **{phase: late})
    assert outcome.failed == (0 if is_right else 40)


@pytest.mark.parametrize(
    ("phase", "complaints"),
    [
        ("striking", []),
        ("during", ["2 verdicts from nothing"]),
        ("ending", ["2 verdicts from nothing"]),
        ("healing", []),
    ],
)
def test_verdicts_are_from_nothing_until_the_cause_is_gone(phase: str, complaints: Sequence[str]) -> None:
    known = Phase(right=2, known_in_time=2)
    assert outcome_of(CLOSED, **{phase: known}).complaints == complaints
    assert outcome_of(NO_FAULT, **{phase: known}).complaints == []


def test_the_healing_is_prepared_while_the_fault_lasts(here: Scene, gates: Mapping[str, Gates]) -> None:
    done: list[str] = []
    trial(
        here,
        replace(
            NO_FAULT,
            strike=lambda _: done.append("strike"),
            prepare_heal=lambda _: done.append("prepare"),
            heal=lambda _: done.append("heal"),
        ),
        gates,
    )
    assert done == ["strike", "prepare", "heal"]


class ToldVerifier:
    """A verifier whose metrics are what it is told, or that does not answer."""

    engine, address = "grpcio", "127.0.0.1:1"

    def __init__(self, metrics: Metrics | None) -> None:
        self.said = metrics

    def metrics(self) -> Metrics:
        if self.said is None:
            raise ConnectionRefusedError
        return self.said


class ToldScene:
    """A scene of that one."""

    engines_struck = ("grpcio",)

    def __init__(self, verifier: ToldVerifier) -> None:
        self._verifier = verifier

    def struck_verifiers(self) -> Sequence[ToldVerifier]:
        return [self._verifier]


@contextmanager
def watching(verifier: ToldVerifier, sign: Sign) -> Iterator[Watcher]:
    fault = replace(NO_FAULT, sign=sign)
    watcher = Watcher(cast("Scene", ToldScene(verifier)), fault, most_wait_s=SOON_S, look_s=0.01)
    try:
        yield watcher
    finally:
        watcher.stop()


WELL: Metrics = {f"{PREFIX}workers_serving": 1.0}
IN_TROUBLE: Metrics = {**WELL, f'{PREFIX}trouble_seconds{{part="key_set"}}': 1.0}


def test_who_does_not_answer_for_a_moment_is_no_sign_of_the_fault() -> None:
    verifier = ToldVerifier(WELL)
    with watching(verifier, in_trouble("key_set")) as watcher:
        assert watcher.wait_until_well().keys() == {"grpcio"}
        watcher.begin()
        verifier.said = None
        assert watcher.wait_until_noticed() == {}
        verifier.said = IN_TROUBLE
        assert watcher.wait_until_noticed().keys() == {"grpcio"}


def test_who_does_not_answer_is_not_well() -> None:
    verifier = ToldVerifier(None)
    with watching(verifier, in_trouble("key_set")) as watcher:
        assert watcher.wait_until_well() == {}
        verifier.said = WELL
        assert watcher.wait_until_well().keys() == {"grpcio"}


def test_who_does_not_answer_is_noticed_where_it_is_to_be_gone() -> None:
    verifier = ToldVerifier(WELL)
    with watching(verifier, is_gone) as watcher:
        assert watcher.wait_until_well().keys() == {"grpcio"}
        watcher.begin()
        assert watcher.wait_until_noticed() == {}
        verifier.said = None
        assert watcher.wait_until_noticed().keys() == {"grpcio"}


def test_a_fault_that_cannot_be_done_proves_nothing(here: Scene, gates: Mapping[str, Gates]) -> None:
    def refuse(_: Scene) -> None:
        raise ConnectionRefusedError

    with pytest.raises(ProcessError, match="could not be done"):
        trial(here, replace(NO_FAULT, strike=refuse), gates)


def test_a_scene_left_in_disorder_is_set_up_anew_for_the_rest(here: Scene) -> None:
    made = []

    def builder(folder: Path, *, engines: Sequence[str], credentials: int) -> AbstractContextManager[Scene]:
        made.append(engines)
        return nullcontext(here)

    well = replace(NO_FAULT, needs=builder)
    wrong = replace(well, name="wrong", meanwhile=Meanwhile.CLOSED)
    rows = list(run_group([well, wrong, well], ["grpcio"], Setting(RATE, BESIDE_S, beside_s=BESIDE_S)))
    assert [bool(row.complaints) for row in rows] == [False, True, False]
    assert made == [["grpcio"], ["grpcio"]]


@contextmanager
def no_scene(folder: Path, *, engines: Sequence[str], credentials: int) -> Iterator[Scene]:
    raise ProcessError("no server to be had")
    yield


def test_exit_codes_say_what_came_of_it(here: Scene, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def builder(folder: Path, *, engines: Sequence[str], credentials: int) -> AbstractContextManager[Scene]:
        return nullcontext(here)

    well = replace(NO_FAULT, needs=builder)
    wrong = replace(well, name="wrong", meanwhile=Meanwhile.CLOSED)
    unproven = replace(well, name="unproven", needs=no_scene)
    monkeypatch.setattr(command, "FAULTS", [well, wrong, unproven])
    monkeypatch.setattr(command, "Setting", partial(Setting, beside_s=BESIDE_S))

    def exit_code(*names: str) -> int:
        results = tmp_path / "results.json"
        options = [
            "--engine",
            "grpcio",
            "--seconds",
            str(BESIDE_S),
            "--rate",
            str(RATE),
            "--json",
            str(results),
        ]
        only = [word for name in names for word in ("--only", name)]
        code = CliRunner().invoke(main, ["outages", *options, *only]).exit_code
        assert results.stat().st_size
        return code

    assert exit_code("nothing") == 0
    assert exit_code("wrong") == 1
    assert exit_code("unproven") == 3


def test_faults_are_listed_and_others_are_refused() -> None:
    listed = CliRunner().invoke(main, ["outages", "--list"])
    assert listed.exit_code == 0
    assert [line.split()[0] for line in listed.output.splitlines()] == [fault.name for fault in FAULTS]
    assert CliRunner().invoke(main, ["outages", "--only", "no-such-fault"]).exit_code == 2
    assert CliRunner().invoke(main, ["outages", "--readme", "--engine", "envoy"]).exit_code == 2


def test_the_faults_of_every_module_are_among_all() -> None:
    modules = {module.name for module in pkgutil.iter_modules(outages.__path__, "loadtest.outages.")}
    of_areas = modules - {faults.__name__, command.__name__}
    found = [fault for name in of_areas for fault in getattr(import_module(name), "FAULTS", ())]
    assert {fault.name for fault in found} == {fault.name for fault in FAULTS}
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)


def test_faults_that_need_the_same_scene_are_done_to_one() -> None:
    elsewhere = replace(NO_FAULT, needs=no_scene)
    assert list(groups_of([NO_FAULT, elsewhere, NO_FAULT])) == [[NO_FAULT, NO_FAULT], [elsewhere]]


def test_signs_are_read_from_metrics() -> None:
    metrics = read_metrics(
        "# HELP x what it is\n"
        f'{PREFIX}trouble{{kind="redis_timeout",part="mirror"}} 1.0\n'
        f'{PREFIX}trouble_seconds{{part="mirror"}} 2.5\n'
        f"{PREFIX}status_age_seconds 3.0\n"
    )
    assert in_trouble("mirror")(metrics)
    assert in_trouble("mirror", "redis_loading", "redis_timeout")(metrics)
    assert not in_trouble("mirror", "redis_loading")(metrics)
    assert not in_trouble("journal")(metrics)
    assert above("status_age_seconds", 2.9)(metrics)
    assert below("status_age_seconds", 3.1)(metrics)
    assert not above("status_age_seconds", 3.0)(metrics)
    assert not below("no_such_metric", 3.0)(metrics)
    no, yes = in_trouble("journal"), in_trouble("mirror")
    assert [any_of(no, yes)(metrics), all_of(no, yes)(metrics), all_of(yes, yes)(metrics)] == [
        True,
        False,
        True,
    ]


def test_a_verifier_tells_of_each_part_that_a_sign_names(here: Scene) -> None:
    metrics: Metrics = here.verifiers[0].metrics()
    parts = {"key_set", "gate_list", "mirror", "scan_log"}
    assert {name for name in metrics if name.startswith(f"{PREFIX}trouble_seconds")} >= {
        f'{PREFIX}trouble_seconds{{part="{part}"}}' for part in parts
    }


@contextmanager
def echo() -> Iterator[int]:
    """A server on a loopback port that says what it is told."""

    def answer(connection: socket.socket) -> None:
        with connection:
            while said := connection.recv(1 << 16):
                connection.sendall(said)

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        answer(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        yield cast("int", listener.getsockname()[1])
        thread.join()


def receive(connection: socket.socket, count: int) -> bytes:
    received = b""
    while len(received) < count and (more := connection.recv(1 << 16)):
        received += more
    return received


def test_a_slow_proxy_passes_everything_on_and_takes_its_time() -> None:
    large = bytes(range(256)) * 8_192  # more than its queues hold
    with (
        echo() as port,
        SlowProxy(port) as proxy,
        socket.create_connection(("127.0.0.1", proxy.port)) as gate,
    ):
        sending = threading.Thread(target=gate.sendall, args=(large,))
        sending.start()
        assert receive(gate, len(large)) == large
        sending.join()
        proxy.delay_s = 0.2
        begun_at_s = time.monotonic()
        gate.sendall(b"slowly")
        assert receive(gate, 6) == b"slowly"
        assert time.monotonic() - begun_at_s >= 0.2


def test_a_slow_proxy_closes_what_is_closed_behind_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with SlowProxy(port) as proxy, socket.create_connection(("127.0.0.1", proxy.port)) as gate:
            listener.accept()[0].close()
            assert has_ended(gate)
    with SlowProxy(port) as proxy, socket.create_connection(("127.0.0.1", proxy.port)) as gate:
        assert has_ended(gate)


def has_ended(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


ROW = Row("redis-killed", "Redis is killed", "grpcio", 10, 0, 0, (1.25, 20.4, None), noticed_after_s=0.25)


def test_the_table_has_a_row_for_each_fault_and_both_engines_in_it() -> None:
    envoy = replace(ROW, engine="envoy", failed=3, recovered_after_s=1.0, complaints=["did fail"])
    text = readme_text([ROW, envoy], rate=40)
    assert text.startswith("1 faults, 20 scans at 40 calls a second on each engine")
    assert text.splitlines()[-1] == (
        "| `redis-killed`: Redis is killed, **missed** | 3 · 0 | 0 | 1.2, 20, - · 1.2, 20, - | 0.2 s "
        "| 1.0 s · **never** |"
    )


def test_the_table_replaces_the_one_that_was_there(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{BEGIN}\nold\n{END}\nbehind\n")
    put_into(readme, "new\ntable")
    assert readme.read_text() == f"before\n{BEGIN}\nnew\ntable\n{END}\nbehind\n"
    readme.write_text("without a place")
    with pytest.raises(ProcessError, match="no place"):
        put_into(readme, "new")
    assert readme.read_text() == "without a place"


def test_the_readme_has_the_table_of_these_faults() -> None:
    table = command.README.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]
    assert [line.split("`")[1] for line in table.splitlines() if line.startswith("| `")] == [
        fault.name for fault in FAULTS
    ]
