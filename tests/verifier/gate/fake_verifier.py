"""A verifier on a real socket that answers, fails and freezes as a test tells it to."""

import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from types import TracebackType
from typing import Self

import grpc

from verifier.v1 import verifier_pb2 as pb
from verifier.v1 import verifier_pb2_grpc as pb_grpc


def green(scan: pb.VerifyCodeRequest) -> pb.VerifyCodeResponse:
    """Return the plainest answer to a scan."""
    return pb.VerifyCodeResponse(scan_id=scan.scan_id, verdict=pb.VERDICT_GREEN, colour=pb.COLOUR_GREEN)


class Failure:
    """Ends a call without an answer."""

    def __init__(
        self, code: grpc.StatusCode, *, pushback_ms: int | None = None, details: str = "as scripted"
    ) -> None:
        self.code = code
        self.details = details
        self.pushback_ms = pushback_ms


class FakeVerifier(pb_grpc.VerifierServiceServicer):
    """Serves on loopback while entered.

    `script` holds what to do with the next scans (with the next call, for VerifyCodes): answer by
    a function of the request, or fail. When it is empty, `answer` answers.
    """

    def __init__(
        self, *, port: int = 0, credentials: grpc.ServerCredentials | None = None, threads: int = 8
    ) -> None:
        """With `credentials` it serves TLS."""
        self._threads = threads
        self.answer: Callable[[pb.VerifyCodeRequest], pb.VerifyCodeResponse] = green
        self.script: deque[Failure | Callable[[pb.VerifyCodeRequest], pb.VerifyCodeResponse]] = deque()
        self.scans: list[pb.VerifyCodeRequest] = []
        self.calls = 0
        self.authorizations: list[str | bytes] = []  # one a call that carried one
        self.keep_back = 0  # verdicts missing from each answer to VerifyCodes
        self.scans_per_stream: int | None = None  # after so many the stream is ended in good order
        self.stream_ended = threading.Event()
        self.thaw = threading.Event()
        self.thaw.set()
        self._port = port
        self._credentials = credentials
        self._server: grpc.Server | None = None

    @property
    def target(self) -> str:
        """Where it serves."""
        return f"127.0.0.1:{self._port}"

    def freeze(self) -> None:
        """Take scans, and answer none until `thaw` is set."""
        self.thaw.clear()

    def start(self) -> None:
        """Serve, on the same port as before."""
        self._server = grpc.server(
            futures.ThreadPoolExecutor(self._threads), options=[("grpc.so_reuseport", 0)]
        )
        pb_grpc.add_VerifierServiceServicer_to_server(self, self._server)
        if self._credentials is None:
            self._port = self._server.add_insecure_port(self.target)
        else:
            self._port = self._server.add_secure_port(self.target, self._credentials)
        self._server.start()

    def stop(self) -> None:
        """Break all calls and be gone."""
        self.thaw.set()
        if self._server is not None:
            self._server.stop(None).wait()
            self._server = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def VerifyCode(  # noqa: N802
        self, request: pb.VerifyCodeRequest, context: grpc.ServicerContext
    ) -> pb.VerifyCodeResponse:
        """Answer one scan."""
        self.calls += 1
        return self._answer_all([request], context)[0]

    def VerifyCodes(  # noqa: N802
        self, request: pb.VerifyCodesRequest, context: grpc.ServicerContext
    ) -> pb.VerifyCodesResponse:
        """Answer several scans."""
        self.calls += 1
        verdicts = self._answer_all(request.scans, context)
        return pb.VerifyCodesResponse(verdicts=verdicts[: len(verdicts) - self.keep_back])

    def StreamVerify(  # noqa: N802
        self, request_iterator: Iterator[pb.StreamVerifyRequest], context: grpc.ServicerContext
    ) -> Iterator[pb.StreamVerifyResponse]:
        """Answer scans as they come."""
        self.calls += 1
        context.add_callback(self.stream_ended.set)
        for request in itertools.islice(request_iterator, self.scans_per_stream):
            yield pb.StreamVerifyResponse(verdict=self._answer_all([request.scan], context)[0])

    def _answer_all(
        self, scans: Iterable[pb.VerifyCodeRequest], context: grpc.ServicerContext
    ) -> list[pb.VerifyCodeResponse]:
        scans = list(scans)
        self.scans += scans
        metadata = context.invocation_metadata()
        self.authorizations += [value for name, value in metadata if name == "authorization"]
        self.thaw.wait()
        step = self.script.popleft() if self.script else self.answer
        if isinstance(step, Failure):
            if step.pushback_ms is not None:
                context.set_trailing_metadata((("grpc-retry-pushback-ms", str(step.pushback_ms)),))
            context.abort(step.code, step.details)
        return [step(scan) for scan in scans]
