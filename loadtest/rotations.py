"""`python -m loadtest rotations`: signing keys rotate under load, and one is revoked.

A phone's share of the work: threads fetch bundles all the time. A gate's share: threads scan codes of every
age from those bundles, and every verdict is compared with the one that follows from the code's own window.
After two rotations, all codes of the key that signs are revoked, and the time until the verifier refuses
them is taken, from the second person's click on.
"""

import random
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from rich.console import Console
from rich.table import Table

from issuer.client import IssuerClient
from issuer.v1 import issuer_pb2, keys_pb2
from loadtest.corpus import Enrolled
from loadtest.processes import ProcessError
from loadtest.residents import Resident, approve, enrol
from loadtest.stage import Stage, stage
from verifier.authenticate import CLOCK_SKEW_S
from verifier.client import NoAnswer, VerifierClient
from verifier.verdict import Verdict
from verifier.wire.code import decode_qr_text
from verifier.wire.status_record import Colour

# The shortest that a city might want in an emergency, and long against the 90 s that a code lives.
KEY_LIFE_S = 60
ROTATIONS = 2
MAX_REVOCATION_S = 5.0

_RESIDENTS = 300
_MAX_WINDOWS = 3
_FETCHERS, _SCANNERS = 2, 4
_POOL = 200_000
# Codes whose window begins or ends in these seconds are left out: the verdict would depend on the second in
# which the scan arrives.
_MARGIN_S = 2
_PAUSE_S = 0.02
_SPARE_S = 60


@dataclass(frozen=True, slots=True)
class Held:
    """A code that a phone has."""

    qr_text: bytes
    key_id: bytes
    not_before: int
    expires_at: int
    fetched_at: float


@dataclass(slots=True)
class Tally:
    """What came of the scans. Threads share it."""

    valid: Counter[bytes] = field(default_factory=Counter)  # by key
    refused: Counter[bytes] = field(default_factory=Counter)  # valid codes that were refused
    others: int = 0  # expired codes and codes of tomorrow
    others_wrong: int = 0
    unanswered: int = 0
    failed_fetches: int = 0
    oldest_s: dict[bytes, float] = field(default_factory=dict)  # age of the oldest valid code
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, held: Held, expected: Verdict, verdict: Verdict | None, age_s: float) -> None:
        """Note one verdict."""
        with self.lock:
            if expected is not Verdict.GREEN:
                self.others += 1
                self.others_wrong += verdict is not expected
                return
            self.valid[held.key_id] += 1
            self.refused[held.key_id] += verdict is not expected
            self.oldest_s[held.key_id] = max(age_s, self.oldest_s.get(held.key_id, 0.0))

    def is_right(self) -> bool:
        """Tell whether every verdict was the one that had to come."""
        return not (sum(self.refused.values()) or self.others_wrong or self.unanswered or self.failed_fetches)


def run() -> int:
    """Rotate, revoke, print, and return the exit code."""
    console = Console(highlight=False)
    options = (
        *("--key-life-s", str(KEY_LIFE_S), "--second-person-above", "1000000"),
        *("--bundle-burst", "1000000", "--bundles-per-hour", "3600000"),
    )
    with (
        tempfile.TemporaryDirectory(prefix="gatelight-rotations-") as folder,
        stage(Path(folder), issuer_options=options) as running,
    ):
        address = running.start_verifier()
        with running.staff() as staff:
            residents = [
                Resident(f"王小{number}", "ID", f"rotation{number}", "north", Colour.GREEN)
                for number in range(_RESIDENTS)
            ]
            population = enrol(staff, residents, lambda _: None)
        console.print(f"keys live {KEY_LIFE_S} s; {ROTATIONS} rotations take about {_expected_s():.0f} s")
        tally, seconds = Tally(), time.monotonic()
        with _load(running, address, population, tally):
            _wait_for_rotations(running, tally)
        seconds = time.monotonic() - seconds
        refused_after_s, served_after_s = _revoke(running, address, population)
    _print(console, tally, seconds, refused_after_s, served_after_s)
    is_right = tally.is_right() and len(tally.valid) > ROTATIONS and refused_after_s <= MAX_REVOCATION_S
    console.print("[bold green]No valid code was refused[/]" if is_right else "[bold red]WRONG[/]")
    return 0 if is_right else 1


def _expected_s() -> float:
    return (ROTATIONS + 0.5) * KEY_LIFE_S


@contextmanager
def _load(running: Stage, address: str, population: list[Enrolled], tally: Tally) -> Iterator[None]:
    """Fetch and scan until the end of the block."""
    stopping = threading.Event()
    pool: deque[Held] = deque(maxlen=_POOL)

    def repeat(turn: Callable[[random.Random], None], seed: int) -> None:
        rng = random.Random(seed)
        while not stopping.wait(_PAUSE_S):
            turn(rng)

    with running.client() as phones, VerifierClient(address, gate_id="rotations") as gate:

        def fetch(rng: random.Random) -> None:
            try:
                pool.extend(_fetch(phones, rng.choice(population), rng.randint(1, _MAX_WINDOWS)))
            except grpc.RpcError:
                with tally.lock:
                    tally.failed_fetches += 1

        def scan(rng: random.Random) -> None:
            if pool:
                _scan(gate, rng.choice(pool), tally)

        threads = [
            threading.Thread(target=repeat, args=(turn, number), daemon=True)
            for number, turn in enumerate([fetch] * _FETCHERS + [scan] * _SCANNERS)
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stopping.set()
            for thread in threads:
                thread.join()


def _fetch(phones: IssuerClient, enrolled: Enrolled, window_count: int) -> list[Held]:
    request = issuer_pb2.IssueBundleRequest(
        credential_index=enrolled.credential_index, window_count=window_count
    )
    now = time.time()
    held = []
    for code in phones.issuer.IssueBundle(request).codes:
        qr_text = code.qr_text.encode()
        key_id = decode_qr_text(qr_text).key_id
        held.append(Held(qr_text, key_id, code.not_before, code.expires_at, now))
    return held


def _scan(gate: VerifierClient, held: Held, tally: Tally) -> None:
    now = time.time()
    expected = _expected(held, now)
    if expected is None:
        return
    try:
        verdict = gate.verify(held.qr_text).verdict
    except NoAnswer:
        with tally.lock:
            tally.unanswered += 1
        return
    tally.note(held, expected, verdict, now - held.fetched_at)


def _expected(held: Held, now: float) -> Verdict | None:
    """Return the verdict that has to come; None for a code that nobody shows, or at its very ends."""
    begins, ends = held.not_before - CLOCK_SKEW_S, held.expires_at + CLOCK_SKEW_S
    if begins + _MARGIN_S <= now < ends - _MARGIN_S:
        return Verdict.GREEN
    if now < begins - _MARGIN_S:
        return Verdict.NOT_YET_VALID
    # Later than that the key may have left the key set, and UNKNOWN_KEY is as right.
    return None


def _wait_for_rotations(running: Stage, tally: Tally) -> None:
    """Return when codes of three keys were scanned, and those of the first until their end."""
    deadline = time.monotonic() + _expected_s() + 2 * KEY_LIFE_S + _SPARE_S
    with running.client() as operator:
        while True:
            keys = operator.keys.ListKeys(keys_pb2.ListKeysRequest()).keys
            activated = [key for key in keys if key.activated_at]
            is_retired = any(key.state == keys_pb2.KEY_STATE_RETIRED for key in keys)
            if len(activated) > ROTATIONS and is_retired and len(tally.valid) > ROTATIONS:
                break
            if time.monotonic() > deadline:
                raise ProcessError(f"{len(activated)} keys signed, expected {ROTATIONS + 1}")
            time.sleep(1)
    time.sleep(KEY_LIFE_S / 4)  # codes of the last key, of some age


def _revoke(running: Stage, address: str, population: list[Enrolled]) -> tuple[float, float]:
    """Revoke the key that signs; return seconds until its codes are refused, and until others are taken."""
    with (
        running.client("local") as operator,
        running.client("approver") as approver,
        VerifierClient(address, gate_id="rotations") as gate,
    ):
        (held,) = _fetch(operator, population[0], 1)
        if gate.verify(held.qr_text).verdict is not Verdict.GREEN:
            raise ProcessError("a fresh code was refused before the revocation")
        request = keys_pb2.RevokeKeyRequest(key_id=held.key_id)
        approval_id = operator.keys.RevokeKey(request).approval_id
        began = time.monotonic()
        approving = threading.Thread(target=approve, args=(approver, approval_id))
        approving.start()
        refused_after_s = _seconds_until(
            lambda: gate.verify(held.qr_text).verdict is Verdict.UNKNOWN_KEY, began
        )
        served_after_s = _seconds_until(
            lambda: gate.verify(_fetch(operator, population[1], 1)[0].qr_text).opens_gate, began
        )
        approving.join()
    return refused_after_s, served_after_s


def _seconds_until(look: Callable[[], bool], began: float) -> float:
    while time.monotonic() < began + _SPARE_S:
        if look():
            return time.monotonic() - began
        time.sleep(0.005)
    raise ProcessError("a revocation did not arrive")


def _print(
    console: Console, tally: Tally, seconds: float, refused_after_s: float, served_after_s: float
) -> None:
    table = Table(title=f"{len(tally.valid) - 1} rotations in {seconds:.0f} s", title_justify="left")
    for column in ("key", "valid codes scanned", "refused", "oldest code"):
        table.add_column(column, justify="left" if column == "key" else "right")
    for key_id, count in tally.valid.items():
        oldest = f"{tally.oldest_s[key_id]:.0f} s"
        table.add_row(key_id.hex(), f"{count:,}", f"{tally.refused[key_id]}", oldest)
    table.add_row("codes of later", f"{tally.others:,}", f"{tally.others_wrong} wrong", "")
    table.add_row("without a verdict", f"{tally.unanswered}", "", "")
    table.add_row("bundles that failed", f"{tally.failed_fetches}", "", "")
    console.print(table)
    console.print(
        f"revocation: refused after {refused_after_s:.2f} s (at most {MAX_REVOCATION_S:g} s), "
        f"codes of another key are green after {served_after_s:.2f} s"
    )
