"""`python -m loadtest canary`: names, numbers, codes and keys are where they belong, and nowhere else.

People with names that turn up nowhere by chance are enrolled, shown, scanned, turned red and erased; servers
are killed, Redis goes and comes, a scan fails inside the verifier. Then every byte is searched that was
written, logged, sent to Redis or a collector, or lies in a process's arguments.
"""

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from rich.table import Table

from loadtest.canary.listening import Collector
from loadtest.canary.needles import Kind, Needles
from loadtest.canary.people import KEPT
from loadtest.canary.places import Place, Places
from loadtest.canary.playing import CanaryStage, Play, can_trace
from loadtest.embedded_redis import free_port

_PLANTED = "a log with a name planted in it"


def run(*, engines: Sequence[str], is_short: bool = False) -> int:
    """Do everything and search everywhere; return the exit code: 1 where something was found, 2 where the
    search would not have found it.
    """
    console = Console(highlight=False)
    needles, places = Needles(), Places()
    with tempfile.TemporaryDirectory(prefix="gatelight-canary-") as name, ExitStack() as stack:
        trace = stack.enter_context(Collector()) if can_trace() else None
        _play(Path(name), engines, needles, places, trace, is_short=is_short)
        places.add(_PLANTED, f'{{"event": "x", "name": "{KEPT.name.encode().hex()}"}}')
        found = places.search(needles)
    (planted,) = [place for place in found if place.name == _PLANTED]
    found = [place for place in found if place is not planted]
    console.print(_table(found))
    for place in found:
        for kind in place.hits:
            console.print(f"[red]{kind.value} in {place.name}:[/] {', '.join(sorted(place.where[kind])[:5])}")
    for place in found:
        for kind, reason in place.allowed.items():
            if place.found[kind]:
                console.print(f"  {place.name}: {kind.value}: {reason}")
    if planted.hits[Kind.NAME] != 1:
        console.print("[red]What was planted was not found: this search proves nothing.[/]")
        return 2
    console.print(f"What was planted in a log was found. Looked for: {_describe(needles)}.")
    return _verdict(console, found)


def _play(
    folder: Path,
    engines: Sequence[str],
    needles: Needles,
    places: Places,
    trace: Collector | None,
    *,
    is_short: bool,
) -> None:
    metrics = f"127.0.0.1:{free_port()}"
    stage = CanaryStage(folder, issuer_options=("--metrics-listen", metrics))
    try:
        play = Play(stage, needles, places, is_short=is_short)
        archive = play.archive()
        try:
            play.staff_work()
            card = play.cards(1)
            for engine in engines:
                play.gates_work(engine, card, trace)
            play.wait_until_archived()
            play.endings()
            play.collect(metrics, archive)
        finally:
            archive.stop()
    finally:
        stage.close()
    play.collect_what_stays(trace)


def _verdict(console: Console, found: Sequence[Place]) -> int:
    """Say what came of it, and return the exit code."""
    hit = [place.name for place in found if place.hits]
    if hit:
        console.print(f"[red]Found where it should not be: in {len(hit)} of {len(found)} places.[/]")
        return 1
    console.print("Nothing was found where it should not be.")
    return 0


def _table(found: Sequence[Place]) -> Table:
    table = Table("place", "bytes looked at", "meant to be there", "hits", box=None, title="Searched")
    for place in found:
        meant = ", ".join(kind.value for kind in place.allowed if place.found[kind])
        hits = place.hits.total()
        table.add_row(place.name, f"{place.looked_at:,}", meant, f"[red]{hits}[/]" if hits else "0")
    return table


def _describe(needles: Needles) -> str:
    return ", ".join(f"{count} of {kind.value}" for kind, count in needles.kinds.items())
