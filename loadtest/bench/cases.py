"""The measurements, each on real processes and with every answer looked at."""

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import psutil
import redis
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from nacl.bindings import crypto_sign_open

from loadtest import empty_server
from loadtest.bench.measured import Measured, cpu_us, on_core
from loadtest.bench.signing import SigningCost, measure_signing
from loadtest.corpus import Corpus, Enrolled
from loadtest.generator import Plan, read_messages, write_messages
from loadtest.processes import ServerProcess
from loadtest.residents import Resident, enrol, set_colour
from loadtest.stage import Stage
from verifier.client import VerifierClient
from verifier.config import read_root_key
from verifier.mirror import HeapTable, PartitionMirror
from verifier.mirror_follower import MirrorFollower
from verifier.status_reader import StatusReader
from verifier.v1 import verifier_pb2 as pb
from verifier.verdict import Verdict
from verifier.wire.code import code_sig_structure, decode_qr_text
from verifier.wire.status_record import Colour
from verifier.wire.status_store import RECORDS_PER_SHARD, epoch_key, feed_key, new_epoch, status_key

MIRRORED = 1_000_000
_ROUNDS = 5
_UNARY_CALLS = 8_000
_BATCH_CALLS = 150
_BATCH = 100
_CONNECTIONS = 8
_UNARY_STREAMS, _BATCH_STREAMS = 8, 2  # a connection; more batches than these would be refused
_RESIDENTS = 1_000
_STATUS_CHANGES = 200
_WAIT_S = 60
_ROOT_KEY_ID = bytes(8)  # of nobody: the mirror that is loaded is made of random bytes


class WrongAnswer(Exception):
    """A measured server gave another verdict than it had to; the figures would mean nothing."""


class Bench:
    """The measurements, on one stage."""

    def __init__(self, running: Stage, folder: Path) -> None:
        self._stage = running
        self._folder = folder
        self._address = running.start_verifier()
        self._verifier = running.verifiers[0]
        with running.staff() as staff:
            residents = [
                Resident(f"王小{number}", "ID", f"bench{number}", "north", Colour.GREEN)
                for number in range(_RESIDENTS)
            ]
            self._population = enrol(staff, residents, lambda _: None)
        self._corpus = Corpus(key=running.signing_key(), population=self._population, rng=random.Random(1))

    def unary(self) -> tuple[Measured, Measured]:
        """Return server CPU of an empty call and of a verdict, microseconds."""
        port_file = self._folder / "empty.port"
        command = [sys.executable, "-m", empty_server.__name__, str(port_file)]
        empty: list[float] = []
        unary: list[float] = []
        with ServerProcess("empty", command, folder=self._folder) as server:
            address = f"127.0.0.1:{server.wait_for_file(port_file)}"
            for _ in range(_ROUNDS):
                cpu_s, _answers = self._call(
                    server, address, empty_server.METHOD, [b""], calls=_UNARY_CALLS, streams=_UNARY_STREAMS
                )
                empty.append(cpu_s / _UNARY_CALLS * 1e6)
                requests = [self._scan(one).SerializeToString() for one in self._population]
                method = "/verifier.v1.VerifierService/VerifyCode"
                cpu_s, answers = self._call(
                    self._verifier,
                    self._address,
                    method,
                    requests,
                    calls=_UNARY_CALLS,
                    streams=_UNARY_STREAMS,
                )
                _require_green(pb.VerifyCodeResponse.FromString(answer) for answer in answers)
                unary.append(cpu_s / _UNARY_CALLS * 1e6)
        return (
            Measured("empty grpcio call, server CPU", "µs", tuple(empty)),
            Measured("unary verdict, server CPU", "µs", tuple(unary)),
        )

    def batch(self) -> tuple[Measured, Measured, Measured]:
        """Return CPU of a verify call of PyNaCl and of OpenSSL, and server CPU a code of a batch, µs."""
        library: list[float] = []
        openssl: list[float] = []
        batch: list[float] = []
        method = "/verifier.v1.VerifierService/VerifyCodes"
        for _ in range(_ROUNDS):
            with on_core(psutil.Process(), 0):
                for samples, verify in zip((library, openssl), self._library_calls(), strict=True):
                    samples.append(cpu_us(verify))
            scans = [self._scan(one) for one in self._population]
            requests = [
                pb.VerifyCodesRequest(scans=scans[start : start + _BATCH]).SerializeToString()
                for start in range(0, len(scans), _BATCH)
            ]
            cpu_s, answers = self._call(
                self._verifier, self._address, method, requests, calls=_BATCH_CALLS, streams=_BATCH_STREAMS
            )
            for answer in answers:
                _require_green(pb.VerifyCodesResponse.FromString(answer).verdicts)
            batch.append(cpu_s / (_BATCH_CALLS * _BATCH) * 1e6)
        return (
            Measured("PyNaCl verify, CPU", "µs", tuple(library)),
            Measured("OpenSSL verify, CPU", "µs", tuple(openssl)),
            Measured("verdict in a batch of 100, server CPU", "µs", tuple(batch)),
        )

    def signing(self) -> SigningCost:
        """Return what a code of a bundle costs, in the core and through the issuer."""
        issuer = self._stage.issuer
        assert issuer is not None  # noqa: S101 - a stage that is set up has one
        root = read_root_key(self._stage.issuer_folder.root_public_key)
        with self._stage.client() as client:
            return measure_signing(client, issuer_pid=issuer.pid, root=root, population=self._population)

    def status_change(self) -> Measured:
        """Return the times from the start of an admin call to the changed verdict, milliseconds."""
        samples = []
        with (
            self._stage.staff() as staff,
            VerifierClient(self._address, gate_id="bench") as gate,
        ):
            for change in range(_STATUS_CHANGES):
                enrolled = self._population[0]
                colour = Colour.YELLOW if change % 2 == 0 else Colour.GREEN
                qr_text = self._corpus.code(enrolled, not_before=int(time.time()))
                began = time.perf_counter()
                set_colour(staff, 1, colour)
                while gate.verify(qr_text).verdict is not Verdict[colour.name]:
                    if time.perf_counter() - began > _WAIT_S:
                        raise WrongAnswer("a status change did not arrive")
                samples.append((time.perf_counter() - began) * 1000)
        return Measured(f"status change to verdict, {_STATUS_CHANGES} times", "ms", tuple(samples))

    def mirror_load(self) -> tuple[Measured, Measured]:
        """Return the time to load a million records, seconds, and the memory that they take, bytes each."""
        url = self._stage.redis.url.replace("/0", "/1")
        with redis.Redis.from_url(url) as client:
            for shard in range(-(-MIRRORED // RECORDS_PER_SHARD)):
                count = min(RECORDS_PER_SHARD, MIRRORED - shard * RECORDS_PER_SHARD)
                client.set(status_key(shard, 1), os.urandom(8 * count))
            epoch = new_epoch(_ROOT_KEY_ID, b"bench")
            client.set(epoch_key(0), epoch)
            client.xadd(feed_key(0), {"e": epoch})
        seconds, memory = [], []
        process = psutil.Process()
        for _ in range(_ROUNDS):
            mirror = PartitionMirror()
            reader = StatusReader(url, root_key_id=_ROOT_KEY_ID, partition=0, partitions=1)
            follower = MirrorFollower(
                reader=reader, mirror=mirror, monotonic=time.monotonic, new_table=HeapTable
            )
            before, began = process.memory_info().rss, time.perf_counter()
            follower.step()
            seconds.append(time.perf_counter() - began)
            memory.append((process.memory_info().rss - before) / MIRRORED)
            reader.close()
        return (
            Measured(f"mirror load of {MIRRORED:,} credentials", "s", tuple(seconds)),
            Measured("memory of the mirror, a credential", "bytes", tuple(memory)),
        )

    def _scan(self, enrolled: Enrolled) -> pb.VerifyCodeRequest:
        qr_text = self._corpus.code(enrolled, not_before=int(time.time()))
        scan_id = f"{enrolled.credential_index:012}"
        return pb.VerifyCodeRequest(qr_text=qr_text, scan_id=scan_id, gate_id="bench")

    def _library_calls(self) -> Sequence[Callable[[], object]]:
        signed = decode_qr_text(self._corpus.code(self._population[0], not_before=int(time.time())))
        message = code_sig_structure(signed.key_id, signed.payload)
        public_key = self._stage.signing_key().public_key
        openssl_key = Ed25519PublicKey.from_public_bytes(public_key)
        return (
            lambda: crypto_sign_open(signed.signature + message, public_key),
            lambda: openssl_key.verify(signed.signature, message),
        )

    def _call(
        self,
        server: ServerProcess,
        address: str,
        method: str,
        requests: Sequence[bytes],
        *,
        calls: int,
        streams: int,
    ) -> tuple[float, list[bytes]]:
        """Make calls; return the CPU seconds that the server took for them, and the first answers."""
        requests_file, answers_file = self._folder / "requests", self._folder / "answers"
        write_messages(requests_file, requests)
        plan = Plan(address, method, requests_file, calls, _CONNECTIONS, streams, answers_file)
        process = psutil.Process(server.pid)
        with on_core(process, 0):
            before = process.cpu_times()
            command = [sys.executable, "-m", "loadtest.generator", *plan.arguments()]
            subprocess.run(command, check=True, timeout=_WAIT_S, stdout=subprocess.DEVNULL)
            after = process.cpu_times()
        cpu_s = after.user + after.system - before.user - before.system
        return cpu_s, read_messages(answers_file)[: len(requests)]


def _require_green(answers: Iterable[pb.VerifyCodeResponse]) -> None:
    for answer in answers:
        if answer.verdict != pb.VERDICT_GREEN:
            raise WrongAnswer(f"expected GREEN, got {pb.Verdict.Name(answer.verdict)}")
