"""`make demo`: the whole way of a code, from the register to the gate, on real processes.

Every line that is printed was checked; the exit code is 0 only if all of them came out as expected.
"""

import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from issuer.signing import WINDOW_S
from issuer.v1 import admin_pb2, issuer_pb2
from loadtest.burst import PEOPLE_A_MINUTE, describe, run_burst
from loadtest.checks import Checks
from loadtest.corpus import Corpus, Enrolled
from loadtest.corpus_file import Slot, write_corpus
from loadtest.demo_gates import Gates
from loadtest.embedded_redis import EmbeddedRedis
from loadtest.mix import GATE
from loadtest.qr_image import read_qr_image
from loadtest.residents import (
    Staff,
    approve,
    ask_for_colour,
    enrol,
    read_residents,
    set_colour,
    write_residents,
)
from loadtest.stage import Stage, given_redis_url, stage
from verifier.client import Answer, VerifierClient
from verifier.gate.advice import advise
from verifier.verdict import Verdict
from verifier.wire import base45
from verifier.wire.code import PREFIX, CredentialKind
from verifier.wire.ed25519 import SIGNATURE_BYTES
from verifier.wire.status_record import Colour

RESIDENTS = 10_000
OUTPUT = Path("build/demo")
_BURST_SCANS = 4_000
_BURST_GATES = 32
_BURST_S = 5
_DAY_S = 86_400
_WAIT_S = 20


def run() -> int:
    """Run the demo and return the exit code."""
    console = Console(highlight=False)
    checks = Checks(console)
    output = OUTPUT.resolve()
    output.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="gatelight-demo-") as folder:
        console.print("[bold]Starting Redis, an issuer, its archive and a verifier[/]")
        with stage(Path(folder), redis_url=given_redis_url()) as running:
            address = running.start_verifier()
            running.start_archive()
            console.print(f"  Redis {running.redis.url}, issuer {running.issuer_address}, verifier {address}")
            with (
                running.staff() as staff,
                VerifierClient(address, gate_id="demo-gate") as gate,
            ):
                _Demo(running, staff, gate, checks, output).play(address)
    if checks.failed:
        console.print(f"\n[bold red]{len(checks.failed)} lines were wrong:[/] {'; '.join(checks.failed)}")
        return 1
    console.print(f"\n[bold green]All as expected[/], in {time.monotonic() - began:.0f} s.")
    return 0


class _Demo:
    """The acts, in their order."""

    def __init__(
        self,
        running: Stage,
        staff: Staff,
        gate: VerifierClient,
        checks: Checks,
        output: Path,
    ) -> None:
        self._stage = running
        self._staff = staff
        self._clerk = staff.clerk
        self._gate = gate
        self._checks = checks
        self._console = checks.console
        self._output = output
        self._rng = random.Random(20_220_104)

    def play(self, address: str) -> None:
        """Play all acts."""
        population = self._enrol()
        corpus = Corpus(key=self._stage.signing_key(), population=population, rng=self._rng)
        green = next(one for one in population if one.verdict is Verdict.GREEN)
        self._draw_and_scan(green)
        self._show_what_gates_meet(corpus, green)
        self._go_to_many_gates(address, green)
        self._lose_redis(green)
        self._load(address, corpus)

    def _enrol(self) -> list[Enrolled]:
        residents_csv = self._output / "residents.csv"
        write_residents(residents_csv, RESIDENTS, self._rng)
        residents = read_residents(residents_csv)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        began = time.monotonic()
        with Progress(*columns, console=self._console, transient=True) as progress:
            task = progress.add_task("Enrolling residents", total=len(residents))
            population = enrol(self._staff, residents, lambda count: progress.advance(task, count))
        self._console.print(
            f"[bold]Enrolled {len(population)} residents[/] with a PHONE credential and a colour each, "
            f"in {time.monotonic() - began:.1f} s"
        )
        return population

    def _draw_and_scan(self, holder: Enrolled) -> None:
        self._console.print(
            f"\n[bold]The code of credential {holder.credential_index}[/], as a phone shows it:"
        )
        sys.stdout.flush()
        self._command("code", "show", str(holder.credential_index))
        png = self._output / "code.png"
        self._command("code", "save", str(holder.credential_index), str(png), "--force")
        qr_text = read_qr_image(png)
        answer = self._gate.verify(qr_text)
        table = self._table()
        table.add_row(
            *self._checks.check("drawn, saved as PNG, read by zxing-cpp, scanned", "GREEN", _name(answer))
        )
        self._console.print(table)

    def _show_what_gates_meet(self, corpus: Corpus, holder: Enrolled) -> None:
        table = self._table("What a gate meets")
        now = int(time.time())
        scans: list[tuple[str, bytes, Verdict]] = [
            ("yesterday's screenshot", corpus.code(holder, not_before=now - _DAY_S), Verdict.EXPIRED),
            ("signed by a forger", corpus.forged_code(holder, not_before=now), Verdict.BAD_SIGNATURE),
            (
                "one byte changed",
                _altered(corpus.code(holder, not_before=now)),
                Verdict.BAD_SIGNATURE,
            ),
            ("a phone running 4 minutes fast", self._ahead(holder, 240), Verdict.NOT_YET_VALID),
            ("somebody else's QR code", b"https://shop.example/p/4711", Verdict.MALFORMED),
        ]
        for what, qr_text, expected in scans:
            answer = self._gate.verify(qr_text)
            table.add_row(*self._checks.check(what, expected.name, _name(answer), _advice(answer)))
        self._replace_a_card(table, holder)
        self._turn_red(table, holder)
        self._console.print(table)

    def _ahead(self, holder: Enrolled, seconds: int) -> bytes:
        """Return what the phone shows whose clock is fast: a later code of its bundle."""
        request = issuer_pb2.IssueBundleRequest(credential_index=holder.credential_index, window_count=20)
        bundle = self._clerk.issuer.IssueBundle(request)
        shown_at = time.time() + seconds
        shown = next(code for code in reversed(bundle.codes) if code.not_before <= shown_at)
        return bytes(shown.qr_text.encode())

    def _replace_a_card(self, table: Table, holder: Enrolled) -> None:
        kind = int(CredentialKind.PAPER)
        new = admin_pb2.NewCredential(holder_id=self._holder_id(holder), kind=kind)  # type: ignore[arg-type]
        issued = self._clerk.admin.IssueCredentials(admin_pb2.IssueCredentialsRequest(credentials=[new]))
        index = issued.credential_indices[0]
        old_card = self._current_code(index)
        self._clerk.admin.ReplaceCredential(admin_pb2.ReplaceCredentialRequest(credential_index=index))
        answer = self._scan_until(old_card, _is(Verdict.REPLACED))
        table.add_row(
            *self._checks.check("a replaced printed card", "REPLACED", _name(answer), _advice(answer))
        )
        answer = self._gate.verify(self._current_code(index))
        table.add_row(*self._checks.check("the new card", "GREEN", _name(answer), f"name {answer.hint}"))

    def _current_code(self, index: int) -> bytes:
        request = issuer_pb2.IssueBundleRequest(credential_index=index)
        return bytes(self._clerk.issuer.IssueBundle(request).codes[0].qr_text.encode())

    def _turn_red(self, table: Table, holder: Enrolled) -> None:
        qr_text = self._current_code(holder.credential_index)
        asked = ask_for_colour(self._clerk, self._holder_id(holder), Colour.RED)
        answer = self._gate.verify(qr_text)
        note = "a clerk asks for a red: nobody is red before a second person agrees"
        table.add_row(*self._checks.check("asked to turn a resident red", "GREEN", _name(answer), note))
        began = time.perf_counter()
        approve(self._staff.approver, asked.approval_id)
        answer = self._scan_until(qr_text, _is(Verdict.RED))
        note = f"{(time.perf_counter() - began) * 1000:.0f} ms after the second person's call began"
        table.add_row(*self._checks.check("a resident turned red", "RED", _name(answer), note))
        set_colour(self._staff, self._holder_id(holder), Colour.GREEN)
        answer = self._scan_until(qr_text, _is(Verdict.GREEN))
        table.add_row(*self._checks.check("and green again", "GREEN", _name(answer)))

    def _go_to_many_gates(self, address: str, holder: Enrolled) -> None:
        table = self._table("At many gates")
        gates = Gates(self._stage, self._staff, address, self._checks)
        gates.play(table, lambda: self._current_code(holder.credential_index), holder.credential_index)
        self._console.print(table)

    def _lose_redis(self, holder: Enrolled) -> None:
        redis = self._stage.redis
        if not isinstance(redis, EmbeddedRedis):
            self._console.print("\nNot shown: life without Redis, because this Redis is not ours to kill")
            return
        index = holder.credential_index
        table = self._table("Redis is killed, and comes back empty")
        redis.kill()
        answer = self._scan_until(self._current_code(index), lambda answer: answer.status_age_ms >= 2_000)
        age = f"status {answer.status_age_ms / 1000:.1f} s old"
        table.add_row(*self._checks.check("without Redis, scans are answered", "GREEN", _name(answer), age))
        response = ask_for_colour(self._clerk, self._holder_id(holder), Colour.YELLOW)
        publication = admin_pb2.Publication.Name(response.publication).removeprefix("PUBLICATION_")
        table.add_row(*self._checks.check("a change meanwhile is kept", "PENDING", publication))
        began = time.perf_counter()
        redis.restart()
        answer = self._scan_until(self._current_code(index), _is(Verdict.YELLOW))
        note = f"{time.perf_counter() - began:.1f} s after the restart, status {answer.status_age_ms} ms old"
        table.add_row(*self._checks.check("Redis is back: the change arrives", "YELLOW", _name(answer), note))
        set_colour(self._staff, self._holder_id(holder), Colour.GREEN)
        answer = self._scan_until(self._current_code(index), _is(Verdict.GREEN))
        table.add_row(*self._checks.check("live again", "GREEN", _name(answer)))
        self._console.print(table)

    def _load(self, address: str, corpus: Corpus) -> None:
        self._console.print(
            f"\n[bold]{PEOPLE_A_MINUTE:,} people a minute come to {_BURST_GATES} gates for {_BURST_S} s[/]"
        )
        corpus_path = self._output / "corpus.bin"
        now = int(time.time())
        scans = corpus.specimens(_BURST_SCANS, now=now, mix=GATE)
        write_corpus(corpus_path, [Slot(scans, now, now + WINDOW_S)])
        burst = run_burst(
            address=address, corpus=corpus_path, gates=_BURST_GATES, seconds=_BURST_S, output=self._output
        )
        table = self._table()
        note = describe(burst)
        table.add_row(*self._checks.check("wrong or missing verdicts", 0, burst.failures, note))
        table.add_row(*self._checks.check("scans were made", "yes", "yes" if burst.scans else "no"))
        self._console.print(table)
        self._console.print(f"\nQR image, residents and load report: {self._output}")
        for path in (self._output / "code.png", self._output / "residents.csv", burst.report):
            self._console.print(f"  {path.relative_to(self._output)}")

    def _holder_id(self, enrolled: Enrolled) -> int:
        request = admin_pb2.GetCredentialRequest(credential_index=enrolled.credential_index)
        return int(self._clerk.admin.GetCredential(request).credential.holder_id)

    def _scan_until(self, qr_text: bytes, holds: Callable[[Answer], bool]) -> Answer:
        """Scan again and again until the answer is as wanted, or for 20 s; return the last one."""
        deadline = time.monotonic() + _WAIT_S
        while True:
            answer = self._gate.verify(qr_text)
            if holds(answer) or time.monotonic() > deadline:
                return answer

    def _command(self, *arguments: str) -> None:
        """Run gatelight-issuer as its staff would."""
        subprocess.run(
            [sys.executable, "-m", "issuer", *arguments],
            env={**os.environ, **self._stage.environment},
            check=True,
            timeout=_WAIT_S,
        )

    def _table(self, title: str | None = None) -> Table:
        table = Table(title=title, title_justify="left", title_style="bold")
        for column in ("what", "expected", "came", "", "note"):
            table.add_column(column)
        return table


def _name(answer: Answer) -> str:
    return answer.verdict.name if answer.verdict is not None else "a verdict that is not known here"


def _is(verdict: Verdict) -> Callable[[Answer], bool]:
    return lambda answer: answer.verdict is verdict


def _advice(answer: Answer) -> str:
    return f"[dim]{advise(answer).instruction}[/]"


def _altered(qr_text: bytes) -> bytes:
    """Return the code with one bit of its credential_index changed."""
    message = bytearray(base45.decode(qr_text[len(PREFIX) :]))
    message[-SIGNATURE_BYTES - 5] ^= 1
    return PREFIX + base45.encode(bytes(message))
