"""When a verifier is well, by what it tells Prometheus: the one table of `gatelight-verifier status`.

The thresholds are also those of the alert rules, which are written from them. Of what a rule asks in a second
or as a share it is told by two looks alone: counts since the start say nothing of now. Pure.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, Self, TypeVar

from verifier.trouble import Part, Trouble

# The issuer's heartbeat comes every second; changes of colour are late by what is above it.
STATUS_OLD_S = 5.0
# How far the mirror may be behind what Redis has.
FEED_LAG_S = 5.0
# How long a part may fail before anybody is told: a failover takes some seconds. For alerts; `status` tells
# sooner, but not of a single miss.
TROUBLE_S = 15.0
TROUBLE_TOLD_S = 1.0
# Key set and gate list are valid for 30 days and signed anew long before.
KEY_SET_LEFT_S = 7 * 86_400.0
GATE_LIST_LEFT_S = 7 * 86_400.0
CERTIFICATE_LEFT_S = 7 * 86_400.0
# It is half a second while all is well.
SCAN_LOG_UNSHIPPED_S = 30.0
# The archive takes all within seconds, and may be started again.
SCAN_LOG_UNARCHIVED_S = 300.0
# The mirror is saved every five minutes.
KEPT_STATE_OLD_S = 900.0
# Of the descriptors that a worker may have.
DESCRIPTORS_SHARE = 0.9
# The verifier goes by a steady clock of its own; windows of codes allow for 30 s.
CLOCK_STEP_S = 1.0
CLOCK_REDIS_S = 5.0
# A look at the key set takes a millisecond; a claim for one entry has 5 ms.
REDIS_SLOW_S = 0.1
# Of the calls that may wait. Where they wait, gates wait.
BACKLOG_SHARE = 0.5
# Refused because too many waited: one is a burst.
SHED_PER_S = 1.0
# Calls of gates that nobody knows: one may have an old key.
UNKNOWN_GATES_PER_S = 1.0
# A gate waits for less than anybody notices, of 99 calls in 100; batches take longer. Bound of a bucket.
CALL_P99_S = 0.1
# The share of PHONE codes that come before their time by more than CODE_EARLY_S, or after it by more than
# CODE_LATE_S. Some phones are always wrong; when many are, it is our clock, or the issuer's. Bounds of
# buckets, too.
CODE_EARLY_S = 10.0
CODES_EARLY_SHARE = 0.05
CODE_LATE_S = 120.0
CODES_LATE_SHARE = 0.2
# The share of codes that no key in force has signed.
CODES_FORGED_SHARE = 0.1
# Alerts look at minutes, we at a second: fewer that are wrong are chance, whatever their share.
LEAST_FOR_SHARE = 5
# For alerts: the busiest worker's share over the mean.
WORKER_SKEW_RATIO = 3.0
# For alerts: one-entry verdicts without Redis, of which a few come of a reply that took 5 ms.
ENTRIES_LOCAL_PER_S = 0.1


class Seen(Protocol):
    """What a verifier told: verifier.seen_metrics.SeenMetrics."""

    over_s: float  # of what since() returns

    def value(self, name: str, **labels: str) -> float | None:
        """Return a metric, named without the prefix; None where it was not told."""

    def total(self, name: str) -> float:
        """Return the sum of a metric over all its labels."""

    def since(self, before: Self) -> Self:
        """Return what was counted from an earlier moment to this one."""


_Seen = TypeVar("_Seen", bound=Seen)


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, for people and programs."""

    part: str
    kind: str
    since_s: float | None  # for how long; None where that is not known
    text: str  # what it is, what it means for the gates, and what to do
    of_part: "OfPart | None" = None  # where it is trouble of a part: what its text is made of


@dataclass(frozen=True, slots=True)
class OfPart:
    """Trouble of a part. What has one cause and is to be mended in one way may be told together."""

    name: str  # of the part, in words
    cause: str
    effect: str  # what it means for the gates
    advice: str


@dataclass(frozen=True, slots=True)
class _Rule:
    """A metric and the values of it that are wrong."""

    part: str
    kind: str
    name: str  # without the prefix
    is_wrong: Callable[[float], bool]
    text: str  # {value} is that of the metric in words, {name} its name
    is_age: bool = False  # the value says for how long


# What fails, in words.
_CAUSES = {
    Trouble.REDIS_UNREACHABLE: "Redis cannot be reached (refused, reset, no route or no master)",
    Trouble.REDIS_TIMEOUT: "Redis does not answer (timeout)",
    Trouble.REDIS_LOADING: "Redis is loading its data",
    Trouble.REDIS_READ_ONLY: "Redis takes no writes (it is a replica)",
    Trouble.REDIS_OUT_OF_MEMORY: "Redis is out of memory",
    Trouble.REDIS_STOPS_WRITES: (
        "Redis takes no writes for now (its dump fails, MISCONF, or it has too few replicas, NOREPLICAS)"
    ),
    Trouble.REDIS_REFUSED: "Redis refuses us",
    Trouble.NOT_STATUS: "what lies in Redis is not what the issuer writes",
    Trouble.NOT_TRUSTED: "what lies in Redis is not signed by whom it must be",
    Trouble.OUTDATED: "what lies in Redis is older than what we have, or over",
    Trouble.NOT_THERE: "Redis has none: it is empty, or was emptied",
    Trouble.DISK_FULL: "the disk is full",
    Trouble.DISK: "the disk fails, or may not be written",
    Trouble.STALLED: "it hangs",
    Trouble.OTHER: "it fails",
}
# What to do about it.
_ADVICE = {
    Trouble.REDIS_UNREACHABLE: (
        "is Redis running where --redis-url says? or TLS is spoken where there is none, or it is no Cluster"
    ),
    Trouble.REDIS_TIMEOUT: (
        "does `redis-cli ping`, to the Redis of --redis-url, come back? look at its machine and the network; "
        "or TLS is spoken where there is none, or it is no Cluster"
    ),
    Trouble.REDIS_LOADING: "it ends by itself; Redis needs no disk here, so `save ''` spares that",
    Trouble.REDIS_READ_ONLY: "name its master in --redis-url, or its Sentinels",
    Trouble.REDIS_OUT_OF_MEMORY: "give it more maxmemory; is `gatelight-issuer archive` running?",
    Trouble.REDIS_STOPS_WRITES: (
        "the verifier's log says which: make room on its disk, or spare the dump (`save ''`), as Redis needs "
        "none here; or bring its replicas back"
    ),
    Trouble.REDIS_REFUSED: "look at user, password and ACL; the verifier's log names the error",
    Trouble.NOT_STATUS: "find who else writes there, then `gatelight-issuer cache check --apply`",
    Trouble.NOT_TRUSTED: (
        "find who writes there; `gatelight-issuer cache check --apply` brings the right one back"
    ),
    Trouble.OUTDATED: (
        "was Redis set back, or the issuer's register, or a clock? `gatelight-issuer cache check --apply` "
        "brings the right one back"
    ),
    Trouble.NOT_THERE: "is the issuer running? it writes all anew by itself",
    Trouble.DISK_FULL: "make room",
    Trouble.DISK: "look at the folder, its owner and its mount",
    Trouble.STALLED: "look at disk and network; restart the verifier if it stays",
    Trouble.OTHER: "the verifier's log says where",
}
_PARTS = {
    Part.KEY_SET: "key set",
    Part.GATE_LIST: "gate list",
    Part.MIRROR: "mirror",
    Part.SCAN_LOG: "scan log",
    Part.KEPT_STATE: "kept state",
    Part.JOURNAL: "journal",
    Part.ENTRIES: "one entry",
}
# What that means for the gates.
_EFFECTS = {
    Part.KEY_SET: "gates go on by the key set at hand until it ends, and do not hear of revoked keys",
    Part.GATE_LIST: "gates go on by the list at hand until it ends, changes of it do not arrive",
    Part.MIRROR: "verdicts go on from the mirror, changes of colour do not arrive",
    Part.SCAN_LOG: "verdicts go on, scans wait in the journal and are not in the archive",
    Part.KEPT_STATE: "verdicts go on, but a start without Redis would find older status, or none",
    Part.JOURNAL: "verdicts go on, and their scans are lost to the scan log",
    Part.ENTRIES: "one entry is watched over by this verifier alone: another one may let the same code in",
}
# And while there are no verdicts.
_EFFECTS_WITHOUT_VERDICTS = {
    Part.MIRROR: "changes of colour do not arrive",
    Part.SCAN_LOG: "scans wait in the journal and are not in the archive",
    Part.KEPT_STATE: "a start without Redis would find older status, or none",
    Part.JOURNAL: "scans are lost to the scan log",
}
# Kinds of problems that follow from trouble with the same part.
_FOLLOWING = ("old", "unshipped", "unarchived", "slow")
# A call of theirs is one scan.
_SHORT_METHODS = ("VerifyCode", "StreamVerify")
_FORGED = ("BAD_SIGNATURE", "UNKNOWN_KEY")
_NO_MIRROR = "there is no mirror yet, so there are no verdicts"
_NO_KEY_SET = "there is no key set yet, so there are no verdicts"
_NO_GATE_LIST = "there is no gate list yet: gates that are known by it alone get no verdict"
_STRANGE_ROOT = "is --root-key of this issuer? if it is, find who writes there"
# Why the issuer's heartbeats do not get through, wherever we meet it. An entry has 5 ms, which says nothing.
_ENDS_HEARTBEATS = (
    Trouble.REDIS_UNREACHABLE,
    Trouble.REDIS_TIMEOUT,
    Trouble.REDIS_LOADING,
    Trouble.REDIS_OUT_OF_MEMORY,
    Trouble.REDIS_STOPS_WRITES,
)

_OLD_BECAUSE = (
    "the status is {value} old because {because}: changes of colour do not arrive, and gates that ask for "
    "fresh status close"
)

_RULES = (
    _Rule(
        "workers", "outdated", "workers_outdated", lambda value: value > 0,
        "{value} workers run with an older configuration: a reload is under way, or its workers do not "
        "serve; the log says why",
    ),
    _Rule(
        "mirror", "old", "status_age_seconds", lambda value: value > STATUS_OLD_S,
        "the status is {value} old: changes of colour do not arrive, and gates that ask for fresh status "
        "close; is the issuer running, and Redis?",
        is_age=True,
    ),
    _Rule(
        "mirror", "lag", "feed_lag_seconds", lambda value: value > FEED_LAG_S,
        "the mirror is {value} behind the feed in Redis: changes of colour come late; it catches up by "
        "itself, if the machine has the time",
    ),
    _Rule(
        "key_set", "ending", "key_set_left_seconds", lambda value: 0 < value <= KEY_SET_LEFT_S,
        "the key set ends in {value}, and then all gates close: have a new one signed "
        "(`gatelight-issuer key list`, `key-set export`)",
    ),
    _Rule(
        "key_set", "ended", "key_set_left_seconds", lambda value: value <= 0,
        "the key set has ended: all gates are closed until the root has signed a new one "
        "(`gatelight-issuer key-set export`, `sign`, `import`)",
    ),
    _Rule(
        "key_set", "not_yet", "key_set_starts_in_seconds", lambda value: value > 0,
        "the key set is not in force for another {value}, and until then all gates are closed: this "
        "machine's clock is slow, or the issuer's is fast; compare clocks, and set the wrong one right",
    ),
    _Rule(
        "gate_list", "ending", "gate_list_left_seconds", lambda value: 0 < value <= GATE_LIST_LEFT_S,
        "the gate list ends in {value}, and then its gates close: is the issuer running?",
    ),
    _Rule(
        "gate_list", "ended", "gate_list_left_seconds", lambda value: value <= 0,
        "the gate list has ended: its gates are closed until the issuer has signed a new one; is it running?",
    ),
    _Rule(
        "scan_log", "unshipped", "journal_unshipped_seconds", lambda value: value > SCAN_LOG_UNSHIPPED_S,
        "scans of the last {value} are not all in Redis and wait in the journal: is Redis there, and "
        "`gatelight-issuer archive` running?",
        is_age=True,
    ),
    _Rule(
        "scan_log", "unarchived", "journal_unarchived_seconds", lambda value: value > SCAN_LOG_UNARCHIVED_S,
        "the archive has not taken the scan log for {value}: is `gatelight-issuer archive` running?",
        is_age=True,
    ),
    _Rule(
        "kept_state", "old", "kept_state_age_seconds", lambda value: value > KEPT_STATE_OLD_S,
        "the mirror on the disk is {value} old: a start without Redis would begin with that",
        is_age=True,
    ),
    _Rule(
        "redis", "slow", "redis_reply_seconds", lambda value: value > REDIS_SLOW_S,
        "Redis took {value} for a reply of a millisecond: changes come late, and one entry is watched over "
        "by this verifier alone; look at its load, its slow log and the network",
    ),
    _Rule(
        "clock", "step", "clock_step_seconds", lambda value: abs(value) > CLOCK_STEP_S,
        "this machine's clock leapt by {value}; verdicts go by the time before it, for five minutes or while "
        "Redis's clock agrees with that: set the clock right",
    ),
    _Rule(
        "clock", "followed", "clock_followed_seconds", lambda value: value != 0,
        "this machine's clock leapt by {value} and did not come back, so verdicts follow it: if it is wrong, "
        "codes are refused as expired or not yet valid; compare it with another clock, and restart when it "
        "is right",
    ),
    _Rule(
        "clock", "redis", "clock_redis_seconds", lambda value: abs(value) > CLOCK_REDIS_S,
        "this verifier's time differs from Redis's by {value}: one of the two clocks is wrong, and codes are "
        "refused as expired or not yet valid if it is ours",
    ),
    _Rule(
        "certificate", "ending", "tls_certificate_left_seconds",
        lambda value: 0 < value <= CERTIFICATE_LEFT_S,
        "the TLS certificate ends in {value}, and then no gate connects: renew it, and send SIGHUP",
    ),
    _Rule(
        "certificate", "ended", "tls_certificate_left_seconds", lambda value: value <= 0,
        "the TLS certificate has ended, gates do not connect any more: renew it, and send SIGHUP",
    ),
)  # fmt: skip


def problems(seen: _Seen, before: _Seen | None = None) -> Sequence[Problem]:
    """Return all that is wrong, what matters most for the gates first.

    By two looks that is also what was wrong between them.
    """
    counted = None if before is None else seen.since(before)
    in_trouble = list(_of_parts(seen))
    parts = {problem.part for problem in in_trouble}
    because = _why_no_heartbeat(in_trouble)
    if any(problem.kind == Trouble.REDIS_TIMEOUT for problem in in_trouble):
        parts.add("redis")
    by_rules = [problem for rule in _RULES for problem in _by_rule(rule, seen, because)]
    return [
        *(one for one in _of_workers(seen) if one.part not in parts),
        *(() if counted is None else _of_answers(counted)),
        *_of_backlog(seen),
        *in_trouble,
        # What is in trouble is late as well, which says nothing more.
        *(one for one in by_rules if one.part not in parts or one.kind not in _FOLLOWING),
        *_of_descriptors(seen),
        *(() if counted is None else _of_codes(counted)),
    ]


def is_serving(seen: Seen) -> bool:
    """Tell whether any worker gives verdicts."""
    return bool(seen.value("workers_serving"))


def lasting(since_s: float | None) -> str:
    """Return for how long, to be put behind what lasts."""
    return "" if since_s is None else f" for {in_words(since_s)}"


def in_words(seconds: float) -> str:
    """Return a time in the unit that suits it: 0.25 s, 43 s, 12 min, 5.0 h, 29 days."""
    size = abs(seconds)
    for unit_s, unit, from_s in ((86_400.0, "days", 172_800), (3_600.0, "h", 7_200), (60.0, "min", 120)):
        if size >= from_s:
            count = seconds / unit_s
            return f"{count:.0f} {unit}" if abs(count) >= 10 else f"{count:.1f} {unit}"
    return f"{seconds:.0f} s" if size >= 10 else f"{seconds:.2g} s"


def _of_workers(seen: Seen) -> Iterator[Problem]:
    serving, wanted = seen.value("workers_serving") or 0, seen.value("workers") or 0
    if not serving:
        text = (
            "no worker gives verdicts, gates are closed: what is missing stands below, and in the log; if "
            "nothing is, they are just starting, or hang: then they are ended and started again in 10 s"
        )
        yield Problem("workers", "none", None, text)
    elif serving < wanted:
        text = (
            f"{serving:.0f} of {wanted:.0f} workers serve, which take the others' connections over; one that "
            "died is started again, and the log says of what"
        )
        yield Problem("workers", "few", None, text)
    # Without one there is neither, and perhaps nobody writes any.
    if not serving and not seen.value("key_set_version"):
        text = "there is no key set yet, so there are no verdicts: is the issuer running, on this Redis?"
        yield Problem(Part.KEY_SET, Trouble.NOT_THERE, None, text)


def _of_parts(seen: Seen) -> Iterator[Problem]:
    for part, name in _PARTS.items():
        since_s = seen.value("trouble_seconds", part=part)
        if since_s is not None and since_s < TROUBLE_TOLD_S:
            continue
        for kind, cause in _CAUSES.items():
            if seen.value("trouble", part=part, kind=kind):
                effect, advice = _effect(part, seen), _ADVICE[kind]
                if kind is Trouble.NOT_TRUSTED and effect == _NO_KEY_SET:
                    advice = _STRANGE_ROOT
                text = f"{name}: {cause}{lasting(since_s)}: {effect}; {advice}"
                yield Problem(part, kind, since_s, text, OfPart(name, cause, effect, advice))


def _effect(part: Part, seen: Seen) -> str:
    """Return what trouble of a part means for the gates, as far as they are open at all."""
    if part is Part.KEY_SET and not seen.value("key_set_version"):
        return _NO_KEY_SET
    if part is Part.GATE_LIST and not seen.value("gate_list_version"):
        return _NO_GATE_LIST
    if part is Part.MIRROR and seen.value("status_age_seconds") is None:
        return _NO_MIRROR
    effect = _EFFECTS[part]
    return effect if is_serving(seen) else _EFFECTS_WITHOUT_VERDICTS.get(part, effect)


def _why_no_heartbeat(in_trouble: Sequence[Problem]) -> str | None:
    causes = (
        problem.of_part.cause
        for problem in in_trouble
        if problem.of_part and problem.part != Part.ENTRIES and problem.kind in _ENDS_HEARTBEATS
    )
    return next(causes, None)


def _by_rule(rule: _Rule, seen: Seen, because: str | None) -> Iterator[Problem]:
    value = seen.value(rule.name)
    if value is None or not rule.is_wrong(value):
        return
    words = in_words(value) if rule.name.endswith("_seconds") else f"{value:.0f}"
    text = rule.text if because is None or rule.name != "status_age_seconds" else _OLD_BECAUSE
    told = text.format(value=words, because=because)
    # What is left until an end, and is less than nothing, says since when it is over.
    since_s = value if rule.is_age else -value if rule.kind == "ended" else None
    yield Problem(rule.part, rule.kind, since_s, told)


def _of_answers(counted: Seen) -> Iterator[Problem]:
    """Yield what keeps gates from being answered, or from being answered at once."""
    failed = counted.total("failed_total")
    shed, unknown = (counted.total(f"{name}_total") / counted.over_s for name in ("shed", "unauthenticated"))
    if failed > 0:
        text = (
            f"{failed:.0f} calls failed inside the verifier in {in_words(counted.over_s)}, and their gates "
            "stayed shut: a fault of ours, the log says where; report it"
        )
        yield Problem("calls", "failed", None, text)
    if shed > SHED_PER_S:
        text = (
            f"{shed:.0f} calls a second are turned away because too many wait: gates ask again, and people "
            "wait; add workers or verifiers, and see whether one client sends far more than the others"
        )
        yield Problem("calls", "shed", None, text)
    calls, in_time = (
        sum(counted.value("call_seconds_bucket", le=le, method=method) or 0.0 for method in _SHORT_METHODS)
        for le in ("+Inf", f"{CALL_P99_S:g}")
    )
    if _is_share(calls - in_time, calls, 0.01):
        text = (
            f"{calls - in_time:.0f} of {calls:.0f} scans took over {in_words(CALL_P99_S)}: people notice "
            "that the gate takes its time; see calls in flight, the processor and Redis, and add workers"
        )
        yield Problem("calls", "slow", None, text)
    if unknown > UNKNOWN_GATES_PER_S:
        text = (
            f"{unknown:.0f} calls a second come from gates that nobody knows, and get no verdict: a key was "
            "changed, or they are not on the list yet (`gatelight-issuer gate list`), or they are strangers"
        )
        yield Problem("gates", "unknown", None, text)


def _of_codes(counted: Seen) -> Iterator[Problem]:
    """Yield what is wrong with the codes that are shown."""
    codes, early, in_time = (
        counted.value("code_age_seconds_bucket", le=le) or 0.0
        for le in ("+Inf", f"{-CODE_EARLY_S}", f"{CODE_LATE_S}")
    )
    if _is_share(early, codes, CODES_EARLY_SHARE):
        text = (
            f"{early:.0f} of {codes:.0f} codes came over {in_words(CODE_EARLY_S)} before their time: people "
            "get NOT_YET_VALID; when many phones are fast, the verifier's clock is slow: compare clocks"
        )
        yield Problem("codes", "early", None, text)
    if _is_share(codes - in_time, codes, CODES_LATE_SHARE):
        text = (
            f"{codes - in_time:.0f} of {codes:.0f} codes came over {in_words(CODE_LATE_S)} after their time "
            "began: people get EXPIRED; they show screenshots, or phones have no newer codes, the issuer "
            "being away, or the verifier's clock is fast: compare clocks"
        )
        yield Problem("codes", "late", None, text)
    verdicts = counted.total("verdicts_total")
    forged = sum(counted.value("verdicts_total", verdict=verdict) or 0.0 for verdict in _FORGED)
    if _is_share(forged, verdicts, CODES_FORGED_SHARE):
        text = (
            f"{forged:.0f} of {verdicts:.0f} codes are not signed by a key in force, and let nobody in: "
            "somebody tries, or phones hold codes of a revoked key, or this verifier follows the wrong Redis"
        )
        yield Problem("codes", "forged", None, text)


def _is_share(count: float, of: float, limit: float) -> bool:
    return count >= LEAST_FOR_SHARE and count > limit * of


def _of_backlog(seen: Seen) -> Iterator[Problem]:
    in_flight, limit = seen.value("in_flight"), seen.value("backlog_limit")
    if in_flight is None or not limit or in_flight <= BACKLOG_SHARE * limit:
        return
    text = (
        f"{in_flight:.0f} calls are under way or wait, of {limit:.0f} that may: soon more are turned away; "
        "add workers or verifiers"
    )
    yield Problem("calls", "waiting", None, text)


def _of_descriptors(seen: Seen) -> Iterator[Problem]:
    count, limit = seen.value("descriptors_open"), seen.value("descriptors_limit")
    if count is None or not limit or count <= DESCRIPTORS_SHARE * limit:
        return
    text = (
        f"a worker has {count:.0f} of {limit:.0f} descriptors open: soon it takes no more connections; raise "
        "the limit (ulimit -n, LimitNOFILE), or lower --max-connections"
    )
    yield Problem("descriptors", "few", None, text)
