"""What a scenario is: a crowd over time, what it holds under the scanners, what is done to the servers
meanwhile, and what must come of it. loadtest/scenarios.py has ours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

FLAVOURS = ("unary", "batch", "stream")


@dataclass(frozen=True, slots=True)
class Act:
    """Something that is done to the servers, at a fraction of the run from 0 to 1."""

    at: float
    name: str  # one of ACTS


# What a hand on the servers can do. "crowd-changes-key" is no hand's: from then on, codes are of the corpus's
# second key.
ACTS = (
    *("freeze-verifier", "thaw-verifier", "start-verifier"),
    *("freeze-redis", "thaw-redis", "kill-redis", "start-redis"),
    *("publish-next-key", "crowd-changes-key", "new-epoch"),
)


@dataclass(frozen=True, slots=True)
class Threshold:
    """A measure of a recording (loadtest/measures.py) and its limit."""

    measure: str
    limit: float
    is_floor: bool = False  # the limit is the least, not the most


@dataclass(frozen=True, slots=True)
class Scenario:
    """A morning."""

    name: str
    about: str  # what it replays, and its public source, for people
    # (fraction of the run, share of the people a minute), linear in between; from (0, …) to (1, …).
    profile: Sequence[tuple[float, float]]
    mix: Mapping[str, int]  # kinds of loadtest/corpus.py
    people_a_minute: float  # at the peak, unless the user says otherwise: what 2 cores hold
    thresholds: Sequence[Threshold]
    acts: Sequence[Act] = field(default=())
    duration_s: float = 60.0
    sites: int = 16  # connections
    # (fraction of the run, share of the sites that are open), as profile; sites open a connection each.
    openings: Sequence[tuple[float, float]] = ((0.0, 1.0), (1.0, 1.0))
    deadline_s: float = 5.0  # of one attempt
    attempts: int = 1  # at most; each follows the one before at once
