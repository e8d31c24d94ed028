"""What does not grow with the city: more workers, more credentials, and changes that reach every worker."""

import time
from functools import partial
from typing import Any

import redis

from loadtest.bench.answers import WrongAnswer
from loadtest.bench.gates import Gates
from loadtest.bench.loads import Throughput
from loadtest.bench.measured import Measured, Ratio, in_turns
from loadtest.bench.result import Result
from loadtest.bench.running import Server
from loadtest.bench.setting import LARGE, MIDDLE, SMALL, Setting
from loadtest.process_tree import pss_mib
from verifier.verdict import Verdict
from verifier.wire.status_record import RECORD_BYTES, Colour
from verifier.wire.status_store import (
    EPOCH_FIELD,
    RECORDS_PER_SHARD,
    UPDATES_FIELD,
    encode_updates,
    new_epoch,
    status_key,
)

# So many a connection that making it counts little; a call of the naive one takes several times as long.
_CALLS, _NAIVE_CALLS = 20_000, 8_000
_ROUNDS = 3  # they take seconds each
_CHANGES = 80
# Each connection is some worker's; that 16 all miss one of two is a chance of 1 in 32 768.
_GATES = 16
_LOAD_PER_S = 20 * 100  # scans, at 20 changes a second: one in a hundred
_CHANGE_EVERY_S = 0.05
_WAIT_S = 10
# What Python, Envoy and all that is loaded take beside the status, by worker and engine.
_MIB_A_WORKER = {"grpcio": 80, "envoy": 140}
_WORKERS = 4
_FEED, _FEED_ENTRIES = "a feed", 5_000


def throughput(setting: Setting, result: Result) -> float:
    """Add verdicts a second over 500 connections, nothing pinned; return those of two workers."""
    loads, best = setting.loads(), setting.best
    servers: dict[str, tuple[Server, int]] = {
        f"{best}, 1 worker": (setting.verifier(best), _CALLS),
        f"{best}, 2 workers": (setting.verifier(best, workers=2), _CALLS),
        "naive, 1 process": (setting.naive(), _NAIVE_CALLS),
    }
    found: dict[str, list[Throughput]] = {name: [] for name in servers}
    for _ in range(_ROUNDS):
        for name, (server, calls) in servers.items():
            found[name].append(loads.unary_throughput(server, calls))
    per_s, cpu = {}, {}
    for name, rounds in found.items():
        what = f"{name}, 500 connections"
        per_s[name] = Measured(f"verdicts a second, {what}", "1/s", tuple(one.per_s for one in rounds))
        cpu[name] = Measured(f"unary, {what}, server CPU", "µs", tuple(one.cpu_us for one in rounds))
        result.add("whole machine", per_s[name], cpu[name])
    one, two, naive = servers
    what = f"verdicts a second, {two} / 12 000"
    result.ratio(Ratio.of("whole machine", what, per_s[two], 12_000, aim=1, is_floor=True))
    # With a core each, two workers give what the CPU of a verdict leaves; here the generator has its share.
    together = tuple(2 * a / b for a, b in zip(cpu[one].samples, cpu[two].samples, strict=True))
    what = "verdicts of a core-second, two workers together / one"
    result.ratio(Ratio("whole machine", what, together, aim=1.9, is_floor=True))
    result.ratio(Ratio.of("naive", f"verdicts a second: {one} / naive", per_s[one], per_s[naive]))
    return per_s[two].median


def size(setting: Setting, result: Result) -> None:
    """Add what a scan costs among more credentials, and how long they take to load."""
    measured = {
        records: (setting.loads(records), setting.verifier(setting.best, credentials=records))
        for records in (SMALL, MIDDLE, LARGE)
    }
    turns = in_turns(
        {records: partial(loads.batch_us, one) for records, (loads, one) in measured.items()}, _ROUNDS
    )
    found = {
        records: Measured(f"a verdict in a batch, {records:,} credentials, server CPU", "µs", samples)
        for records, samples in turns.items()
    }
    result.add("size", *found.values())
    for records in (MIDDLE, LARGE):
        what = f"a scan among {records:,} / among {SMALL:,} credentials"
        result.ratio(Ratio.of("size", what, found[records], found[SMALL], aim=1.1))
    loaded_in = measured[LARGE][1].loaded_in
    result.add("size", loaded_in)
    result.ratio(Ratio.of("size", f"mirror of {LARGE:,} loaded and served / 5 s", loaded_in, 5, aim=1))


def status_change(setting: Setting, result: Result) -> None:
    """Add the times from a change in Redis to its verdict at every worker, under load."""
    city, verifier = setting.city(), setting.verifier(setting.best, workers=2)
    qr_text, samples = city.code(1), []
    with (
        Gates(verifier.address, count=_GATES, key=city.gate_key) as gates,
        setting.loads().unary_meanwhile(verifier, per_s=_LOAD_PER_S, beside=lambda: gates.asked),
    ):
        for change in range(_CHANGES):
            colour = Colour.YELLOW if change % 2 == 0 else Colour.GREEN
            began = time.perf_counter()
            city.set_colour(1, colour)
            for gate in range(_GATES):
                while gates.ask(gate, qr_text) is not Verdict[colour.name]:
                    if time.perf_counter() - began > _WAIT_S:
                        raise WrongAnswer("a status change did not arrive")
            samples.append((time.perf_counter() - began) * 1000)
            time.sleep(_CHANGE_EVERY_S)
    what = f"status change to verdict at {_GATES} connections, under load"
    result.add("status", Measured(what, "ms", tuple(samples)))
    # Too few for a p99; what holds for the longest of them holds for it.
    longest = Measured("longest", "ms", (max(samples),))
    what = f"the longest of {_CHANGES} from status change to verdict / 200 ms, aim of p99"
    result.ratio(Ratio.of("status", what, longest, 200, aim=1))


def memory(setting: Setting, result: Result) -> None:
    """Add the memory of a verifier with all of its workers, on each engine, and note that of Redis."""
    _redis_memory(setting, result)
    status_mib = RECORD_BYTES * LARGE / 2**20
    for engine in setting.engines:
        with setting.started(engine, workers=_WORKERS, credentials=LARGE) as verifier:
            held_mib = pss_mib(verifier.process)
        held = Measured(
            f"{engine}: {_WORKERS} workers and supervisor, {LARGE:,} credentials", "MiB", (held_mib,)
        )
        result.add("memory", held)
        most_mib = status_mib + _WORKERS * _MIB_A_WORKER[engine]
        result.ratio(Ratio.of("memory", f"{held.what} / {most_mib:.0f} MiB", held, most_mib, aim=1))
        if engine == setting.best:
            result.cost("worker_mib", (held_mib - status_mib) / _WORKERS)


def _redis_memory(setting: Setting, result: Result) -> None:
    """Note what Redis holds for a credential, and for an entry of the feed with one change."""
    epoch = new_epoch(b"root key", b"rebuild").encode()
    with redis.Redis.from_url(setting.city(LARGE).redis_url) as client:
        shard_bytes = int(client.memory_usage(status_key(0, 1)) or 0)
        with client.pipeline(transaction=False) as pipeline:
            for index in range(_FEED_ENTRIES):
                fields: dict[Any, Any] = {EPOCH_FIELD: epoch, UPDATES_FIELD: encode_updates([(index, 1)])}
                pipeline.xadd(_FEED, fields)
            pipeline.execute()
        feed_bytes = int(client.memory_usage(_FEED, samples=0) or 0)
        client.delete(_FEED)
    result.cost("redis_bytes_a_credential", shard_bytes / RECORDS_PER_SHARD)
    result.cost("redis_bytes_a_feed_entry", feed_bytes / _FEED_ENTRIES)
