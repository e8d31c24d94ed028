"""`python -m loadtest city`: a city without an issuer, for verifiers of a load test.

It writes the status, stays, and says every second that it is current, as an issuer does, until it is
stopped: Redis may go and come back meanwhile. What rotates in production is done at a signal:

    SIGUSR1    publish the second key, also when it is started again (publish-next-key)
    SIGUSR2    make every verifier load the whole status anew (new-epoch)
"""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from types import FrameType
from typing import NoReturn

import click
import redis
from rich.console import Console

from issuer.errors import ForeignCache
from loadtest.city import HEARTBEAT_S, City
from loadtest.city_file import CITY_NAME, GATE_ID, GATE_KEY_NAME, CityFile, CityInUse, NotACity, alone


def run(redis_url: str, *, folder: Path, credentials: int | None, is_green: bool, is_json: bool) -> int:
    """Put the city in `folder` into Redis, making it first if it is not there, and keep it current.

    Ends with 0 on Ctrl-C. Raises click.UsageError when Redis does not answer, is somebody else's, or the
    city in the folder is another one than is asked for, or another process's.
    """
    began = time.monotonic()
    try:
        # Signals first: who knows our process id may ask for something before the city is there.
        with _signals() as orders, _city(redis_url, folder, credentials, is_green=is_green) as city:
            _tell(city, folder, time.monotonic() - began, is_json=is_json)
            _stay(city, orders, Console(stderr=True, highlight=False))
    except KeyboardInterrupt:
        return 0
    except ForeignCache as error:
        raise click.UsageError(str(error)) from None


@contextmanager
def _signals() -> Iterator["SimpleQueue[int]"]:
    """Put signals into a queue, which unlike an event may be told of one while it is waited for."""
    orders: SimpleQueue[int] = SimpleQueue()

    def note(number: int, _frame: FrameType | None) -> None:
        orders.put(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGUSR1, signal.SIGUSR2)}
    try:
        yield orders
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _city(redis_url: str, folder: Path, credentials: int | None, *, is_green: bool) -> Iterator[City]:
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(alone(folder))
            city = stack.enter_context(closing(_open(redis_url, folder, credentials, is_green=is_green)))
        except (NotACity, CityInUse, ForeignCache) as error:
            raise click.UsageError(str(error)) from None
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--redis-url") from None
        except redis.RedisError as error:
            raise click.UsageError(f"Redis does not answer: {type(error).__name__}") from None
        except OSError as error:
            raise click.UsageError(f"{error.filename}: {error.strerror}") from None
        yield city


def _open(redis_url: str, folder: Path, credentials: int | None, *, is_green: bool) -> City:
    if not (folder / CITY_NAME).exists():
        return City(redis_url, folder=folder, credentials=credentials or 1_000_000, is_mixed=not is_green)
    people = CityFile.read(folder).people
    if credentials not in (None, people.credentials) or (is_green and people.is_mixed):
        what = f"{people.credentials:,} credentials, {'of all colours' if people.is_mixed else 'all green'}"
        raise click.UsageError(f"{folder} holds a city of {what}: take another folder for another city")
    return City(redis_url, folder=folder)


def _tell(city: City, folder: Path, took_s: float, *, is_json: bool) -> None:
    if is_json:
        files = {"root_key": str(city.root_file), "gate_key_file": str(folder / GATE_KEY_NAME)}
        shape = {"credentials": city.credentials, "is_mixed": city.file.people.is_mixed, "took_s": took_s}
        print(json.dumps({"pid": os.getpid(), **shape, **files, "gate_id": GATE_ID}), flush=True)
        return
    console = Console(highlight=False, soft_wrap=True)
    console.print(
        f"{city.credentials:,} credentials are in Redis, in {took_s:.1f} s. Now, with the same Redis:"
    )
    console.print(f"  gatelight-verifier serve --root-key {city.root_file} --redis-url …")
    console.print(f"  python -m loadtest corpus --city {folder} --output corpus.bin")
    console.print(f"kill -USR1 {os.getpid()} publishes the second key, -USR2 a new epoch; Ctrl-C ends it.")


def _stay(city: City, orders: "SimpleQueue[int]", console: Console) -> NoReturn:
    """Keep the status current, and do what signals ask for, when Redis is there; raises ForeignCache."""
    acts: Mapping[int, Callable[[], None]] = {
        signal.SIGUSR1: city.publish_next_key,
        signal.SIGUSR2: city.new_epoch,
    }
    to_do: list[int] = []
    was_there = True
    while True:
        with suppress(Empty):
            to_do.append(orders.get(timeout=HEARTBEAT_S))
        is_there = city.beat()
        if is_there != was_there:
            console.print("Redis is back" if is_there else "Redis does not answer: asking again every second")
            was_there = is_there
        while to_do and is_there:
            _do(acts[to_do.pop(0)], console)


def _do(act: Callable[[], None], console: Console) -> None:
    try:
        act()
        console.print(f"{act.__name__}: done")
    except redis.RedisError as error:
        console.print(f"{act.__name__}: Redis does not answer ({type(error).__name__})")
    except OSError as error:
        console.print(f"{act.__name__}: {error.filename}: {error.strerror}")
