"""Short trials of faults, shared by the tests of all areas: one scene for all faults that are done to one."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from loadtest.outages.fault import ENGINES, Fault, SceneBuilder
from loadtest.outages.gates import Gates, gates_of
from loadtest.outages.scene import Scene
from loadtest.outages.trial import run_trial

# Enough for two shards, and for every kind of verdict.
CREDENTIALS = 100_000
# Of the gates of each engine.
RATE = 15.0
BESIDE_S = 0.3
LOOK_S = 0.2


class Trials:
    """Does faults to both engines at once, on a scene that they share."""

    def __init__(self, builder: SceneBuilder, new_folder: Callable[[], Path]) -> None:
        self._builder = builder
        self._new_folder = new_folder
        self._stack = ExitStack()
        self._open: tuple[Scene, Mapping[str, Gates]] | None = None

    def complaints_of(self, fault: Fault) -> Mapping[str, Sequence[str]]:
        """Do a fault, for as short as it can be seen, and return the complaints of each engine that has any.

        A scene that one left in disorder is set up anew for the next.
        """
        scene, gates = self._open or self._set_up()
        self._open = None
        outcomes = run_trial(scene, fault, gates, beside_s=BESIDE_S, lasts_s=BESIDE_S, look_s=LOOK_S)
        assert [outcome.engine for outcome in outcomes] == [*ENGINES]
        complaints = {outcome.engine: outcome.complaints for outcome in outcomes if outcome.complaints}
        if not complaints:
            self._open = scene, gates
        return complaints

    def close(self) -> None:
        """Tear down what is there."""
        self._open = None
        self._stack.close()

    def _set_up(self) -> tuple[Scene, Mapping[str, Gates]]:
        self.close()
        making = self._builder(self._new_folder(), engines=ENGINES, credentials=CREDENTIALS)
        scene = self._stack.enter_context(making)
        return scene, self._stack.enter_context(gates_of(scene, rate=RATE))
