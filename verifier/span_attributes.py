"""What a span says of a call, whatever engine took it. Never anything of a scan but its verdict."""

from verifier.tracing import Attributes
from verifier.v1 import verifier_pb2 as pb
from verifier.verdict import Verdict

# gRPC's status codes by number, and those that are the server's fault by OpenTelemetry's conventions.
_NAMES = (
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
    "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE",
    "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
)  # fmt: skip
_FAULTS = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})
_VERDICTS = {int(verdict): verdict.name for verdict in Verdict}


def call_attributes(code: int, *, begun_ns: int, taken_up_ns: int) -> Attributes:
    """Return what is said of each call: how it ended, and how long it waited for its turn."""
    return {
        "rpc.system": "grpc",
        "rpc.grpc.status_code": code,
        "gatelight.status": _name(code),
        "gatelight.queue_wait_ms": max(0, taken_up_ns - begun_ns) / 1e6,
    }


def is_fault(code: int) -> bool:
    """Tell whether a status code says that the server has failed."""
    return _name(code) in _FAULTS


def of_scan(response: pb.VerifyCodeResponse) -> Attributes:
    """Return what is said of a scan."""
    return {"gatelight.verdict": _VERDICTS.get(response.verdict, "UNKNOWN")}


def of_batch(response: pb.VerifyCodesResponse) -> Attributes:
    """Return what is said of a batch."""
    return {"gatelight.batch_size": len(response.verdicts)}


def _name(code: int) -> str:
    return _NAMES[code] if 0 <= code < len(_NAMES) else "UNKNOWN"
