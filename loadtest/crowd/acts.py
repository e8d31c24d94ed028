"""Does to the servers what the scenario says, when it says so, by the user's command."""

import shlex
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import gevent

from loadtest.crowd import command
from loadtest.crowd.options import CHANGES_KEY
from loadtest.recording import DoneAct
from loadtest.scenario import Act

_TIMEOUT_S: Final = 20
# What an act leaves behind, by its first word, and what puts that right.
_PUT_RIGHT: Final = {"freeze": "thaw", "kill": "start"}


def carry_out_all(
    acts: Sequence[Act],
    *,
    began_at: float,
    duration_s: float,
    hand: str,
    now: Callable[[], float],
    done: Callable[[DoneAct], None],
) -> None:
    """Carry out acts at their moments, `began_at` by the clock `now`; tells of each as soon as it is done."""
    for act in sorted(acts, key=lambda act: act.at):
        at = began_at + act.at * duration_s
        while (ahead_s := at - now()) > 0:
            gevent.sleep(ahead_s)
        done(carry_out(act.name, hand, now))


def carry_out(name: str, hand: str, now: Callable[[], float]) -> DoneAct:
    """Carry out one act; takes 20 s at most."""
    at = now()
    # The generators do that themselves.
    problem = "" if name == CHANGES_KEY else _ask(hand, name)
    return DoneAct(name, at, now() - at, problem)


def left_undone(acts: Iterable[Act], *, until: float, done: Iterable[str]) -> Sequence[str]:
    """Return which acts are still needed where a run was stopped: nothing of the user's stays frozen or dead.

    `until` is the fraction of the run that has passed: what was due by then may have begun. `done` has the
    names of those that were done without a problem.
    """
    begun = [act.name.partition("-") for act in acts if act.at <= until]
    needed = [f"{_PUT_RIGHT[verb]}-{what}" for verb, _, what in begun if verb in _PUT_RIGHT]
    return [name for name in needed if name not in set(done)]


def _ask(hand: str, name: str) -> str:
    """Return why it could not be done; "" when it is."""
    try:
        ended = command.run([*shlex.split(hand), name], _TIMEOUT_S)
    except OSError as error:
        return f"{hand}: {error.strerror}"
    if ended is None:
        return f"no answer within {_TIMEOUT_S} s"
    if ended.exit_code == 0:
        return ""
    return ended.said[-1].strip() if ended.said else f"exit code {ended.exit_code}"
