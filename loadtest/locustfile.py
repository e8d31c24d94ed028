"""Locust over gRPC: people at gates who hold something under the scanner and look at the verdict.

    locust -f loadtest/locustfile.py --host 127.0.0.1:50051 --corpus corpus.jsonl --headless -u 40 -t 10s

Every answer is compared with the verdict that the corpus expects: a wrong verdict is a failure, also
when the call itself went well, and is named with its scan_id. A corpus is good for a minute, as its
codes are; `make load` and `make demo` make a fresh one.
"""

# ruff: noqa: E402 - gRPC has to be told of gevent before anything opens a channel
import grpc.experimental.gevent as grpc_gevent

grpc_gevent.init_gevent()

import random
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import gevent
import grpc
from locust import User, events, task
from locust.env import Environment

from loadtest.corpus import Specimen
from loadtest.corpus_file import read_corpus
from verifier.v1 import verifier_pb2 as pb
from verifier.v1 import verifier_pb2_grpc as pb_grpc

_DEFAULT_HOST = "127.0.0.1:50051"
_TIMEOUT_S = 5

_specimens: list[Specimen] = []


class WrongVerdict(Exception):
    """The verifier answered, and not what it had to."""


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
def _add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--corpus", type=Path, required=True, help="file of scans with expected verdicts")


@events.init.add_listener  # type: ignore[untyped-decorator]
def _wind_the_clock(**_: Any) -> None:
    # gevent counts timers from the time at which its loop last looked at the clock, which is before the
    # imports above: on a busy machine a run of 3 s ended after a tenth of one.
    gevent.get_hub().loop.update_now()


@events.test_start.add_listener  # type: ignore[untyped-decorator]
def _read_corpus(environment: Environment, **_: Any) -> None:
    assert environment.parsed_options is not None  # noqa: S101 - Locust parsed them
    _specimens[:] = read_corpus(environment.parsed_options.corpus)


class Gate(User):
    """One gate with a queue: the next person steps up as soon as the last one has a verdict."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        # A connection of its own for each gate, as in the street.
        options = [("grpc.use_local_subchannel_pool", 1)]
        self._channel = grpc.insecure_channel(environment.host or _DEFAULT_HOST, options=options)
        self._stub = pb_grpc.VerifierServiceStub(self._channel)
        self._gate_id = f"gate-{id(self):x}"
        self._scans = 0

    def on_stop(self) -> None:
        """Close the connection."""
        self._channel.close()

    @task
    def scan(self) -> None:
        """Ask for the verdict on one scan, and tell Locust how it went."""
        specimen = random.choice(_specimens)
        self._scans += 1
        request = pb.VerifyCodeRequest(
            qr_text=specimen.qr_text, scan_id=f"{self._gate_id}-{self._scans}", gate_id=self._gate_id
        )
        report: dict[str, Any] = {"request_type": "gRPC", "name": "VerifyCode", "response_length": 0}
        exception: Exception | None = None
        began = time.perf_counter()
        try:
            answer = self._stub.VerifyCode(request, timeout=_TIMEOUT_S)
        except grpc.RpcError as error:
            exception = error
        else:
            exception = _compare(answer, specimen)
            report["response_length"] = answer.ByteSize()
        report["response_time"] = (time.perf_counter() - began) * 1000
        self.environment.events.request.fire(**report, exception=exception, context={})


def _compare(answer: pb.VerifyCodeResponse, specimen: Specimen) -> WrongVerdict | None:
    if int(answer.verdict) == specimen.verdict:
        return None
    return WrongVerdict(
        f"scan {answer.scan_id} ({specimen.kind}): expected {specimen.verdict.name}, "
        f"got {pb.Verdict.Name(answer.verdict)}"
    )
