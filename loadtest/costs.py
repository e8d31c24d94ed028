"""What the benchmark measured that a city's plan needs; loadtest/plan.py reads it from bench.json."""

import json
import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self


class NoCosts(Exception):
    """There is no file with sound costs; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Costs:
    """Costs on the machine of the benchmark, medians, of the best engine there.

    Those of scans are of one worker, with a core of its own and the generator on another one.
    """

    machine: str  # for people
    unary_us: float  # CPU of a verifier for a unary verdict, over 500 connections
    batch_us: float  # for one in a batch of 100
    stream_us: float  # for one on a lane
    code_us: float  # CPU of an issuer for a code of a bundle
    worker_mib: float  # memory of a verifier, beside the status, by worker
    redis_bytes_a_credential: float
    redis_bytes_a_feed_entry: float  # with one change
    register_bytes_a_scan: float  # on SQLite, indices included

    @classmethod
    def read(cls, path: Path) -> Self:
        """Return the costs in a bench.json; raises NoCosts."""
        try:
            content = json.loads(path.read_text())["costs"]
            costs = cls(machine=str(content["machine"]), **{name: float(content[name]) for name in _FIGURES})
        except FileNotFoundError:
            raise NoCosts(f"there is no {path}: run `make bench` first, or name another file") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise NoCosts(
                f"{path} has no costs that can be read ({type(error).__name__}): run `make bench` again"
            ) from None
        if not all(0 < getattr(costs, name) < math.inf for name in _FIGURES):
            raise NoCosts(f"{path}: expected costs above 0")
        return costs


_FIGURES = tuple(one.name for one in fields(Costs) if one.name != "machine")
