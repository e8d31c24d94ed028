"""What a generating process tells the master about once a second."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from loadtest.recording import Second, WrongVerdict


@dataclass(frozen=True, slots=True)
class Report:
    """What came since the one before; sites, cpu_s and longest_pause_s are of the whole run so far."""

    run: str  # one of an earlier run is nothing to this one
    number: int  # from 1 on, so that one that got lost is missed
    seconds: Mapping[int, Second]  # by Unix time; several parts of a second add up
    wrong: Sequence[WrongVerdict]
    problems: Sequence[str]  # why the run proves nothing
    sites: int  # that it opened
    cpu_s: float
    longest_pause_s: float  # for which its event loop did not turn
    is_last: bool

    def to_json(self) -> dict[str, Any]:
        """Return what Locust can carry."""
        return {
            **{name: getattr(self, name) for name in self.__slots__},
            # Its messages have no numbers for keys.
            "seconds": [[at, second.to_json()] for at, second in self.seconds.items()],
            "wrong": [asdict(one) for one in self.wrong],
            "problems": list(self.problems),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Return what to_json wrote."""
        return cls(
            **{
                **content,
                "seconds": {at: Second.from_json(second) for at, second in content["seconds"]},
                "wrong": [WrongVerdict(**one) for one in content["wrong"]],
            }
        )
