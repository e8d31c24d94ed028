"""A verifier that verifies nothing: every scan is GREEN at once. It shows what generators can reach.

    python -m loadtest.null_server ENGINE PORT_FILE

ENGINE is envoy, where calls cost least, or grpcio, which runs everywhere. Answers are of the right shape:
the scan_id of the scan, and a verdict. Runs until it is killed.
"""

import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

from loadtest.envoy_answers import answer_call, serve
from verifier.limits import Limits
from verifier.v1 import verifier_pb2 as pb

_SERVICE = "verifier.v1.VerifierService"


def _green(scan: pb.VerifyCodeRequest) -> pb.VerifyCodeResponse:
    return pb.VerifyCodeResponse(scan_id=scan.scan_id, verdict=pb.VERDICT_GREEN)


def _verify_code(request: bytes) -> bytes:
    return _green(pb.VerifyCodeRequest.FromString(request)).SerializeToString()


def _verify_codes(request: bytes) -> bytes:
    scans = pb.VerifyCodesRequest.FromString(request).scans
    return pb.VerifyCodesResponse(verdicts=map(_green, scans)).SerializeToString()


def _stream_verify(request: bytes) -> bytes:
    scan = pb.StreamVerifyRequest.FromString(request).scan
    return pb.StreamVerifyResponse(verdict=_green(scan)).SerializeToString()


_ANSWERS: dict[str, Callable[[bytes], bytes]] = {
    f"/{_SERVICE}/VerifyCode": _verify_code,
    f"/{_SERVICE}/VerifyCodes": _verify_codes,
    f"/{_SERVICE}/StreamVerify": _stream_verify,
}


async def app(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """Answer one call, for Envoy."""
    if scope["type"] == "http":
        await answer_call(receive, send, _ANSWERS[scope["path"]])


def _serve_grpcio(port_file: Path) -> None:
    import grpc  # noqa: PLC0415 - Envoy's Python has no use for it

    from verifier.own_pool import on_own_pool  # noqa: PLC0415
    from verifier.server import build_server  # noqa: PLC0415

    def answer_each(requests: Iterator[bytes], _context: grpc.ServicerContext) -> Iterator[bytes]:
        return map(_stream_verify, requests)

    limits = Limits()
    server = build_server(futures.ThreadPoolExecutor(limits.threads), limits)
    lanes = futures.ThreadPoolExecutor(limits.max_streams)
    handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        "VerifyCode": grpc.unary_unary_rpc_method_handler(lambda request, _: _verify_code(request)),
        "VerifyCodes": grpc.unary_unary_rpc_method_handler(lambda request, _: _verify_codes(request)),
        "StreamVerify": grpc.stream_stream_rpc_method_handler(on_own_pool(answer_each, lanes)),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    port_file.write_text(f"{port}\n")
    signal.pause()


if __name__ == "__main__":
    engine, path = sys.argv[1:]
    if engine == "envoy":
        serve("loadtest.null_server:app", Path(path))
    else:
        _serve_grpcio(Path(path))
