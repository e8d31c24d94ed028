"""One entry a window: whether a code has let somebody in already, where a gate's policy asks.

It is asked of a green alone, and last. A code is claimed by the scan that comes first, in Redis for all
verifiers; where Redis does not answer within milliseconds, among the workers of this verifier, and the reply
says so. The same scan at the same gate is the same entry: a gate that lost the answer asks again and opens.

Every entry is noted at this verifier as well, so that a Redis that goes away, or comes back empty, opens to
nobody whom this verifier has let in. A claim that Redis did not answer in time may stand there all the same,
by the scan that was answered here; it is sent again as soon as Redis answers. Until then, and for what a
worker that was killed had not sent, another verifier may let the same code in, and says that it looked at
all.
"""

from functools import partial
from pathlib import Path
from typing import Protocol

from verifier.access.callers import Gate
from verifier.access.entry_store import EntryStore
from verifier.access.entry_table import EntryTable, scan_word
from verifier.authenticate import CLOCK_SKEW_S
from verifier.counters import Counter, Counters
from verifier.service import Answer
from verifier.v1 import verifier_pb2 as pb
from verifier.verdict import Policy, Verdict
from verifier.wire.code import Code, CredentialKind


class ClaimStore(Protocol):
    """Where verifiers claim codes together: verifier.access.entry_store.EntryStore."""

    def claim(self, key: str, scan: bytes, ttl_ms: int) -> bool | None:
        """Tell whether the key is that scan's, or was another's before; None without an answer."""

    def claim_later(self, key: str, scan: bytes, ttl_ms: int) -> None:
        """Claim a key for a scan that was let in without an answer, as soon as there is one."""

    def close(self) -> None:
        """Close the connections."""


class Entries:
    """Knows which codes have let somebody in. Threads share it."""

    def __init__(self, *, store: ClaimStore, table: EntryTable, counters: Counters) -> None:
        self._store = store
        self._table = table
        self._counters = counters

    @classmethod
    def open(
        cls, *, redis_url: str, run_folder: Path, number: int, workers: int, counters: Counters
    ) -> "Entries":
        """Return the entries of worker `number` of up to `workers` that share a run folder.

        Raises OSError for a folder that cannot be used, ValueError for a URL that is not one of Redis.
        """
        table = EntryTable.open(run_folder / "entries", part=number, parts=workers)
        tell = partial(counters.set_trouble, Counter.ENTRIES_TROUBLE)
        return cls(store=EntryStore(redis_url, tell=tell), table=table, counters=counters)

    def settle(
        self, answer: Answer, *, code_hash: bytes, scan_id: str, gate: Gate
    ) -> tuple[Verdict, pb.EntryScope]:
        """Return GREEN or ALREADY_USED for a green at a one-entry gate, and how far it looked.

        `code_hash` is the 16 bytes of the scan log. Takes a few milliseconds at most; never raises.
        """
        if answer.code is None:  # not a green
            return Verdict.ALREADY_USED, pb.ENTRY_SCOPE_UNSPECIFIED
        now_ms = int(1_000 * answer.verified_at)
        ttl_ms = max(1, forget_at_ms(answer.code, gate.policy, now_ms) - now_ms)
        scan = f"{len(scan_id)}:{scan_id}@{gate.gate_id}".encode()
        key = f"{answer.code.credential_index}:{code_hash.hex()}"
        is_entry = self._store.claim(key, scan, ttl_ms)
        scope = pb.ENTRY_SCOPE_ALL
        is_unheard = is_entry is None
        if is_unheard:
            scope = pb.ENTRY_SCOPE_VERIFIER
            self._counters.add(Counter.ENTRIES_LOCAL)
        if is_entry is not False:
            is_entry = self._table.claim(code_hash, scan_word(scan), now_ms + ttl_ms, now_ms)
        if is_unheard and is_entry:
            self._store.claim_later(key, scan, ttl_ms)
        return (Verdict.GREEN if is_entry else Verdict.ALREADY_USED), scope

    def close(self) -> None:
        """Close the connections to Redis."""
        self._store.close()


def forget_at_ms(code: Code, policy: Policy, now_ms: int) -> int:
    """Return when an entry at `now_ms` with a code may be forgotten, Unix milliseconds.

    When no verifier takes the code any more, whose clock is within the skew of ours; a card of paper, whose
    window lasts for months, after the time that the policy says.
    """
    end_ms = 1_000 * (code.expires_at + 2 * CLOCK_SKEW_S)
    if code.kind is CredentialKind.PAPER:
        return min(end_ms, now_ms + 1_000 * policy.paper_entry_s)
    return end_ms
