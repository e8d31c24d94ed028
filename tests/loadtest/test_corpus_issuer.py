"""A corpus of a running issuer, whose codes rotate: each verdict holds all through its slot."""

import random
import time
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from issuer.v1 import issuer_pb2
from loadtest import corpus_command
from loadtest.corpus_city import Made
from loadtest.corpus_file import CorpusFile
from loadtest.corpus_issuer import IssuerRefused, TooManyCodes, corpus_of_issuer
from loadtest.mix import EVERYTHING
from loadtest.processes import ProcessError
from loadtest.residents import Staff
from loadtest.stage import Stage
from verifier.authenticate import authenticate
from verifier.client import VerifierClient
from verifier.config import read_root_key
from verifier.verdict import Verdict, reject
from verifier.wire.errors import CodeError
from verifier.wire.key_set import KeySet, read_key_set

_HOLDERS = 60
_SECONDS = 200


@pytest.fixture(scope="module")
def made(staff: Staff, tmp_path_factory: pytest.TempPathFactory) -> Made:
    path = tmp_path_factory.mktemp("corpus") / "corpus.bin"
    return corpus_of_issuer(
        staff, path, holders=_HOLDERS, seconds=_SECONDS, mix=EVERYTHING, rng=random.Random(1)
    )


@pytest.fixture
def corpus(made: Made) -> Iterator[CorpusFile]:
    corpus = CorpusFile.open(made.path)
    yield corpus
    corpus.close()


@pytest.fixture(scope="module")
def key_set(running: Stage, staff: Staff) -> KeySet:
    signed = staff.clerk.issuer.GetKeySet(issuer_pb2.GetKeySetRequest()).signed_key_set
    return read_key_set(signed, read_root_key(running.issuer_folder.root_public_key))


def test_every_scan_of_now_gets_the_verdict_that_it_must(address: str, corpus: CorpusFile) -> None:
    with VerifierClient(address, gate_id="north", deadline_s=10) as gate:
        scans = [corpus[index] for index in corpus.at(time.time())]
        answers = gate.verify_many(scan.qr_text for scan in scans)
        wrong = [
            (scan.kind, scan.verdict, answer.verdict)
            for scan, answer in zip(scans, answers, strict=True)
            if answer.verdict is not scan.verdict
        ]
    assert wrong == []
    assert {scan.kind for scan in scans} == set(EVERYTHING) - {"expired"}
    assert len(scans) == _HOLDERS
    for kind in ("green", "yellow", "red"):
        texts = [scan.qr_text for scan in scans if scan.kind == kind]
        assert len(set(texts)) == len(texts)


def test_codes_are_what_they_must_be_from_the_first_to_the_last_second_of_their_slot(
    corpus: CorpusFile, made: Made, key_set: KeySet
) -> None:
    begins = range(int(made.good_from), int(made.good_until), 30)
    assert len(begins) == made.slots >= _SECONDS / 30
    of_the_code = {Verdict.EXPIRED, Verdict.NOT_YET_VALID, Verdict.BAD_SIGNATURE, Verdict.UNKNOWN_KEY}
    for begin in begins:
        scans = [corpus[index] for index in corpus.at(begin)]
        # No verifier has to have the right time: half a minute fast or slow, the verdict is the same.
        for now in (begin - 29, begin, begin + 29, begin + 59):
            for scan in scans:
                expected = scan.verdict if scan.verdict in {*of_the_code, Verdict.MALFORMED} else None
                assert verdict_of_code(scan.qr_text, key_set, now) == expected, scan.kind
    kinds = [{corpus[index].kind for index in corpus.at(begin)} for begin in begins]
    assert ["expired" in of_slot for of_slot in kinds] == [slot >= 4 for slot in range(len(begins))]
    assert all(set(EVERYTHING) - {"expired"} <= of_slot for of_slot in kinds)


def verdict_of_code(qr_text: bytes, key_set: KeySet, now: int) -> Verdict | None:
    try:
        authenticate(qr_text, key_set, now)
    except CodeError as error:
        return reject(error)
    return None


def test_a_corpus_is_good_for_as_long_as_was_asked_for(corpus: CorpusFile, made: Made) -> None:
    assert made.good_until >= time.time() + _SECONDS - 30
    assert (corpus.good_from, corpus.good_until) == (made.good_from, made.good_until)
    assert any("expired" in note for note in made.notes)


def test_more_than_an_issuer_signs_is_refused_before_anybody_is_enrolled(
    staff: Staff, tmp_path: Path
) -> None:
    for holders, seconds in ((100_000, 3_600), (1, 2 * 86_400)):
        with pytest.raises(TooManyCodes, match="holders for"):
            corpus_of_issuer(staff, tmp_path / "corpus", holders=holders, seconds=seconds, mix={"green": 1})


def test_what_the_issuer_refuses_is_said(running: Stage, tmp_path: Path) -> None:
    with running.client("approver") as approver, pytest.raises(IssuerRefused, match="PERMISSION_DENIED"):
        corpus_of_issuer(
            Staff(approver, approver), tmp_path / "corpus", holders=1, seconds=1, mix={"green": 1}
        )


def test_the_command_makes_a_corpus_of_an_issuer(
    running: Stage, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, address = running.issuer_folder, running.issuer_address
    clerk, approver = folder.local_client_key, folder.approver_client_key
    assert corpus_by_command(address, clerk, approver, tmp_path) == 0
    said = capsys.readouterr().out
    assert "5 codes every 30 s" in said
    assert "GREEN" in said
    with pytest.raises(ProcessError, match="PERMISSION_DENIED"):
        corpus_by_command(address, approver, approver, tmp_path)
    with pytest.raises(click.UsageError, match="chmod 600"):
        corpus_by_command(address, folder.root_public_key, approver, tmp_path)


def corpus_by_command(address: str, clerk_key: Path, approver_key: Path, folder: Path) -> int:
    return corpus_command.run(
        city=None,
        codes=None,
        keys=None,
        issuer=address,
        clerk_key=clerk_key,
        approver_key=approver_key,
        tls_ca=None,
        holders=5,
        minutes=0.5,
        mix="gate",
        output=folder / "corpus.bin",
        is_json=False,
    )
