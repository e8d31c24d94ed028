"""The scanner's side of the verifier's API (verifier.proto): ask, wait a bounded time, retry on a budget.

    with VerifierClient("10.0.0.7:50051", gate_id="north-3", bearer_key=key) as verifier:
        answer = verifier.verify(qr_text)
        if answer.verdict is Verdict.GREEN:
            open_gate()

Whatever goes wrong is an exception of one family, and a gate that gets one stays closed:

VerifierClientError
+-- NoAnswer      the verifier gave no verdict in time, or one that does not belong to the scan
+-- NotAdmitted   the verifier does not know this gate's credential, or it is another gate's
+-- Misuse        the call breaks the API: a gate_id or scan_id of a length that the verifier refuses

No message carries a QR text or a key. A verifier that ends a connection, to spread its load or to stop, says
so first (GOAWAY), and gRPC moves to another without a failed call. Retries are gRPC's own (gRFC A6), so
that the delay a shedding verifier asks for is kept and the budget holds for all calls of a process together.
"""

import json
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from time import monotonic
from types import TracebackType
from typing import Any, Self

import grpc

from verifier.client_tls import ClientTls
from verifier.diagnosis import Diagnosis
from verifier.errors import SettingsError
from verifier.lane import Lane
from verifier.listen import is_local_target
from verifier.v1 import verifier_pb2 as pb
from verifier.v1 import verifier_pb2_grpc as pb_grpc
from verifier.verdict import Verdict
from verifier.wire.code import MAX_QR_TEXT_CHARACTERS, CredentialKind
from verifier.wire.status_record import Colour

# Longer than the longest code by one: a text cut here is MALFORMED as the whole would have been.
MAX_SENT_BYTES = MAX_QR_TEXT_CHARACTERS + 1
MAX_SCANS_PER_CALL = 1_000  # verifier.proto, VerifyCodes

# UNAVAILABLE: the verifier is starting, stopping or gone. RESOURCE_EXHAUSTED: it sheds load, and says
# for how long. CANCELLED, which nobody here did: a server of grpcio's that stops says so to a call that comes
# before its own goodbye has reached the gate. Asking again is harmless, because scan_id stays the same.
_RETRYABLE = ["UNAVAILABLE", "RESOURCE_EXHAUSTED", "CANCELLED"]
_SERVICE_CONFIG = {
    "methodConfig": [
        {
            "name": [{"service": pb.DESCRIPTOR.services_by_name["VerifierService"].full_name}],
            "retryPolicy": {
                "maxAttempts": 5,  # the most that gRPC allows; the deadline ends most retries before
                "initialBackoff": "0.05s",
                "maxBackoff": "0.5s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": _RETRYABLE,
            },
        }
    ],
    # The budget: after ten failures in a row there are no retries, and five answers earn one back. So a
    # city of gates adds at most a fifth to the load of a verifier that is already in trouble.
    "retryThrottling": {"maxTokens": 20, "tokenRatio": 0.2},
}
# A connection that was lost under a call tells nothing of load, and takes all of its calls at once: when a
# worker of a verifier dies, those of a hub's sixty lanes would use up the budget, and most be lost. So calls
# that gRPC gives up for it are asked again by us: on a new connection, for which everybody waits alike.
_TRIES_AFTER_LOSS = 3
# In gRPC's own words, for which it has no code; in others, its budget holds.
_LOSSES = ("Stream removed (", "Socket closed", "recvmsg:", "sendmsg:")
# How a gate holds its connection.
CONNECTION_OPTIONS: tuple[tuple[str, str | int], ...] = (
    # A proxy of the environment would be handed the gate's key, and is one more thing to fail.
    ("grpc.enable_http_proxy", 0),
    # A peer that lost power sends no goodbye: it is noticed after 10 + 3 s of silence, and 3 s after a
    # scan was sent. The verifier allows a ping every 5 s.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    # gRPC would wait up to two minutes between attempts to connect; a gate has to be back at once.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # Despite the name, how long one attempt to connect may take: room for one lost SYN.
    ("grpc.min_reconnect_backoff_ms", 3_000),
)
_CHANNEL_OPTIONS: tuple[tuple[str, str | int], ...] = (
    *CONNECTION_OPTIONS,
    ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
    # A call over this size is not retried, without a word; 1 000 scans are up to 620 KB, and gRPC's
    # own value is 256 KiB.
    ("grpc.per_rpc_retry_buffer_size", 1 << 20),
)


class EntryScope(Enum):
    """How far a verifier looked for an earlier entry with the same code; the numbers are verifier.proto's."""

    NONE = 0  # it did not have to look
    ALL = 1  # at all verifiers
    VERIFIER = 2  # at itself alone: Redis did not answer


_SCOPES = {scope.value: scope for scope in EntryScope}
_VERDICTS = {int(verdict): verdict for verdict in Verdict}
_COLOURS = {int(colour): colour for colour in Colour}
_KINDS = {int(kind): kind for kind in CredentialKind}


class VerifierClientError(Exception):
    """Root of the family; `status` is the name of a gRPC status code."""

    def __init__(self, message: str, *, status: str) -> None:
        super().__init__(message)
        self.status = status


class NoAnswer(VerifierClientError):
    """There is no verdict: the gate stays closed."""


class NotAdmitted(VerifierClientError):
    """The gate's bearer key or certificate is unknown, missing or another gate's: retries will not help."""


class Misuse(VerifierClientError):
    """The call breaks the API, and so would every retry; the message names the field."""


def new_scan_id() -> str:
    """Return a scan_id that no other scan has: 32 hexadecimal digits."""
    return uuid.uuid4().hex


@dataclass(frozen=True, slots=True)
class Scan:
    """One presentation at a gate. Asking again with the same scan_id is the same scan."""

    qr_text: bytes | str = field(repr=False)
    scan_id: str = field(default_factory=new_scan_id)  # 1 to 64 characters


@dataclass(frozen=True, slots=True)
class Answer:
    """The verdict on one scan and what goes with it; verifier.proto says when each is known."""

    scan_id: str
    verdict: Verdict | None  # None: one that this client does not know, which opens nothing
    colour: Colour
    colour_reason: int  # 0: none given
    last_negative_test: int | None  # Unix seconds
    kind: CredentialKind | None
    hint: str
    code_age_s: int | None
    status_age_ms: int
    verified_at_ms: int  # Unix milliseconds
    entry_scope: EntryScope = EntryScope.NONE

    @property
    def opens_gate(self) -> bool:
        """Whether the holder may pass: GREEN, and nothing else."""
        return self.verdict is Verdict.GREEN


class VerifierClient:
    """Asks one verifier, or one name that stands for several. Safe to use from many threads."""

    def __init__(
        self,
        target: str,
        *,
        gate_id: str = "",
        deadline_s: float = 2.0,
        bearer_key: str | None = None,
        tls: ClientTls | None = None,
        insecure: bool = False,
    ) -> None:
        """Connects with the first call, and again by itself after every loss.

        `target` is host:port or another gRPC name; give an address where DNS may be down when the gate
        starts, because gRPC then waits up to two minutes before it looks a name up again. Several verifiers
        are ipv4:10.0.0.7:50051,10.0.0.8:50051: the first one that can be reached is asked, until it is gone.
        `gate_id` has 1 to 64 characters; with a credential it may be left out. `deadline_s` bounds each
        call, its retries and the wait for a connection included: an outage shorter than that costs time and
        no answer. To say why there is no connection, the error may come a second later (diagnosis.py).
        `bearer_key` is the gate's key; a client certificate comes with `tls`. Without `tls`, TLS is spoken
        with verifiers beyond this machine, unless `insecure`, and plain text with the others. Raises
        SettingsError for files that are no good.
        """
        if tls is not None and insecure:
            raise SettingsError("expected TLS or plain text, got files of TLS and insecure")
        if tls is None and not insecure and not is_local_target(target):
            tls = ClientTls()
        self._target = target
        self._gate_id = gate_id
        self._deadline_s = deadline_s
        self._tls = tls
        self._diagnosis = Diagnosis(target, tls)
        self._metadata = () if bearer_key is None else (("authorization", f"Bearer {bearer_key}"),)
        self._channel = (
            grpc.insecure_channel(target, options=_CHANNEL_OPTIONS)
            if tls is None
            else grpc.secure_channel(target, tls.read(), options=_CHANNEL_OPTIONS)
        )
        self._stub = pb_grpc.VerifierServiceStub(self._channel)

    def verify(self, qr_text: bytes | str, scan_id: str | None = None) -> Answer:
        """Return the answer to one scan; raises VerifierClientError.

        `qr_text` is what the scanner read, whatever it is. Give the `scan_id` of an earlier attempt when
        the same presentation is asked about again.
        """
        request = self._request(Scan(qr_text, scan_id or new_scan_id()))
        return self._answer(request, self._call(self._stub.VerifyCode, request))

    def verify_many(self, scans: Iterable[Scan | bytes | str]) -> list[Answer]:
        """Return the answers to any number of scans in their order, 1 000 a call.

        Raises VerifierClientError when one call fails, and then returns none: ask again with the same
        Scans, which is harmless. The deadline holds for each call.
        """
        requests = [self._request(scan) for scan in scans]
        answers: list[Answer] = []
        for start in range(0, len(requests), MAX_SCANS_PER_CALL):
            part = requests[start : start + MAX_SCANS_PER_CALL]
            response = self._call(self._stub.VerifyCodes, pb.VerifyCodesRequest(scans=part))
            if len(response.verdicts) != len(part):
                message = f"expected {len(part)} verdicts from {self._target}, got {len(response.verdicts)}"
                raise NoAnswer(message, status="INTERNAL")
            answers += map(self._answer, part, response.verdicts)
        return answers

    def stream(self, scans: Iterable[Scan | bytes | str]) -> Iterator[Answer]:
        """Yield the answers to scans as they come, over one StreamVerify call that stays open between them.

        For lanes: one person stands there at a time, so the next scan is taken only when the answer to
        the last was used, in the caller's thread. (For many scans at once there is verify_many.)
        When the call breaks, the scan under way is asked again on a new one, with its scan_id and within
        its deadline. Raises VerifierClientError for a scan without an answer; the lane goes on with a new
        stream() over the rest.
        """
        lane: Lane | None = None
        try:
            for scan in scans:
                request = self._request(scan)
                ends_at = monotonic() + self._deadline_s
                try:
                    lane, verdict = self._ask_on(lane, request, ends_at)
                except grpc.RpcError as error:
                    raise self._error(error) from None
                yield self._answer(request, verdict)
        finally:
            if lane is not None:
                lane.close()

    def close(self) -> None:
        """Close the connection; calls under way end with NoAnswer."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _request(self, scan: Scan | bytes | str) -> pb.VerifyCodeRequest:
        if not isinstance(scan, Scan):
            scan = Scan(scan)
        # What UTF-8 cannot express is no code either, so a replacement changes no verdict.
        text = scan.qr_text.encode(errors="replace") if isinstance(scan.qr_text, str) else scan.qr_text
        return pb.VerifyCodeRequest(
            qr_text=text[:MAX_SENT_BYTES], scan_id=scan.scan_id, gate_id=self._gate_id
        )

    def _call(self, method: Callable[..., Any], request: object) -> Any:
        ends_at = monotonic() + self._deadline_s
        tries = _TRIES_AFTER_LOSS
        while True:
            left_s = max(0.0, ends_at - monotonic())
            try:
                return method(request, timeout=left_s, wait_for_ready=True, metadata=self._metadata)
            except grpc.RpcError as error:
                if not (tries and _is_loss(error)):
                    raise self._error(error) from None
            tries -= 1

    def _ask_on(
        self, lane: Lane | None, request: pb.VerifyCodeRequest, ends_at: float
    ) -> tuple[Lane, pb.VerifyCodeResponse]:
        """Ask on the lane's call, or else on a new one; return the lane that answered; raises RpcError.

        gRPC retries a call by itself until its first answer has come, so only a lane that has answered
        before is worth a second attempt of ours.
        """
        while True:
            had_answered = lane is not None
            lane = lane or Lane(self._stub, self._metadata)
            try:
                return lane, lane.ask(request, ends_at)
            except grpc.RpcError:
                lane.close()
                if not had_answered or monotonic() >= ends_at:
                    raise
                lane = None

    def _answer(self, request: pb.VerifyCodeRequest, response: pb.VerifyCodeResponse) -> Answer:
        if response.scan_id != request.scan_id:
            # One person's green must not open the gate for the next.
            raise NoAnswer(f"expected the verdict on this scan from {self._target}", status="INTERNAL")
        return Answer(
            scan_id=response.scan_id,
            verdict=_VERDICTS.get(response.verdict),
            colour=_COLOURS.get(response.colour, Colour.NONE),
            colour_reason=response.colour_reason,
            last_negative_test=response.last_negative_test or None,
            kind=_KINDS.get(response.kind),
            hint=response.hint,
            code_age_s=response.code_age_s if response.HasField("code_age_s") else None,
            status_age_ms=response.status_age_ms,
            verified_at_ms=response.verified_at_ms,
            entry_scope=_SCOPES.get(response.entry_scope, EntryScope.NONE),
        )

    def _error(self, error: grpc.RpcError) -> VerifierClientError:
        code, details = error.code(), error.details()
        if code is grpc.StatusCode.INVALID_ARGUMENT:
            return Misuse(f"{self._target} refuses the call: {details}", status=code.name)
        if code is grpc.StatusCode.UNAUTHENTICATED:
            message = f"{self._target} does not admit this gate: {self._not_known(details or '')}"
            return NotAdmitted(message, status=code.name)
        if code is grpc.StatusCode.PERMISSION_DENIED:
            return NotAdmitted(f"{self._target} does not admit this gate: {details}", status=code.name)
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            spoken = "in plain text" if self._tls is None else "over TLS"
            reason = self._diagnosis.reason()
            message = f"{self._target} did not answer within {self._deadline_s:g} s {spoken}"
            return NoAnswer(message if reason is None else f"{message}: {reason}", status=code.name)
        return NoAnswer(f"{self._target} did not answer: {code.name}: {details}", status=code.name)

    def _not_known(self, details: str) -> str:
        """Return why this gate is not known, from what it sent and what the verifier says it looks at."""
        has_key = bool(self._metadata)
        has_certificate = self._tls is not None and self._tls.certificate is not None
        if "bearer key" in details:
            but = ", and takes no certificates" if has_certificate else ""
            return (
                "the key given is not known (any more)"
                if has_key
                else f"no key was given, and it asks for one{but}: --key-file"
            )
        if "certificate" in details:
            but = ", and takes no keys" if has_key else ""
            return (
                "the certificate shown is not known (any more)"
                if has_certificate
                else f"no certificate was shown, and it asks for one{but}: --tls-certificate and --tls-key"
            )
        return details  # of a verifier with other words


def _is_loss(error: grpc.RpcError) -> bool:
    """Tell whether the connection was lost under a call; its verdict, if there was one, is not known."""
    return error.code() is grpc.StatusCode.UNAVAILABLE and (error.details() or "").startswith(_LOSSES)
