"""From a QR text to the whole answer: the pipeline of a scan, whatever serves it.

now      = clock()                                once
code     = authenticate(qr_text, key_set, now)    pure
record   = mirror.look_up(credential_index)       memory
verdict  = decide(code, record, policy, now)      pure
"""

from collections.abc import Callable
from dataclasses import dataclass

from verifier.authenticate import authenticate
from verifier.errors import NotReady
from verifier.key_set_follower import KeySets
from verifier.mirror import Mirror
from verifier.verdict import Policy, Verdict, decide, read_record, reject
from verifier.wire.code import Code
from verifier.wire.errors import CodeError, OutsideWindow
from verifier.wire.status_record import StatusRecord


@dataclass(frozen=True, slots=True)
class Answer:
    """A verdict with what a gate may be told beside it."""

    verdict: Verdict
    code: Code | None  # None: not authentic
    record: StatusRecord | None  # None: not in its window, or there is no sound one
    code_age_s: int  # since the window began; 0 without a code
    status_age_s: float
    verified_at: float  # Unix seconds


class Verifier:
    """Answers scans. Safe to call from many threads at once: it takes no lock and changes nothing."""

    def __init__(
        self, *, key_sets: KeySets, mirror: Mirror, policy: Policy, clock: Callable[[], float]
    ) -> None:
        """`clock` returns Unix seconds."""
        self._key_sets = key_sets
        self._mirror = mirror
        self._policy = policy
        self._clock = clock

    def verify(self, qr_text: bytes) -> Answer:
        """Return the answer to one scan; raises NotReady when there can be none."""
        clock_s = self._clock()
        now = int(clock_s)
        try:
            code = authenticate(qr_text, self._key_sets.in_force(now), now)
        except OutsideWindow as error:
            return self._rejection(error, error.code, clock_s)
        except CodeError as error:
            return self._rejection(error, None, clock_s)
        bits, status_age_s = self._mirror.look_up(code.credential_index)
        record = read_record(bits)
        verdict = decide(code, record, status_age_s, self._policy, now)
        return Answer(verdict, code, record, now - code.not_before, status_age_s, clock_s)

    def check_ready(self) -> None:
        """Raise NotReady when there can be no verdict now; the message says what is missing."""
        self._key_sets.in_force(int(self._clock()))
        if not self._mirror.is_loaded:
            raise NotReady("the status mirror is not loaded yet")

    def _rejection(self, error: CodeError, code: Code | None, clock_s: float) -> Answer:
        code_age_s = int(clock_s) - code.not_before if code else 0
        return Answer(reject(error), code, None, code_age_s, self._mirror.status_age_s(), clock_s)
