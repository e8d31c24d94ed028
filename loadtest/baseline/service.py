"""Verdicts of the naive verifier: parse, verify, one Redis GET, compare."""

import time
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import cbor2
import grpc
import redis
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from verifier.v1 import verifier_pb2 as pb
from verifier.v1.verifier_pb2_grpc import VerifierServiceServicer
from verifier.wire import base45
from verifier.wire.errors import Base45Error

_PREFIX = b"GL1:"
_CLOCK_SKEW_S = 30
_MAX_CHARACTERS = 512
# Claims and headers by their labels in protos/code_token.cddl.
_KID, _EXPIRES_AT, _NOT_BEFORE, _STATEMENT = 4, 4, 5, -65537
_COLOUR_VERDICTS = {
    b"GREEN": pb.VERDICT_GREEN,
    b"YELLOW": pb.VERDICT_YELLOW,
    b"RED": pb.VERDICT_RED,
}


def status_key(credential_index: int) -> str:
    """Return the Redis key of a credential's status, a string such as `GREEN 1`: colour and generation."""
    return f"status:{credential_index}"


class _Code(NamedTuple):
    kind: int
    credential_index: int
    generation: int
    not_before: int
    expires_at: int


class _Rejected(Exception):
    """The code itself is no good; `verdict` says why."""

    def __init__(self, verdict: pb.Verdict) -> None:
        super().__init__(verdict)
        self.verdict = verdict


class NaiveServicer(VerifierServiceServicer):
    """The verifier.v1 service."""

    def __init__(self, *, client: redis.Redis, keys: Mapping[bytes, Ed25519PublicKey]) -> None:
        """`keys` are the verifying keys by key_id."""
        self._redis = client
        self._keys = keys

    def VerifyCode(  # noqa: N802
        self, request: pb.VerifyCodeRequest, context: grpc.ServicerContext
    ) -> pb.VerifyCodeResponse:
        """Answer one scan."""
        try:
            return self._verify(request)
        except redis.RedisError as error:
            context.abort(grpc.StatusCode.UNAVAILABLE, f"redis: {type(error).__name__}")

    def VerifyCodes(  # noqa: N802
        self, request: pb.VerifyCodesRequest, context: grpc.ServicerContext
    ) -> pb.VerifyCodesResponse:
        """Answer several scans, one by one."""
        return pb.VerifyCodesResponse(verdicts=[self.VerifyCode(scan, context) for scan in request.scans])

    def StreamVerify(  # noqa: N802
        self, request_iterator: Iterator[pb.StreamVerifyRequest], context: grpc.ServicerContext
    ) -> Iterator[pb.StreamVerifyResponse]:
        """Answer scans as they come."""
        for request in request_iterator:
            yield pb.StreamVerifyResponse(verdict=self.VerifyCode(request.scan, context))

    def _verify(self, scan: pb.VerifyCodeRequest) -> pb.VerifyCodeResponse:
        now = time.time()
        response = pb.VerifyCodeResponse(scan_id=scan.scan_id, verified_at_ms=int(now * 1000))
        try:
            code = self._authenticate(scan.qr_text)
        except _Rejected as rejected:
            response.verdict = rejected.verdict
            return response
        response.kind = code.kind  # type: ignore[assignment]
        response.code_age_s = int(now) - code.not_before
        response.verdict = self._decide(code, now)
        return response

    def _authenticate(self, qr_text: bytes) -> _Code:
        """Return an authentic code, whatever its window; raises _Rejected."""
        if not qr_text.startswith(_PREFIX) or len(qr_text) > _MAX_CHARACTERS:
            raise _Rejected(pb.VERDICT_MALFORMED)
        try:
            message = cbor2.loads(base45.decode(qr_text[len(_PREFIX) :]))
            protected, _unprotected, payload, signature = message.value
            key = self._keys.get(cbor2.loads(protected)[_KID])
            if key is None:
                raise _Rejected(pb.VERDICT_UNKNOWN_KEY)
            key.verify(signature, cbor2.dumps(["Signature1", protected, b"", payload]))
            claims = cbor2.loads(payload)
            kind, credential_index, generation = claims[_STATEMENT][:3]
            return _Code(kind, credential_index, generation, claims[_NOT_BEFORE], claims[_EXPIRES_AT])
        except InvalidSignature:
            raise _Rejected(pb.VERDICT_BAD_SIGNATURE) from None
        except (Base45Error, cbor2.CBORDecodeError, AttributeError, TypeError, ValueError, LookupError):
            raise _Rejected(pb.VERDICT_MALFORMED) from None

    def _decide(self, code: _Code, now: float) -> pb.Verdict:
        """Return the verdict on an authentic code; raises redis.RedisError."""
        if now < code.not_before - _CLOCK_SKEW_S:
            return pb.VERDICT_NOT_YET_VALID
        if now >= code.expires_at + _CLOCK_SKEW_S:
            return pb.VERDICT_EXPIRED
        status = self._redis.get(status_key(code.credential_index))
        if not isinstance(status, bytes):
            return pb.VERDICT_NO_STATUS
        colour, generation = status.split()
        if int(generation) != code.generation:
            return pb.VERDICT_REPLACED
        return _COLOUR_VERDICTS.get(colour, pb.VERDICT_NO_STATUS)
