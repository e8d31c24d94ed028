"""`python -m loadtest scans`: scans of every kind through real servers, each verdict compared.

A check of correctness in bulk, not of speed: forged, altered, damaged and foreign codes, wrong clocks,
and credentials in every state.
"""

import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from itertools import islice
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from issuer.v1 import admin_pb2
from loadtest.corpus import Corpus, Enrolled
from loadtest.corpus_file import Scan
from loadtest.mix import EVERYTHING
from loadtest.residents import Resident, Staff, enrol
from loadtest.stage import given_redis_url, stage
from verifier.client import VerifierClient
from verifier.verdict import Verdict
from verifier.wire.code import CredentialKind
from verifier.wire.status_record import Colour

_RESIDENTS = 600
_CHUNK = 10_000  # made and verified within the minute that specimens are good for
_SHOWN = 20


def run(count: int, seed: int) -> int:
    """Verify `count` scans and return the exit code: 1 if a verdict was wrong."""
    console = Console(highlight=False)
    wrong: list[str] = []
    verdicts: Counter[str] = Counter()
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="gatelight-scans-") as folder,
        stage(Path(folder), redis_url=given_redis_url()) as running,
    ):
        address = running.start_verifier()
        rng = random.Random(seed)
        with running.staff() as staff:
            population = enrol_in_every_state(staff)
        corpus = Corpus(key=running.signing_key(), population=population, rng=rng)
        with (
            VerifierClient(address, gate_id="scans", deadline_s=30) as gate,
            Progress(console=console, transient=True) as progress,
        ):
            task = progress.add_task("Scanning", total=count)
            wrong = compare(gate, corpus, count, verdicts, lambda done: progress.advance(task, done))
    for line in wrong[:_SHOWN]:
        console.print(f"[red]{line}[/]")
    for verdict, times in sorted(verdicts.items()):
        console.print(f"  {verdict:15}{times:>10,}")
    console.print(
        f"{count:,} scans in {time.monotonic() - began:.0f} s, {len(wrong)} wrong verdicts (seed {seed})"
    )
    return 1 if wrong else 0


def compare(
    gate: VerifierClient,
    corpus: Corpus,
    count: int,
    verdicts: Counter[str],
    advance: Callable[[int], object] = lambda _: None,
) -> list[str]:
    """Scan `count` specimens of everything; count verdicts and return a line for each that is wrong."""
    wrong = []
    for start in range(0, count, _CHUNK):
        chunk: list[Scan] = list(
            corpus.specimens(min(_CHUNK, count - start), now=int(time.time()), mix=EVERYTHING)
        )
        answers = gate.verify_many(specimen.qr_text for specimen in chunk)
        for specimen, answer in zip(chunk, answers, strict=True):
            name = answer.verdict.name if answer.verdict is not None else "UNKNOWN"
            verdicts[name] += 1
            if answer.verdict is not specimen.verdict:
                wrong.append(f"{specimen.kind}: expected {specimen.verdict.name}, got {name}")
        advance(len(chunk))
    return wrong


def enrol_in_every_state(staff: Staff) -> list[Enrolled]:
    """Enrol holders whose credentials are in every state there is; raises grpc.RpcError."""
    colours = (Colour.GREEN, Colour.YELLOW, Colour.RED)
    residents = [
        Resident(f"李小{number}", "ID", f"scan{number}", "north", colours[number % 3])
        for number in range(_RESIDENTS)
    ]
    population = enrol(staff, residents, lambda _: None)
    changed: list[Enrolled] = []
    for enrolled in islice(population, 0, None, 7):
        index = enrolled.credential_index
        match index % 3:
            case 0:
                staff.clerk.admin.SuspendCredential(
                    admin_pb2.SuspendCredentialRequest(credential_index=index)
                )
                changed.append(Enrolled(index, 1, enrolled.kind, Verdict.SUSPENDED))
            case 1:
                staff.clerk.admin.RevokeCredential(admin_pb2.RevokeCredentialRequest(credential_index=index))
                changed.append(Enrolled(index, 1, enrolled.kind, Verdict.REVOKED))
            case _:
                staff.clerk.admin.ReplaceCredential(
                    admin_pb2.ReplaceCredentialRequest(credential_index=index)
                )
                changed.append(Enrolled(index, 2, enrolled.kind, enrolled.verdict))
    by_index = {one.credential_index: one for one in (*population, *changed)}
    unheard_of = Enrolled(2**32 - 1, 1, CredentialKind.PAPER, Verdict.NO_STATUS)
    return [*by_index.values(), unheard_of]
