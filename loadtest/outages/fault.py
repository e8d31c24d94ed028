"""What can go wrong behind a gate, and how an operator sees it."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol

from loadtest.outages.scene import Metrics, Scene
from loadtest.outages.tls_scene import tls_scene

__all__ = ["ENGINES", "Fault", "Meanwhile", "Metrics", "SceneBuilder"]

ENGINES = ("grpcio", "envoy")


class Meanwhile(Enum):
    """What is right to answer honest gates while a fault lasts."""

    AS_EVER = "as ever"  # the verdict that the code has without the fault
    CLOSED = "closed"  # UNAVAILABLE: nobody can know


class SceneBuilder(Protocol):
    """Sets up a scene with verifiers that answer, and tears it down; raises ProcessError."""

    def __call__(
        self, folder: Path, *, engines: Sequence[str], credentials: int
    ) -> AbstractContextManager[Scene]:
        """`engines` have a verifier each, or more, and so many credentials are in the city."""


def _nothing(_: Scene) -> None:
    """The healing takes the cause away at once."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault, done to the verifiers of all engines in a scene at once.

    It is struck and healed in the main thread: servers die with the thread that started them.
    """

    name: str  # as in the table: "redis-killed"
    meaning: str  # for people, one line
    strike: Callable[[Scene], object]  # returns when the fault is there; raises ProcessError
    heal: Callable[[Scene], object]  # returns when its cause is gone; raises ProcessError
    # Whether a verifier's metrics say that something is wrong (signs.py); gone again after the healing. They
    # are empty while it does not answer.
    sign: Callable[[Metrics], bool] | None = None
    # Or a counter that tells of it: it is higher than before the fault, and stays so. Without either, the
    # fault is to go by unnoticed.
    rises: str | None = None
    meanwhile: Meanwhile = Meanwhile.AS_EVER
    lasts_s: float = 0.3  # at least, also in the short version
    # Faults with the same builder are done to one scene, one after the other; each leaves it as it was.
    needs: SceneBuilder = tls_scene
    # What the healing begins with; when it returns, the cause is still there. Raises ProcessError.
    prepare_heal: Callable[[Scene], object] = _nothing
    # To strike and to heal, verifiers are started anew: until gates are connected again, calls wait until
    # their deadline. It is there when verifiers listen: what metrics said before was of the stop.
    is_by_start: bool = False
    # Done to one engine after the other (Scene.engines_struck): the verifiers of the others stand in.
    is_in_turn: bool = False

    @property
    def is_closed(self) -> bool:
        """Whether gates get no verdicts meanwhile."""
        return self.meanwhile is Meanwhile.CLOSED

    @property
    def is_to_be_noticed(self) -> bool:
        """Whether metrics have to tell of it."""
        return self.sign is not None or self.rises is not None
