"""From a QR text to the whole answer: the pipeline of a scan, whatever serves it.

now      = clock()                                once
code     = open_code(qr_text, key_set)            pure, or remembered
           check_window(code, now)                pure
record   = mirror.look_up(credential_index)       memory
verdict  = decide(code, record, policy, now)      pure
"""

from collections.abc import Callable
from typing import NamedTuple

from verifier.authenticate import check_window, open_code
from verifier.errors import NotReady
from verifier.key_set_follower import KeySets
from verifier.known_codes import KnownCodes
from verifier.mirror import StatusMirror
from verifier.verdict import Policy, Verdict, decide, read_record, reject
from verifier.wire.code import Code
from verifier.wire.errors import CodeError, OutsideWindow
from verifier.wire.key_set import KeySet
from verifier.wire.status_record import StatusRecord


class Answer(NamedTuple):
    """A verdict with what a gate may be told beside it. A tuple, for speed, as verifier.wire.code.Code is."""

    verdict: Verdict
    code: Code | None  # None: not authentic
    record: StatusRecord | None  # None: not in its window, or there is no sound one
    code_age_s: int  # since the window began; 0 without a code
    status_age_s: float
    verified_at: float  # Unix seconds


class Verifier:
    """Answers scans. Safe to call from many threads at once: it takes no lock."""

    def __init__(
        self,
        *,
        key_sets: KeySets,
        mirror: StatusMirror,
        clock: Callable[[], float],
        known_codes: KnownCodes | None = None,
    ) -> None:
        """`clock` returns Unix seconds. Without `known_codes` every signature is verified."""
        self._known_codes = known_codes
        self._key_sets = key_sets
        self._mirror = mirror
        self._clock = clock

    def verify(self, qr_text: bytes, policy: Policy) -> Answer:
        """Return the answer to one scan at a gate of that policy; raises NotReady when there can be none."""
        clock_s = self._clock()
        now = int(clock_s)
        try:
            code = self._open(qr_text, self._key_sets.in_force(now))
            check_window(code, now)
        except OutsideWindow as error:
            return self._rejection(error, error.code, clock_s)
        except CodeError as error:
            return self._rejection(error, None, clock_s)
        bits, status_age_s = self._mirror.look_up(code.credential_index)
        record = read_record(bits)
        verdict = decide(code, record, status_age_s, policy, now)
        return Answer(verdict, code, record, now - code.not_before, status_age_s, clock_s)

    def check_ready(self) -> None:
        """Raise NotReady when there can be no verdict now; the message says what is missing."""
        self._key_sets.in_force(int(self._clock()))
        if not self._mirror.is_loaded:
            raise NotReady("the status mirror is not loaded yet")

    def _open(self, qr_text: bytes, key_set: KeySet) -> Code:
        """Return the code whose signature is right, from memory where it is known; raises CodeError."""
        known_codes = self._known_codes
        if known_codes is None:
            return open_code(qr_text, key_set)[0]
        code = known_codes.find(qr_text, key_set)
        if code is None:
            code, key_id, key = open_code(qr_text, key_set)
            known_codes.remember(qr_text, key_id, key, code)
        return code

    def _rejection(self, error: CodeError, code: Code | None, clock_s: float) -> Answer:
        code_age_s = int(clock_s) - code.not_before if code else 0
        return Answer(reject(error), code, None, code_age_s, self._mirror.status_age_s(), clock_s)
