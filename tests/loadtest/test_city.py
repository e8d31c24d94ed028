"""A city without an issuer, and corpora of it, at a real verifier."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import pytest
import redis

from loadtest import city_command, corpus_command
from loadtest.city import GATE_ID, City
from loadtest.city_file import CITY_NAME, GATE_KEY_NAME, CityFile, NotACity
from loadtest.city_people import People
from loadtest.corpus_city import corpus_of_city
from loadtest.corpus_file import CorpusFile, Scan
from loadtest.embedded_redis import EmbeddedRedis
from loadtest.mix import EVERYTHING, parse_mix
from loadtest.processes import ServerProcess
from loadtest.specimens import NobodyLikeThat
from loadtest.stage import wait_until_serving
from tests.eventually import eventually
from verifier.bearer import read_key_file
from verifier.client import VerifierClient
from verifier.verdict import Verdict
from verifier.wire.code import decode_claims, decode_qr_text
from verifier.wire.status_record import RECORD_BYTES, Colour, unpack
from verifier.wire.status_store import RECORDS_PER_SHARD, epoch_key, status_key

# Two shards, and not a whole number of hundreds.
_CREDENTIALS = RECORDS_PER_SHARD + 1_234


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("city")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(folder) as server:
        yield server


@pytest.fixture(scope="module")
def city(server: EmbeddedRedis, folder: Path) -> Iterator[City]:
    city = City(server.url, folder=folder, credentials=_CREDENTIALS, is_mixed=True)
    with city.heartbeats():
        yield city


@pytest.fixture(scope="module")
def gate(city: City, folder: Path) -> Iterator[VerifierClient]:
    port_file = folder / "verifier.port"
    command = [
        *(sys.executable, "-m", "verifier", "serve", "--listen", "127.0.0.1:0", "--workers", "1"),
        *("--root-key", str(city.root_file), "--redis-url", city.redis_url, "--gate-auth", "key"),
        *("--journal", str(folder / "journal"), "--port-file", str(port_file), "--engine", "grpcio"),
    ]
    with ServerProcess("verifier", command, folder=folder) as verifier:
        address = f"127.0.0.1:{verifier.wait_for_file(port_file)}"
        wait_until_serving(address, verifier)
        with VerifierClient(address, gate_id=GATE_ID, bearer_key=city.gate_key, deadline_s=10) as gate:
            yield gate


def wrong_verdicts(gate: VerifierClient, corpus: CorpusFile, key: int) -> list[tuple[Scan, Verdict | None]]:
    scans = [corpus[index] for index in corpus.at(time.time(), key)]
    answers = gate.verify_many(scan.qr_text for scan in scans)
    pairs = zip(scans, answers, strict=True)
    return [(scan, answer.verdict) for scan, answer in pairs if answer.verdict is not scan.verdict]


def test_every_scan_of_a_corpus_gets_the_verdict_that_it_must_of_both_keys(
    city: City, gate: VerifierClient, tmp_path: Path
) -> None:
    made = corpus_of_city(city.file, tmp_path / "corpus", codes=3_000, seconds=7_200, mix=EVERYTHING, keys=2)
    corpus = CorpusFile.open(tmp_path / "corpus")
    assert corpus.keys == made.keys == 2
    assert len(corpus) == sum(made.counts.values()) == 3_000
    assert {corpus[index].kind for index in corpus.at(time.time(), 1)} == set(EVERYTHING)
    corpus.require_good(time.time(), time.time() + 7_100)
    assert wrong_verdicts(gate, corpus, key=0) == []
    # Nobody has heard of the second key yet; what is malformed is malformed already.
    unknown = wrong_verdicts(gate, corpus, key=1)
    assert {verdict for _, verdict in unknown} == {Verdict.UNKNOWN_KEY}
    city.publish_next_key()
    eventually(lambda: gate.verify(unknown[0][0].qr_text).verdict is unknown[0][0].verdict)
    assert wrong_verdicts(gate, corpus, key=1) == []
    assert wrong_verdicts(gate, corpus, key=0) == []


def test_a_new_epoch_changes_nothing_but_the_epoch(city: City, gate: VerifierClient) -> None:
    with redis.Redis.from_url(city.redis_url) as client:
        before, records = client.get(epoch_key(0)), client.get(status_key(1, 1))
        city.new_epoch()
        assert client.get(epoch_key(0)) not in (None, before)
        assert client.get(status_key(1, 1)) == records
    # The verifier follows the feed from there on.
    colour_arrives(city, gate, Colour.RED)
    colour_arrives(city, gate, Colour.GREEN)


def test_redis_that_comes_back_empty_is_filled_by_the_next_heartbeat(
    server: EmbeddedRedis, city: City, gate: VerifierClient
) -> None:
    server.restart()
    with redis.Redis.from_url(city.redis_url) as client:
        eventually(lambda: client.get(epoch_key(0)))
        assert client.strlen(status_key(1, 1)) == (_CREDENTIALS - RECORDS_PER_SHARD) * RECORD_BYTES
    eventually(lambda: gate.verify(city.code(0)).status_age_ms < 1_500)
    colour_arrives(city, gate, Colour.YELLOW)
    server.kill()
    assert not city.beat()
    assert gate.verify(city.code(0)).verdict is Verdict.YELLOW
    server.restart()
    city.rebuild()
    assert city.beat()
    eventually(lambda: gate.verify(city.code(0)).verdict is Verdict.GREEN)


def colour_arrives(city: City, gate: VerifierClient, colour: Colour) -> None:
    city.set_colour(0, colour)
    eventually(lambda: gate.verify(city.code(0)).verdict is Verdict[colour.name])


def test_a_city_is_read_back_and_its_keys_are_for_its_owner_alone(tmp_path: Path) -> None:
    file = CityFile.make(People(1_000, is_mixed=True))
    file.write(tmp_path)
    assert CityFile.read(tmp_path) == file
    for name in (CITY_NAME, GATE_KEY_NAME):
        assert (tmp_path / name).stat().st_mode & 0o077 == 0
    assert read_key_file(tmp_path / GATE_KEY_NAME, whose="gate") == file.gate_key
    assert file.root_secret.hex() not in repr(file)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"gatelight_load_city": 1}', "[" * 100_000])
def test_what_is_no_city_is_refused_in_words(content: str, tmp_path: Path) -> None:
    with pytest.raises(NotACity, match="makes one"):
        CityFile.read(tmp_path)
    (tmp_path / CITY_NAME).write_text(content)
    with pytest.raises(NotACity, match="is not a city"):
        CityFile.read(tmp_path)


def test_a_city_whose_keys_are_damaged_is_refused(tmp_path: Path) -> None:
    file = CityFile.make(People(1_000, is_mixed=True))
    file.write(tmp_path)
    path = tmp_path / CITY_NAME
    for damage in ("zz", ""):
        path.write_text(path.read_text().replace(file.root_secret.hex()[:2], damage, 1))
        with pytest.raises(NotACity):
            CityFile.read(tmp_path)


@pytest.mark.parametrize("credentials", [1, 99, 250, 1_000])
def test_the_groups_of_a_mixed_city_are_everybody_once(credentials: int) -> None:
    people = People(credentials, is_mixed=True)
    groups = people.groups()
    there = {verdict: group for verdict, group in groups.items() if verdict is not Verdict.NO_STATUS}
    members = [(verdict, group[number]) for verdict, group in there.items() for number in range(len(group))]
    assert sorted(one.credential_index for _, one in members) == list(range(credentials))
    assert all(one.verdict is verdict and one == people[one.credential_index] for verdict, one in members)
    assert groups[Verdict.NO_STATUS][0].credential_index == credentials


def test_a_city_that_is_not_mixed_is_green() -> None:
    people = People(1_000, is_mixed=False)
    assert {one.verdict for one in map(people.__getitem__, range(1_000))} == {Verdict.GREEN}
    assert len(people.groups()[Verdict.GREEN]) == 1_000


def test_records_of_a_shard_are_those_of_its_people() -> None:
    people = People(_CREDENTIALS, is_mixed=True)
    for shard in (0, 1, 2):
        content = people.shard(shard, tested_min=77)
        first = shard * RECORDS_PER_SHARD
        assert len(content) == RECORD_BYTES * max(0, min(RECORDS_PER_SHARD, _CREDENTIALS - first))
        records = memoryview(content).cast("Q")
        for at in range(0, len(records), 97):
            assert records[at] == people.record(first + at, tested_min=77)
            assert unpack(records[at]).generation == people[first + at].generation


def test_a_mix_that_nobody_can_show_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    green = CityFile.make(People(1_000, is_mixed=False))
    with pytest.raises(NobodyLikeThat, match="red codes"):
        corpus_of_city(green, tmp_path / "corpus", codes=10, seconds=60, mix=parse_mix("green=9,red=1"))
    assert not list(tmp_path.iterdir())


def test_nobody_is_shown_twice_before_all_others_were(tmp_path: Path) -> None:
    city = CityFile.make(People(1_000, is_mixed=True))
    corpus_of_city(city, tmp_path / "corpus", codes=1_940, seconds=60, mix=parse_mix("green=94,current=100"))
    corpus = CorpusFile.open(tmp_path / "corpus")
    shown: dict[str, list[int]] = {"green": [], "current": []}
    for index in range(len(corpus)):
        claims = decode_claims(decode_qr_text(corpus[index].qr_text).payload)
        shown[corpus[index].kind].append(claims.credential_index)
    corpus.close()
    assert sorted(shown["current"]) == list(range(1_000)) != shown["current"]
    green = [index for index in range(1_000) if city.people[index].verdict is Verdict.GREEN]
    assert sorted(shown["green"]) == green


def test_the_command_says_what_is_in_a_corpus(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    CityFile.make(People(1_000, is_mixed=True)).write(tmp_path)
    assert corpus(tmp_path, codes=200, minutes=2.0, is_json=True) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["scans"], said["keys"], said["slots"]) == (200, 1, 1)
    assert {"kind": "green", "verdict": "GREEN", "scans": 180} in said["kinds"]
    assert said["bytes"] == Path(said["corpus"]).stat().st_size
    assert corpus(tmp_path, codes=200, mix="flood") == 0
    assert "BAD_SIGNATURE" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mix": "nonsense"}, "expected gate"),
        ({"city": None}, "--city FOLDER, or --issuer"),
        ({"issuer": "127.0.0.1:1"}, "--city FOLDER, or --issuer"),
        ({"holders": 5}, "--holders: only with --issuer"),
        ({"city": None, "issuer": "127.0.0.1:1", "keys": 2}, "--keys: only with --city"),
        ({"city": None, "issuer": "127.0.0.1:1"}, "--clerk-key"),
        ({"output": Path("/nowhere/corpus.bin")}, "No such file"),
    ],
)
def test_the_command_refuses_what_makes_no_sense(
    options: dict[str, object], message: str, tmp_path: Path
) -> None:
    CityFile.make(People(1_000, is_mixed=True)).write(tmp_path)
    with pytest.raises(click.UsageError, match=message):
        corpus(tmp_path, **options)


def corpus(folder: Path, **options: object) -> int:
    nothing = dict.fromkeys(
        ("codes", "keys", "issuer", "clerk_key", "approver_key", "tls_ca", "holders", "minutes")
    )
    given = {"city": folder, "mix": "gate", "output": folder / "corpus.bin", "is_json": False}
    return corpus_command.run(**{**nothing, **given, **options})  # type: ignore[arg-type]


def test_the_city_command_keeps_a_city_current_and_does_what_signals_ask(
    server: EmbeddedRedis, tmp_path: Path
) -> None:
    url = server.url.replace("/0", "/1")
    with redis.Redis.from_url(url) as client, city_process(url, tmp_path) as process:
        # At once: whoever reads it may send signals.
        os.kill(process.pid, signal.SIGUSR1)
        second_key = CityFile.read(tmp_path).key(1).public_key
        eventually(lambda: second_key in client.get("gatelight:key_set"))
        with pytest.raises(click.UsageError, match="another process keeps"):
            city_command.run(url, folder=tmp_path, credentials=None, is_green=False, is_json=False)
        epoch = client.get(epoch_key(0))
        os.kill(process.pid, signal.SIGUSR2)
        eventually(lambda: client.get(epoch_key(0)) != epoch)
        process.send_signal(signal.SIGINT)
        assert process.wait() == 0
        # The crowd has changed to the second key: it stays published.
        client.flushdb()
        City(url, folder=tmp_path).close()
        assert second_key in client.get("gatelight:key_set")


@contextmanager
def city_process(url: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Start the command, and wait until it says that the city is there."""
    command = [sys.executable, "-m", "loadtest", "city", "--redis-url", url, "--json"]
    command += ["--folder", str(folder), "--credentials", "1000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            said = json.loads(process.stdout.readline())
            assert (said["pid"], said["credentials"], said["gate_id"]) == (process.pid, 1_000, GATE_ID)
            yield process
        finally:
            process.kill()


def test_the_city_command_refuses_another_city_in_its_folder_or_in_redis(
    server: EmbeddedRedis, city: City, folder: Path, tmp_path: Path
) -> None:
    for url, where, credentials, message in (
        (server.url, folder, 5, "holds a city of"),
        (server.url, tmp_path, 5, "another issuer"),
        ("redis://127.0.0.1:1/0", tmp_path, None, "does not answer"),
        ("nonsense", tmp_path, None, "URL"),
    ):
        with pytest.raises(click.UsageError, match=message):
            city_command.run(url, folder=where, credentials=credentials, is_green=False, is_json=False)
