"""The product's main job on real processes: Redis, issuer, verifier, and what people hold under scanners."""

import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from issuer.drawing import draw, save
from issuer.v1 import admin_pb2, issuer_pb2
from loadtest.burst import run_burst
from loadtest.corpus import Corpus, Enrolled
from loadtest.corpus_file import Slot, write_corpus
from loadtest.mix import GATE
from loadtest.qr_image import NoQrCode, read_qr_image
from loadtest.residents import Staff, read_residents, set_colour, write_residents
from loadtest.scans import compare, enrol_in_every_state
from loadtest.stage import Stage
from tests.eventually import eventually
from verifier.client import VerifierClient
from verifier.verdict import Verdict
from verifier.wire.status_record import Colour


@pytest.fixture(scope="module")
def population(staff: Staff) -> list[Enrolled]:
    return enrol_in_every_state(staff)


@pytest.fixture
def corpus(running: Stage, population: list[Enrolled]) -> Corpus:
    return Corpus(key=running.signing_key(), population=population, rng=random.Random(7))


@pytest.fixture
def gate(address: str) -> Iterator[VerifierClient]:
    with VerifierClient(address, gate_id="north", deadline_s=10) as gate:
        yield gate


def one_that_is(verdict: Verdict, population: list[Enrolled]) -> Enrolled:
    return next(enrolled for enrolled in population if enrolled.verdict is verdict)


def test_a_code_is_issued_drawn_read_by_another_decoder_and_green_at_the_gate(
    staff: Staff, gate: VerifierClient, population: list[Enrolled], tmp_path: Path
) -> None:
    green = one_that_is(Verdict.GREEN, population)
    request = issuer_pb2.IssueBundleRequest(credential_index=green.credential_index, window_count=2)
    codes = staff.clerk.issuer.IssueBundle(request).codes
    save(draw(codes[0].qr_text), tmp_path / "code.png")
    qr_text = read_qr_image(tmp_path / "code.png")
    assert qr_text == codes[0].qr_text.encode()
    assert gate.verify(qr_text).verdict is Verdict.GREEN


def test_an_image_without_a_code_is_an_error_that_says_so(tmp_path: Path) -> None:
    from PIL import Image

    Image.new("L", (100, 100), 255).save(tmp_path / "white.png")
    with pytest.raises(NoQrCode):
        read_qr_image(tmp_path / "white.png")


def test_scans_of_every_kind_get_the_verdict_that_they_must(gate: VerifierClient, corpus: Corpus) -> None:
    verdicts: Counter[str] = Counter()
    assert compare(gate, corpus, 5_000, verdicts) == []
    never_seen = {Verdict.TEST_TOO_OLD, Verdict.STATUS_TOO_OLD, Verdict.ALREADY_USED}  # without a policy
    assert set(verdicts) == {verdict.name for verdict in Verdict if verdict not in never_seen}


def test_a_resident_who_turns_red_is_red_at_the_gate(
    staff: Staff, gate: VerifierClient, corpus: Corpus, population: list[Enrolled]
) -> None:
    green = one_that_is(Verdict.GREEN, population)
    request = admin_pb2.GetCredentialRequest(credential_index=green.credential_index)
    holder_id = staff.clerk.admin.GetCredential(request).credential.holder_id
    qr_text = corpus.code(green, not_before=int(time.time()))
    set_colour(staff, holder_id, Colour.RED)
    eventually(lambda: gate.verify(qr_text).verdict is Verdict.RED)
    set_colour(staff, holder_id, Colour.GREEN)
    eventually(lambda: gate.verify(qr_text).verdict is Verdict.GREEN)


def test_a_policy_on_the_age_of_tests_closes_the_gate(
    running: Stage, corpus: Corpus, population: list[Enrolled]
) -> None:
    green = one_that_is(Verdict.GREEN, population)
    strict = running.start_verifier("--max-test-age-s", "3600")
    with VerifierClient(strict, gate_id="school") as gate:
        answer = gate.verify(corpus.code(green, not_before=int(time.time())))
    assert answer.verdict is Verdict.TEST_TOO_OLD


def test_a_locust_burst_finds_no_wrong_verdict(address: str, corpus: Corpus, tmp_path: Path) -> None:
    path = tmp_path / "corpus.bin"
    now = int(time.time())
    write_corpus(path, [Slot(corpus.specimens(500, now=now, mix=GATE), now, now + 60)])
    burst = run_burst(address=address, corpus=path, gates=4, seconds=3, output=tmp_path)
    assert burst.scans > 0
    assert burst.failures == 0
    assert burst.report.stat().st_size > 0


def test_generated_residents_are_read_back(tmp_path: Path) -> None:
    write_residents(tmp_path / "residents.csv", 20, random.Random(1))
    residents = read_residents(tmp_path / "residents.csv")
    assert len(residents) == 20
    assert len({resident.document_number for resident in residents}) == 20
