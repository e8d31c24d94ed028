"""What can go wrong behind a gate, and how an operator sees it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

from loadtest.outages.scene import Scene

# What a verifier's metrics say: by name, with labels as Prometheus writes them: 'x_total{verdict="GREEN"}'.
Metrics = Mapping[str, float]


class Meanwhile(Enum):
    """What is right to answer honest gates while a fault lasts."""

    AS_EVER = "as ever"  # the verdict that the code has without the fault
    CLOSED = "closed"  # UNAVAILABLE: nobody can know


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault; struck and healed in the main thread: servers die with the thread that started them."""

    name: str  # as in the table: "redis-killed"
    meaning: str  # for people, one line
    strike: Callable[[Scene], object]  # returns when the fault is there; raises ProcessError
    heal: Callable[[Scene], object]  # returns when its cause is gone; raises ProcessError
    # Whether a verifier's metrics say that something is wrong; None for what is to go by unnoticed.
    sign: Callable[[Metrics], bool] | None
    meanwhile: Meanwhile = Meanwhile.AS_EVER
    engines: tuple[str, ...] = ("grpcio", "envoy")
    lasts_s: float = 3.0  # in the short version, at least
