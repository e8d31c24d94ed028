"""`python -m loadtest kills`: the issuer is killed under load, again and again, and nothing is lost.

Each time: the database is intact, every acknowledged call is in the register, Redis holds what the
register says, byte for byte, and a verifier that ran all the while answers accordingly. The history is
verified at the end, and every tenth time.
"""

import random
import re
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from issuer.register.database import Database
from issuer.register.entries import CredentialStanding
from issuer.register.history import Finding, verify
from loadtest.corpus import Corpus, Enrolled
from loadtest.kill_load import Ledger, Load, enrol
from loadtest.stage import Stage, given_redis_url, stage
from verifier.client import VerifierClient
from verifier.verdict import Verdict
from verifier.wire.code import CredentialKind
from verifier.wire.status_record import Colour, CredentialState, StatusRecord, pack
from verifier.wire.status_store import KEY_SET_KEY, RECORDS_PER_SHARD

_CREDENTIALS = 500
# From the first call to the middle of a rebuild and of a second import.
_PAUSE_S = (0.02, 2.5)
_CATCH_UP_S = 20.0
_LOOK_S = 0.02
_ROUNDS_PER_VERIFICATION = 10
_SCANNED = 300
_SHOWN = 20

_REGISTER = """
    SELECT credential_index, state, generation, coalesce(colour, 0), coalesce(reason, 0),
           coalesce(last_negative_test_min, 0)
    FROM credentials LEFT JOIN holder_status USING (holder_id)
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """A credential as the register has it."""

    state: CredentialStanding
    generation: int
    colour: Colour
    reason: int
    last_negative_test_min: int

    @property
    def record(self) -> int:
        """What Redis should hold."""
        state = CredentialState(min(self.state, CredentialState.REVOKED))
        generation = self.generation % 256
        return pack(StatusRecord(self.colour, state, generation, self.reason, self.last_negative_test_min))

    @property
    def verdict(self) -> Verdict:
        """What a gate should say to its current code."""
        if self.state is CredentialStanding.SUSPENDED:
            return Verdict.SUSPENDED
        if self.state is not CredentialStanding.ACTIVE:
            return Verdict.REVOKED
        return Verdict.NO_STATUS if self.colour is Colour.NONE else Verdict[self.colour.name]


def run(*, count: int, seed: int) -> int:
    """Kill the issuer `count` times; return the exit code: 1 if anything was lost or differs."""
    console = Console(highlight=False)
    ledger = Ledger()
    problems: list[str] = []
    begun = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="gatelight-kills-") as folder,
        stage(
            Path(folder),
            redis_url=given_redis_url(),
            issuer_options=("--second-person-above", "1000000000"),
        ) as running,
        Progress(console=console, transient=True) as progress,
    ):
        rounds = _Rounds(running, ledger, random.Random(seed))
        for number in progress.track(range(1, count + 1), description="Killing the issuer"):
            problems += rounds.kill_once(number, is_last=number == count)
            if len(problems) > _SHOWN:
                break
        table = _table(count, rounds, ledger, problems, time.monotonic() - begun)
    for problem in problems[:_SHOWN]:
        console.print(f"[red]{problem}[/]")
    console.print(table)
    return 1 if problems else 0


class _Rounds:
    """Load, kill, start again, examine."""

    def __init__(self, running: Stage, ledger: Ledger, rng: random.Random) -> None:
        self._running = running
        self._ledger = ledger
        self._rng = rng
        self._verifier = running.start_verifier()
        with running.client() as client:
            self._indices = enrol(client, _CREDENTIALS)
        self._redis = redis.Redis.from_url(running.redis.url)
        self._path = running.issuer_folder.register
        self.kills = 0
        self.records = 0
        self.verdicts = 0
        self.history = 0

    def kill_once(self, number: int, *, is_last: bool) -> Iterator[str]:
        """Give what is wrong afterwards."""
        with self._running.staff() as staff:
            load = Load(staff, self._ledger, self._indices, self._rng.randrange(1 << 32))
            load.start()
            time.sleep(self._rng.uniform(*_PAUSE_S))
            self._kill()
            load.stop()
        self._running.start_issuer()
        with closing(Database.open(self._path)) as database:
            with_history = is_last or number % _ROUNDS_PER_VERIFICATION == 0
            for problem in self._examine(database, with_history=with_history):
                yield f"after kill {number}: {problem}"

    def _kill(self) -> None:
        if self._running.issuer is not None:
            self._running.issuer.kill()
            self.kills += 1

    def _examine(self, database: Database, *, with_history: bool) -> Iterator[str]:
        with closing(sqlite3.connect(f"file:{self._path}?mode=ro", uri=True)) as register:
            _wait(lambda: not register.execute("SELECT 1 FROM outbox LIMIT 1").fetchall())
            intact = [row[0] for row in register.execute("PRAGMA integrity_check")]
            if intact != ["ok"]:
                yield f"the database is damaged: {intact[0]}"
            if register.execute("SELECT 1 FROM outbox LIMIT 1").fetchall():
                yield "the outbox is not published"
            entries = {
                index: Entry(CredentialStanding(state), generation, Colour(colour), *rest)
                for index, state, generation, colour, *rest in register.execute(_REGISTER)
            }
            yield from _lost(register, entries, self._ledger)
            newest = register.execute("SELECT signed FROM key_sets ORDER BY version DESC LIMIT 1").fetchone()
        yield from self._differing(entries)
        if self._redis.get(KEY_SET_KEY) != newest[0]:
            yield "the key set in Redis is not the newest"
        yield from self._wrong_verdicts(entries)
        if with_history:
            *_, finding = verify(database)
            if not isinstance(finding, Finding) or finding.problem:
                yield f"the history does not verify: {finding}"
            else:
                self.history = finding.verified

    def _differing(self, entries: Mapping[int, Entry]) -> Iterator[str]:
        truth = {index: entry.record for index, entry in entries.items()}
        held = dict(_held_records(self._redis))
        self.records += len(truth)
        for index in sorted(truth.keys() | held.keys()):
            ours, theirs = truth.get(index, 0), held.get(index, 0)
            if ours != theirs:
                yield f"record {index}: {ours:#x} in the register, {theirs:#x} in Redis"

    def _wrong_verdicts(self, entries: Mapping[int, Entry]) -> Iterator[str]:
        others = sorted(entries.keys() - set(self._indices))
        chosen = [*self._indices, *self._rng.sample(others, min(_SCANNED, len(others)))]
        expected = [entries[index].verdict for index in chosen]
        self.verdicts += len(chosen)
        with VerifierClient(self._verifier, gate_id="kills", deadline_s=30) as gate:
            qr_texts = list(self._codes(chosen, entries))

            def answers() -> Sequence[Verdict | None]:
                return [answer.verdict for answer in gate.verify_many(qr_texts)]

            _wait(lambda: answers() == expected)
            for index, answer, right in zip(chosen, answers(), expected, strict=True):
                if answer is not right:
                    yield f"credential {index}: {right.name} by the register, the gate says {answer}"

    def _codes(self, chosen: Sequence[int], entries: Mapping[int, Entry]) -> Iterator[bytes]:
        corpus = Corpus(key=self._running.signing_key(), population=(), rng=self._rng)
        now = int(time.time())
        for index in chosen:
            entry = entries[index]
            enrolled = Enrolled(index, entry.generation, CredentialKind.PHONE, entry.verdict)
            yield corpus.code(enrolled, not_before=now)


def _lost(register: sqlite3.Connection, entries: Mapping[int, Entry], ledger: Ledger) -> Iterator[str]:
    """Give what was acknowledged and is not there, and what is there by half."""
    found = Counter(
        row[0] for row in register.execute("SELECT evidence FROM status_changes WHERE evidence <> ''")
    )
    for evidence, count in ledger.acknowledged_changes.items():
        if found[evidence] != count:
            yield f"{count} changes were acknowledged, {found[evidence]} are in the register"
    for evidence, count in ledger.unanswered_changes.items():
        if found[evidence] not in (0, count):
            yield f"a call of {count} changes is there by half: {found[evidence]}"
    for table, external_ids in ledger.external_ids.items():
        rows = register.execute(f"SELECT external_id FROM {table} WHERE external_id IS NOT NULL")  # noqa: S608
        if missing := external_ids - {row[0] for row in rows}:
            yield f"{len(missing)} acknowledged rows of {table} are missing"
    for index, (generation, state) in ledger.credentials.items():
        present = entries[index].generation, entries[index].state
        if index not in ledger.uncertain_credentials and present != (generation, state):
            yield f"credential {index}: generation {generation} {state.name} was acknowledged"


def _held_records(client: redis.Redis) -> Iterator[tuple[int, int]]:
    for key in client.scan_iter("gatelight:{0}:status:*"):
        shard = int(re.findall(rb"\d+", key)[1])
        content: Any = client.get(key) or b""
        for at, record in enumerate(memoryview(content).cast("Q")):
            if record:
                yield shard * RECORDS_PER_SHARD + at, record


def _wait(holds: Callable[[], bool]) -> None:
    """Return when it holds, or has not for too long."""
    deadline = time.monotonic() + _CATCH_UP_S
    while not holds() and time.monotonic() < deadline:
        time.sleep(_LOOK_S)


def _table(count: int, rounds: _Rounds, ledger: Ledger, problems: Sequence[str], took_s: float) -> Table:
    table = Table(title=f"{rounds.kills} of {count} kills in {took_s:.0f} s", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for kind, calls in sorted(ledger.calls.items()):
        table.add_row(f"acknowledged: {kind}", f"{calls:,}")
    table.add_row("calls without an answer", f"{ledger.unanswered:,}")
    table.add_row("changes in the history, verified", f"{rounds.history:,}")
    table.add_row("records compared with Redis", f"{rounds.records:,}")
    table.add_row("verdicts compared with the register", f"{rounds.verdicts:,}")
    table.add_row("lost or different", f"{len(problems):,}")
    return table
