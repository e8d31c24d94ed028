"""Short trials of faults, shared by the tests of all areas: one scene for all faults that are done to one."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from loadtest.outages.fault import Fault
from loadtest.outages.faults import groups_of
from loadtest.outages.gates import Gates, gates_of
from loadtest.outages.scene import Scene
from loadtest.outages.trial import Outcome, run_trial

# Enough for two shards, and for every kind of verdict.
CREDENTIALS = 100_000
RATE = 40.0
BESIDE_S = 0.3


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Where the faults of a group are done."""

    engine: str
    faults: Sequence[Fault]


class Trials:
    """Does faults, place by place."""

    def __init__(self, new_folder: Callable[[], Path]) -> None:
        self._new_folder = new_folder
        self._open: Place | None = None
        self._stack = ExitStack()
        self._scene: Scene | None = None
        self._gates: Gates | None = None

    def outcome_of(self, place: Place, fault: Fault) -> Outcome:
        """Do a fault, for as short as it can be seen; a place where one left a disorder is set up anew."""
        if self._open is not place:
            self.close()
            builder = place.faults[0].needs
            making = builder(self._new_folder(), engine=place.engine, credentials=CREDENTIALS)
            self._scene = self._stack.enter_context(making)
            self._gates = self._stack.enter_context(gates_of(self._scene, rate=RATE))
        assert self._scene is not None
        assert self._gates is not None
        self._open = None
        outcome = run_trial(self._scene, fault, self._gates, beside_s=BESIDE_S, lasts_s=BESIDE_S)
        self._open = None if outcome.complaints else place
        return outcome

    def close(self) -> None:
        """Tear down what is there."""
        self._open = None
        self._stack.close()


def places_of(faults: Sequence[Fault], engine: str) -> Sequence[object]:
    """Return the arguments "place, fault" of a test for all of these faults that there are on an engine."""
    places = [Place(engine, group) for group in groups_of(faults, engine)]
    return [pytest.param(place, fault, id=fault.name) for place in places for fault in place.faults]
