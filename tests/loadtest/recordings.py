"""Recordings of runs that never were, for the tests of the report."""

import math
import random
from collections import Counter
from collections.abc import Sequence

from loadtest.latency import Latencies
from loadtest.recording import (
    Ceiling,
    DoneAct,
    Generator,
    Plan,
    Recording,
    Second,
    ServerSample,
    ThresholdResult,
    WrongVerdict,
)

BEGAN_AT = 1_700_000_000.4
_VERDICTS = {
    "GREEN": 90,
    "RED": 3,
    "YELLOW": 2,
    "EXPIRED": 2,
    "BAD_SIGNATURE": 1,
    "MALFORMED": 1,
    "REPLACED": 1,
}


def plan(duration_s: float = 60.0, scenario: str = "monday-0830") -> Plan:
    return Plan(
        scenario=scenario,
        about="A first Monday: ten times the arrivals within a minute (a city's report).",
        people_a_minute=120_000,
        duration_s=duration_s,
        flavour="batch",
        arrivals="poisson",
        sites=16,
        max_in_flight=2_000,
        deadline_s=5.0,
        attempts=2,
    )


def second(due: int, *, middle_ms: float = 2.0, rng: random.Random, failed: int = 0) -> Second:
    """A second in which all but `failed` scans came back right, within some `middle_ms`."""
    made = Second(
        due=due, sent=due, right=due - failed, failed=failed, in_flight=int(due * middle_ms / 1000) + 1
    )
    made.generator_cpu_s = due * 0.0001
    made.verdicts = Counter({name: due * share // 100 for name, share in _VERDICTS.items()})
    made.honest, made.hostile = Latencies(), Latencies()
    for number in range(min(due, 200)):
        latencies = made.hostile if number % 10 == 0 else made.honest
        latencies.record(rng.lognormvariate(math.log(middle_ms / 1000), 0.5))
    made.honest.pack()
    made.hostile.pack()
    return made


def monday() -> Recording:
    """A step, and a verifier that stands still for five seconds, is killed, and is started anew."""
    rng = random.Random(1)
    recording = Recording(plan(), BEGAN_AT)
    for number in range(61):
        due = 200 if number < 18 or number > 42 else 2_000
        made = second(int(due * {0: 0.6, 60: 0.4}.get(number, 1)), rng=rng)
        if 25 <= number < 30:
            made.right, made.verdicts = 0, Counter()
            made.honest = Latencies()
            for _ in range(200):
                made.honest.record(30 - number + rng.random() / 10)
            made.held, made.in_flight = 1_200, 2_000
            made.missed_by_server, made.failed = 40, 15
            made.errors = Counter({"UNAVAILABLE": 12, "DEADLINE_EXCEEDED": 15})
            made.retries = 20
        if number == 30:
            made.right, made.wrong, made.late, made.missed = 8_000, 2, 31, 3
        recording.seconds[int(BEGAN_AT) + number] = made
    recording.machine = {
        "cores": "2",
        "processor": "Some CPU at 3 GHz",
        "Python": "3.11.2",
        "grpcio": "1.85.1",
        "Locust": "2.44.0",
        "commit": "233337a, and changes that are not committed",
    }
    recording.generators = [Generator("generator-1", 0.93, 8), Generator("generator-2", 0.71, 8)]
    recording.wrong = [
        WrongVerdict("s-4711", "expired", "EXPIRED", "GREEN"),
        WrongVerdict("s-4712", "red", "RED", "GREEN"),
    ]
    recording.acts = [
        DoneAct("freeze-verifier", BEGAN_AT + 25.0, 0.015),
        DoneAct("publish-next-key", BEGAN_AT + 26.0, 0.120),
        DoneAct("crowd-changes-key", BEGAN_AT + 27.5, 0.0),
        DoneAct("thaw-verifier", BEGAN_AT + 30.0, 0.012),
        DoneAct("kill-redis", BEGAN_AT + 56.0, 0.012),
        DoneAct("start-redis", BEGAN_AT + 58.0, 0.4),
    ]
    recording.servers = _samples(range(61))
    recording.ceiling = Ceiling(8_400.0, 2)
    recording.thresholds = [
        ThresholdResult("honest_p99_ms", 150, is_floor=False, value=4_830.0, is_met=False),
        ThresholdResult("wrong", 0, is_floor=False, value=2, is_met=False),
        ThresholdResult("missed_by_server", 0, is_floor=False, value=200, is_met=False),
        ThresholdResult("per_s", 900, is_floor=True, value=1_013.4, is_met=True),
    ]
    recording.limited_by = "server: verifier-1 used 1.0 of 2 cores while scans waited for it"
    return recording


def _samples(numbers: Sequence[int]) -> list[ServerSample]:
    """Three servers; the verifier stands still from 25 to 30 and is another process from 45 on."""
    samples = []
    used_s = {"verifier-1": 3.0, "redis": 1.0, "issuer": 5.0}
    for number in numbers:
        at = BEGAN_AT + number
        is_frozen, is_gone = 25 <= number < 30, 40 < number < 45
        used_s["verifier-1"] = 0.4 if number == 45 else used_s["verifier-1"] + (0 if is_frozen else 0.6)
        used_s["redis"] += 0.05
        used_s["issuer"] += 0.01
        if not is_gone:
            pid = 1 if number < 45 else 2
            samples.append(ServerSample("verifier-1", at, used_s["verifier-1"], 180 + number / 10, 60, pid))
        samples.append(ServerSample("redis", at, used_s["redis"], 25.0, 22))
        samples.append(ServerSample("issuer", at, used_s["issuer"], 95.0, 31))
    return samples


def held() -> Recording:
    """Ten seconds in which nothing went wrong."""
    rng = random.Random(2)
    recording = Recording(plan(10.0, "steady"), BEGAN_AT)
    recording.seconds = {int(BEGAN_AT) + number: second(1_000, rng=rng) for number in range(11)}
    recording.machine = {"cores": "2", "commit": "233337a"}
    recording.generators = [Generator("generator-1", 0.5, 16)]
    recording.thresholds = [ThresholdResult("honest_p99_ms", 150, is_floor=False, value=6.5, is_met=True)]
    return recording


def day() -> Recording:
    """A day of which a second of each minute is recorded, with few scans."""
    rng = random.Random(3)
    recording = Recording(plan(86_400.0, "soak"), BEGAN_AT)
    made = [second(50, middle_ms=1 + number / 5, rng=rng) for number in range(20)]
    for number in range(0, 86_400, 60):
        recording.seconds[int(BEGAN_AT) + number] = made[rng.randrange(20)]
    for number in range(0, 86_400, 60):
        at = BEGAN_AT + number
        recording.servers.append(ServerSample("verifier-1", at, number * 0.3, 200 + number / 10_000, 60))
    recording.acts = [DoneAct(f"act-{number}", BEGAN_AT + number * 9_000, 1.0) for number in range(9)]
    return recording


def one_second() -> Recording:
    recording = Recording(plan(1.0), BEGAN_AT)
    recording.seconds = {int(BEGAN_AT): second(100, rng=random.Random(4))}
    return recording


def empty() -> Recording:
    return Recording(plan(10.0), BEGAN_AT)
