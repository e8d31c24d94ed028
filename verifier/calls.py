"""What a verifier does with a call, whatever engine took it: from a request and a caller to the response.

1. check the request and find the gate       nothing is verified before every scan of the call is sound
2. verify                                    verifier.service
3. one entry a window, where the gate asks   verifier.access.entries
4. append to the scan log                    one write a call, before the reply, or before a batch gives up
5. count, and reply

An engine turns bytes into messages and CallError into its own way to end a call, and bounds how many calls
there are; nothing here knows it. The messages of a stream are calls of their own to `verify_code`.
Everything is safe to call from many threads at once.
"""

import hashlib
import re
from collections.abc import Callable
from typing import Protocol, TypeVar

import structlog
from google.protobuf.message import DecodeError

from verifier.access.callers import Caller, Credentials, Gate, Gatekeeper
from verifier.call_error import CallError, Status, too_big
from verifier.counters import Counter, Counters
from verifier.errors import NotReady
from verifier.limits import MAX_ID_CHARACTERS, MAX_SCANS_PER_CALL
from verifier.logs import where_raised
from verifier.service import Answer, Verifier
from verifier.shedding import RetryDelay
from verifier.v1 import verifier_pb2 as pb
from verifier.v1.scan_log_pb2 import ScanLogEntry
from verifier.verdict import Verdict
from verifier.wire.code import CredentialKind
from verifier.wire.scan_log import frame

_CODE_HASH_BYTES = 16
_CONTROL = re.compile(r"[\x00-\x1f]")
# A millisecond of a batch.
_SCANS_PER_LOOK = 16
# A member of an enum is looked up in 0.14 microseconds, a name of this module in a tenth of that.
_GREEN, _MALFORMED = Verdict.GREEN, Verdict.MALFORMED
_PHONE = CredentialKind.PHONE

_COUNTED = {
    Status.INVALID_ARGUMENT: Counter.INVALID,
    Status.UNAUTHENTICATED: Counter.UNAUTHENTICATED,
    Status.PERMISSION_DENIED: Counter.DENIED,
    Status.INTERNAL: Counter.FAILED,
}

_Request = TypeVar("_Request", pb.VerifyCodeRequest, pb.VerifyCodesRequest, pb.StreamVerifyRequest)

_log = structlog.get_logger("verifier")


class Entries(Protocol):
    """Knows which codes have let somebody in."""

    def settle(
        self, answer: Answer, *, code_hash: bytes, scan_id: str, gate: Gate
    ) -> tuple[Verdict, pb.EntryScope]:
        """Return GREEN or ALREADY_USED for a green answer at a gate whose policy is one entry, and how far
        it looked. `code_hash` is that of the scan log. Takes a few milliseconds at most; never raises.
        """


class Journal(Protocol):
    """Keeps the scan log of one worker."""

    def append(self, frames: bytes) -> None:
        """Write frames of verifier.wire.scan_log at once; never raises."""


class Calls:
    """Answers calls."""

    def __init__(
        self,
        *,
        verifier: Verifier,
        gatekeeper: Gatekeeper,
        entries: Entries | None,
        journal: Journal | None,
        counters: Counters,
    ) -> None:
        """Without `entries` a gate whose policy is one entry opens to nobody; without `journal` there is no
        scan log.
        """
        self._verifier = verifier
        self._gatekeeper = gatekeeper
        self._entries = entries
        self._journal = journal
        self.counters = counters
        self._retry_delay = RetryDelay()

    def identify(self, credentials: Credentials) -> Caller:
        """Return who calls; raises CallError. Once a call, a stream included."""
        try:
            return self._gatekeeper.identify(credentials)
        except Exception as error:  # noqa: BLE001 - as in verify_code
            raise self._failure(error, "") from None

    def verify_code(
        self, request: pb.VerifyCodeRequest, caller: Caller, where: str = ""
    ) -> pb.VerifyCodeResponse:
        """Answer one scan; raises CallError, its message naming fields behind `where`."""
        self.counters.add(Counter.CALLS)
        try:
            gate = _gate_of(request, caller)
            response = pb.VerifyCodeResponse()
            entry = self._answer(request, gate, response)
            if self._journal is not None:
                self._journal.append(entry)
        except Exception as error:  # noqa: BLE001 - an engine would send the text of what we did not foresee
            raise self._failure(error, where) from None
        return response

    def verify_codes(
        self, request: pb.VerifyCodesRequest, caller: Caller, is_active: Callable[[], bool] = lambda: True
    ) -> pb.VerifyCodesResponse:
        """Answer 1 to 1 000 scans; raises CallError.

        `is_active` tells whether anybody still waits for the answers; it is asked again and again.
        """
        self.counters.add(Counter.CALLS)
        scans = request.scans
        where = ""
        try:
            if not 1 <= len(scans) <= MAX_SCANS_PER_CALL:
                raise CallError(  # noqa: TRY301 - counted like any other
                    Status.INVALID_ARGUMENT, f"scans: expected 1 to {MAX_SCANS_PER_CALL}, got {len(scans)}"
                )
            gates = []
            for scan in scans:
                try:
                    gates.append(_gate_of(scan, caller))
                except CallError:
                    where = f"scans[{len(gates)}]."
                    raise
            response = pb.VerifyCodesResponse()
            entries: list[bytes] = []
            try:
                for position, (scan, gate) in enumerate(zip(scans, gates, strict=True)):
                    if position % _SCANS_PER_LOOK == 0 and not is_active():
                        raise late()
                    entries.append(self._answer(scan, gate, response.verdicts.add()))
            finally:
                # Also of a batch that ends in the middle: its codes are used, and its verdicts counted.
                if self._journal is not None and entries:
                    self._journal.append(b"".join(entries))
        except Exception as error:  # noqa: BLE001 - as in verify_code
            raise self._failure(error, where) from None
        return response

    def may_wait(self, caller: Caller) -> bool:
        """Tell whether a call may wait some milliseconds for Redis: an event loop takes a thread for it."""
        return self._entries is not None and caller.may_be_one_entry

    def not_ready(self) -> str | None:
        """Return what is missing for a verdict to be given now; None where nothing is. For health."""
        try:
            self._verifier.check_ready()
        except NotReady as error:
            return str(error)
        return None

    def read(self, kind: type[_Request], content: bytes, max_bytes: int) -> _Request:
        """Return the message that an engine received; raises CallError for one that is too long or none."""
        if len(content) > max_bytes:
            self.counters.add(Counter.INVALID)
            raise too_big(max_bytes)
        try:
            return kind.FromString(content)
        except DecodeError:
            self.counters.add(Counter.INVALID)
            raise CallError(Status.INVALID_ARGUMENT, f"expected a {kind.DESCRIPTOR.full_name}") from None

    def overloaded(self) -> CallError:
        """Count a call that an engine refuses because too many are waiting; return what to tell it."""
        self.counters.add(Counter.SHED)
        return CallError(
            Status.RESOURCE_EXHAUSTED,
            "overloaded: ask again after the delay",
            retry_delay_ms=self._retry_delay.next_ms(),
        )

    def _answer(self, scan: pb.VerifyCodeRequest, gate: Gate, response: pb.VerifyCodeResponse) -> bytes:
        """Fill in the response to a sound scan; return its entry for the scan log in its frame."""
        scan_id, qr_text = scan.scan_id, scan.qr_text
        answer = self._verifier.verify(qr_text, gate.policy)
        verdict = answer.verdict
        code_hash = b"" if verdict is _MALFORMED else hashlib.sha256(qr_text).digest()[:_CODE_HASH_BYTES]
        if verdict is _GREEN and gate.policy.is_one_entry:
            if self._entries is None:
                raise NotReady("this verifier does not know who has entered")
            verdict, response.entry_scope = self._entries.settle(
                answer, code_hash=code_hash, scan_id=scan_id, gate=gate
            )
        self.counters.add(verdict)
        # Also of one that is over, or not yet begun: a clock that is wrong shows here. A card is months old.
        if answer.code is not None and answer.code.kind == _PHONE:
            self.counters.code_age(answer.code_age_s)
        return frame(
            _tell(response, answer, verdict, scan_id=scan_id, gate_id=gate.gate_id, code_hash=code_hash)
        )

    def _failure(self, error: Exception, where: str) -> CallError:
        """Return what to tell the caller instead of a verdict, counted."""
        if isinstance(error, CallError):
            failure = error
            if where and error.status in (Status.INVALID_ARGUMENT, Status.PERMISSION_DENIED):
                failure = CallError(error.status, where + error.message)
        elif isinstance(error, NotReady):
            failure = CallError(Status.UNAVAILABLE, str(error))
        else:
            _log.error("scan failed", error=type(error).__name__, where=where_raised(error))
            failure = CallError(Status.INTERNAL, "the verifier failed; its log says where")
        place = _COUNTED.get(failure.status)
        if place is not None:
            self.counters.add(place)
        return failure


def late() -> CallError:
    """Return what to tell a caller whose deadline has passed."""
    return CallError(Status.DEADLINE_EXCEEDED, "the deadline passed before the work was done")


def check_id(field: str, text: str) -> None:
    """Raise CallError for an id that has a control character in it.

    With one, a frame of the scan log (verifier.wire.scan_log) could stand in an id: the length of an entry
    ends in a byte under 5. A journal whose last write ended early would be read from there on, and give an
    entry that nobody wrote, at any gate and of any credential.
    """
    # What can be printed has none, and is told in 50 nanoseconds.
    if not text.isprintable() and _CONTROL.search(text):
        raise CallError(Status.INVALID_ARGUMENT, f"{field}: expected no control characters")


def _gate_of(scan: pb.VerifyCodeRequest, caller: Caller) -> Gate:
    """Return the gate of a scan that keeps to the API; raises CallError for another."""
    scan_id, gate_id = scan.scan_id, scan.gate_id
    if not 1 <= len(scan_id) <= MAX_ID_CHARACTERS:
        raise CallError(Status.INVALID_ARGUMENT, f"scan_id: expected 1 to {MAX_ID_CHARACTERS} characters")
    if len(gate_id) > MAX_ID_CHARACTERS:
        raise CallError(Status.INVALID_ARGUMENT, f"gate_id: expected 1 to {MAX_ID_CHARACTERS} characters")
    check_id("scan_id", scan_id)
    check_id("gate_id", gate_id)
    return caller.gate(gate_id)


# Fields are set one by one, in messages that are made where they belong: 3.3 microseconds for a response in
# a batch and its entry, where keywords and copies took 4.6. (To protobuf's stubs, enums of ours are none.)
def _tell(
    response: pb.VerifyCodeResponse,
    answer: Answer,
    verdict: Verdict,
    *,
    scan_id: str,
    gate_id: str,
    code_hash: bytes,
) -> bytes:
    """Fill in what the gate is told, and return what the scan log is told."""
    entry = ScanLogEntry()
    response.scan_id = entry.scan_id = scan_id
    entry.gate_id = gate_id
    response.verdict = entry.verdict = verdict  # type: ignore[assignment]
    response.status_age_ms = entry.status_age_ms = int(answer.status_age_s * 1000)
    response.verified_at_ms = entry.verified_at_ms = int(answer.verified_at * 1000)
    entry.code_hash = code_hash
    code, record = answer.code, answer.record
    if code is not None:
        response.kind = entry.kind = code.kind  # type: ignore[assignment]
        response.code_age_s = answer.code_age_s
        if code.hint:
            response.hint = code.hint
        entry.credential_index = code.credential_index
        entry.not_before = code.not_before
        entry.expires_at = code.expires_at
    if record is not None:
        response.colour = entry.colour = record.colour  # type: ignore[assignment]
        response.colour_reason = record.reason
        response.last_negative_test = 60 * record.last_negative_test_min
    return entry.SerializeToString()
