"""The people of a city without an issuer: whose colour, state and generation follow from their number.

So nobody is kept in memory: 25 million credentials are a rule and a count.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from loadtest.specimens import Enrolled, Population
from verifier.verdict import Verdict
from verifier.wire.code import CredentialKind
from verifier.wire.status_record import RECORD_BYTES, Colour, CredentialState, StatusRecord, pack
from verifier.wire.status_store import RECORDS_PER_SHARD

# Of each hundred consecutive credentials of a mixed city.
_MIXED = (
    *([Verdict.GREEN] * 94),
    *([Verdict.YELLOW] * 3),
    *(Verdict.RED, Verdict.SUSPENDED, Verdict.REVOKED),
)
_HUNDRED = len(_MIXED)
# Hundreds take turns in how often their cards were replaced.
_GENERATIONS = 3
# Behind the last one on the register come some who have no status.
_UNHEARD_OF = 1_000
MAX_CREDENTIALS = 2**32 - _UNHEARD_OF

_COLOURS = {Verdict.YELLOW: Colour.YELLOW, Verdict.RED: Colour.RED}
_STATES = {Verdict.SUSPENDED: CredentialState.SUSPENDED, Verdict.REVOKED: CredentialState.REVOKED}


@dataclass(frozen=True, slots=True)
class People:
    """Credentials 0 to `credentials` - 1. Those of a city that is not mixed are green, of generation 1."""

    credentials: int
    is_mixed: bool

    def __len__(self) -> int:
        """Return how many there are."""
        return self.credentials

    def __getitem__(self, credential_index: int) -> Enrolled:
        """Return a credential; those beyond the last one have NO_STATUS."""
        is_there = credential_index < self.credentials
        verdict = self._verdict(credential_index) if is_there else Verdict.NO_STATUS
        return Enrolled(credential_index, self._generation(credential_index), CredentialKind.PHONE, verdict)

    def groups(self) -> Mapping[Verdict, Population]:
        """Return who gets each verdict, with some beyond the last one, who get NO_STATUS."""
        places: dict[Verdict, list[int]] = {}
        for place in range(_HUNDRED):
            places.setdefault(self._verdict(place), []).append(place)
        nobody = _Group(self, _UNHEARD_OF, lambda number: self.credentials + number)
        return {Verdict.NO_STATUS: nobody, **{verdict: self._at(of) for verdict, of in places.items()}}

    def shard(self, shard: int, *, tested_min: int) -> bytes:
        """Return the records of a shard, all with that last negative test, Unix minutes."""
        first = shard * RECORDS_PER_SHARD
        count = max(0, min(RECORDS_PER_SHARD, self.credentials - first))
        # Records repeat after so many, so that nobody has to be packed twice.
        period = _HUNDRED * _GENERATIONS
        begin = first % period
        packed = b"".join(
            self.record(index, tested_min=tested_min).to_bytes(RECORD_BYTES, "little")
            for index in range(period)
        )
        repeated = packed * (2 + count // period)
        return repeated[begin * RECORD_BYTES : (begin + count) * RECORD_BYTES]

    def record(self, credential_index: int, *, tested_min: int, colour: Colour | None = None) -> int:
        """Return a record, in another colour if one is given."""
        verdict = self._verdict(credential_index)
        return pack(
            StatusRecord(
                colour if colour is not None else _COLOURS.get(verdict, Colour.GREEN),
                _STATES.get(verdict, CredentialState.ACTIVE),
                self._generation(credential_index),
                0,
                tested_min,
            )
        )

    def _at(self, places: Sequence[int]) -> "_Group":
        """Return those at these places of each hundred; the places ascend."""
        hundreds, rest = divmod(self.credentials, _HUNDRED)

        def index_of(number: int) -> int:
            hundred, place = divmod(number, len(places))
            return hundred * _HUNDRED + places[place]

        return _Group(self, hundreds * len(places) + sum(place < rest for place in places), index_of)

    def _verdict(self, index: int) -> Verdict:
        return _MIXED[index % _HUNDRED] if self.is_mixed else Verdict.GREEN

    def _generation(self, index: int) -> int:
        return 1 + index // _HUNDRED % _GENERATIONS if self.is_mixed else 1


@dataclass(frozen=True, slots=True)
class _Group:
    """Some of them, by number."""

    people: People
    count: int
    index_of: Callable[[int], int]

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> Enrolled:
        return self.people[self.index_of(number)]
