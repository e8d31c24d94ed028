"""The state of a running verifier on one page, for a person, or as data. Pure but for the console."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from verifier.health_rules import Problem, in_words, is_serving, lasting, problems
from verifier.seen_metrics import SeenMetrics

if TYPE_CHECKING:
    from rich.console import Console

_METHODS = ("VerifyCode", "VerifyCodes", "StreamVerify")
_STATES = {"ok": ("OK", "bold green"), "degraded": ("DEGRADED", "bold yellow")} | {
    "not_serving": ("NOT SERVING", "bold red")
}
_NAME_WIDTH = 12


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the page: a part, the sentence, and the numbers in it; None where one was not told."""

    name: str
    text: str
    values: Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class Page:
    """What there is to see."""

    state: str  # ok, degraded, not_serving
    version: str
    engine: str
    lines: Sequence[Line]
    problems: Sequence[Problem]

    @classmethod
    def of(cls, seen: SeenMetrics, before: SeenMetrics | None = None) -> "Page":
        """Make it of one look or, for what happens in a second, of two."""
        found = problems(seen, before)
        state = "not_serving" if not is_serving(seen) else "degraded" if found else "ok"
        return cls(
            state,
            next(iter(seen.by_label("info", "version")), "?"),
            next(iter(seen.by_label("info", "engine")), "?"),
            _lines(seen, None if before is None else seen.since(before)),
            found,
        )

    def to_json(self) -> Mapping[str, Any]:
        """Return it as data."""
        return {
            "state": self.state,
            "version": self.version,
            "engine": self.engine,
            **{line.name.replace(" ", "_"): _values_to_json(line.values) for line in self.lines},
            "problems": [_problem_to_json(problem) for problem in self.problems],
        }

    def print(self, console: "Console") -> None:
        """Print it; in colours where that is a terminal."""
        from rich.text import Text  # noqa: PLC0415 - it takes a while

        word, style = _STATES[self.state]
        console.print(
            Text.assemble((word, style), f"  gatelight-verifier {self.version}, engine {self.engine}")
        )
        for line in self.lines:
            console.print(Text(f"  {line.name:<{_NAME_WIDTH}} {line.text}"), soft_wrap=True)
        for text in _together(self.problems):
            console.print(Text.assemble(("! ", style), text), soft_wrap=True)


def _values_to_json(values: Mapping[str, float | None]) -> Mapping[str, float | None]:
    """Return counts as the whole numbers that they are; times and shares may be between them."""
    told: dict[str, float | None] = {}
    for name, value in values.items():
        is_count = value is not None and not name.endswith(("_s", "_ratio")) and float(value).is_integer()
        told[name] = value if value is None else int(value) if is_count else float(value)
    return told


def _problem_to_json(problem: Problem) -> Mapping[str, Any]:
    return {
        "part": problem.part,
        "kind": problem.kind,
        "since_s": problem.since_s,
        "text": problem.text,
    }


def _together(found: Sequence[Problem]) -> Iterator[str]:
    """Yield each problem; those of several parts that have one cause as one, with a line for each part."""
    for place, problem in enumerate(found):
        if problem.of_part is None:
            yield problem.text
            continue
        cause, advice = problem.of_part.cause, problem.of_part.advice
        alike = [
            (one.of_part, one.since_s)
            for one in found
            if one.of_part is not None and (one.of_part.cause, one.of_part.advice) == (cause, advice)
        ]
        if len(alike) == 1:
            yield problem.text
        elif not any(one.of_part == alike[0][0] for one in found[:place]):
            longest_s = max((since_s for _, since_s in alike if since_s is not None), default=None)
            parts = [f"    {part.name:<{_NAME_WIDTH}} {part.effect}" for part, _ in alike]
            yield "\n".join([f"{cause}{lasting(longest_s)}:", *parts, f"  {advice}"])


def _lines(seen: SeenMetrics, counted: SeenMetrics | None) -> Sequence[Line]:
    lines = [
        _status(seen),
        _signed(seen, "key set", "key_set"),
        _signed(seen, "gate list", "gate_list"),
        _workers(seen),
        _calls(seen, counted),
        _verdicts(seen, counted),
        *(line for method in _METHODS if (line := _latency(seen, counted, method)) is not None),
        _refused(seen, counted),
        _scan_log(seen),
    ]
    if (age_s := seen.value("kept_state_age_seconds")) is not None:
        lines.append(Line("kept state", f"{in_words(age_s)} old", {"age_s": age_s}))
    if (count := seen.value("descriptors_open")) is not None:
        limit = seen.value("descriptors_limit")
        values = {"open": count, "limit": limit}
        lines.append(Line("descriptors", f"{count:.0f} of {limit or 0:.0f} in the fullest worker", values))
    lines.append(_clock(seen))
    if (left_s := seen.value("tls_certificate_left_seconds")) is not None:
        lines.append(Line("certificate", _ends(left_s), {"left_s": left_s}))
    return lines


def _status(seen: SeenMetrics) -> Line:
    age_s, lag_s = seen.value("status_age_seconds"), seen.value("feed_lag_seconds")
    size, reply_s = seen.value("mirror_bytes"), seen.value("redis_reply_seconds")
    loads, gaps = seen.value("mirror_loads_total"), seen.value("feed_gaps_total")
    refused = seen.value("feed_refused_total")
    age = "none yet" if age_s is None else f"{in_words(age_s)} old"
    text = f"{age}, {in_words(lag_s or 0)} behind the feed, {_size(size or 0)}, loaded {_times(loads or 0)}"
    if gaps:
        text += f", fell off the feed {_times(gaps)}"
    if refused:
        text += f", refused {refused:.0f} entries of the feed"
    return Line(
        "status",
        text,
        {
            "age_s": age_s,
            "feed_lag_s": lag_s,
            "mirror_bytes": size,
            "mirror_loads": loads,
            "feed_gaps": gaps,
            "feed_refused": refused,
            "redis_reply_s": reply_s,
        },
    )


def _signed(seen: SeenMetrics, name: str, metric: str) -> Line:
    version, left_s = seen.value(f"{metric}_version"), seen.value(f"{metric}_left_seconds")
    text = f"version {version:.0f}, {_ends(left_s)}" if version and left_s is not None else "none"
    values = {"version": version, "left_s": left_s}
    if metric == "key_set":
        starts_in_s = values["starts_in_s"] = seen.value("key_set_starts_in_seconds")
        if starts_in_s:
            text += f", not in force for another {in_words(starts_in_s)}"
        refused = values["refused"] = seen.value("key_sets_refused_total")
        if refused:
            text += f", {refused:.0f} refused"
    return Line(name, text, values)


def _workers(seen: SeenMetrics) -> Line:
    serving, wanted = seen.value("workers_serving") or 0, seen.value("workers")
    restarts, skew = seen.value("worker_restarts_total"), seen.value("worker_skew_ratio")
    text = f"{serving:.0f} of {wanted or 0:.0f} serve, {restarts or 0:.0f} died and were started again"
    values = {
        "serving": serving,
        "wanted": wanted,
        "restarts": restarts,
        "skew_ratio": skew,
        "outdated": seen.value("workers_outdated"),
    }
    return Line("workers", text, values)


def _calls(seen: SeenMetrics, counted: SeenMetrics | None) -> Line:
    calls, rate = _count(seen, counted, "calls_total")
    in_flight, streams = seen.value("in_flight") or 0, seen.value("streams_open") or 0
    text = f"{_so_many(calls, rate)}; {in_flight:.0f} in flight, {streams:.0f} streams open"
    values = {"count": calls, "per_s": rate, "in_flight": in_flight, "streams_open": streams}
    return Line("calls", text, values)


def _verdicts(seen: SeenMetrics, counted: SeenMetrics | None) -> Line:
    counts = (counted or seen).by_label("verdicts_total", "verdict")
    given = sorted(((count, verdict) for verdict, count in counts.items() if count), reverse=True)
    over_s = 1.0 if counted is None else counted.over_s
    text = ", ".join(f"{verdict} {count / over_s:.0f}" for count, verdict in given)
    when = "since the start" if counted is None else "a second"
    return Line("verdicts", f"{text} {when}" if text else "none", counts)


def _latency(seen: SeenMetrics, counted: SeenMetrics | None, method: str) -> Line | None:
    p50_s = (counted or seen).quantile("call_seconds", 0.5, method=method)
    p99_s = (counted or seen).quantile("call_seconds", 0.99, method=method)
    if p50_s is None or p99_s is None:
        return None
    text = f"half within {_milliseconds(p50_s)}, 99 % within {_milliseconds(p99_s)}"
    return Line(method, text, {"p50_s": _finite(p50_s), "p99_s": _finite(p99_s)})


def _refused(seen: SeenMetrics, counted: SeenMetrics | None) -> Line:
    values: dict[str, float | None] = {}
    said = []
    for name in ("shed", "unauthenticated", "denied", "invalid", "failed"):
        count, rate = _count(seen, counted, f"{name}_total")
        values[name] = count if rate is None else rate
        if values[name]:
            said.append(f"{name} {values[name]:.0f}{'' if rate is None else ' a second'}")
    return Line("refused", ", ".join(said) or "none", values)


def _scan_log(seen: SeenMetrics) -> Line:
    waiting, behind_s = seen.value("journal_waiting_bytes"), seen.value("journal_unshipped_seconds")
    failed, dropped = seen.value("journal_failed_total"), seen.value("journal_dropped_bytes_total")
    damaged = seen.value("journal_damaged_bytes_total")
    values = {
        "waiting_bytes": waiting,
        "unshipped_s": behind_s,
        "failed": failed,
        "dropped_bytes": dropped,
        "damaged_bytes": damaged,
    }
    if waiting is None or behind_s is None:
        return Line("scan log", "none is kept", values)
    text = f"{_size(waiting)} wait for the archive, all was in Redis {in_words(behind_s)} ago"
    if failed:
        text += f"; {failed:.0f} scans could not be written"
    if dropped:
        text += f"; {_size(dropped)} were removed unshipped"
    if damaged:
        text += f"; {_size(damaged)} were damaged"
    return Line("scan log", text, values)


def _clock(seen: SeenMetrics) -> Line:
    step_s, redis_s = seen.value("clock_step_seconds"), seen.value("clock_redis_seconds")
    text = f"leapt by {in_words(step_s)}" if step_s else "steady"
    if redis_s is not None:  # it is on another machine, and answers: why it does not, stands below
        text += f", {in_words(redis_s)} from Redis's"
    return Line("clock", text, {"step_s": step_s, "redis_s": redis_s})


def _count(seen: SeenMetrics, counted: SeenMetrics | None, name: str) -> tuple[float, float | None]:
    """Return a count since the start, and how much of it there is in a second."""
    count = seen.total(name)
    return count, None if counted is None else counted.total(name) / counted.over_s


def _so_many(count: float, rate: float | None) -> str:
    return f"{count:.0f} since the start" if rate is None else f"{rate:.0f} a second"


def _ends(left_s: float) -> str:
    return f"ends in {in_words(left_s)}" if left_s > 0 else f"ended {in_words(-left_s)} ago"


def _times(count: float) -> str:
    return "once" if count == 1 else f"{count:.0f} times"


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:g} ms" if _finite(seconds) is not None else "more than 2.5 s"


def _finite(seconds: float) -> float | None:
    return seconds if seconds != float("inf") else None


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"
