"""A stream to ship to, and shippers and a journal that are closed at the end."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.verifier.journal.scans import Stream, open_journal
from verifier.journal.journal import Journal
from verifier.journal.shipper import Shipper


@pytest.fixture
def stream(redis_url: str) -> Iterator[Stream]:
    stream = Stream(redis_url)
    yield stream
    stream.redis.close()


@pytest.fixture
def start_shipper(tmp_path: Path, redis_url: str) -> Iterator[Callable[..., Shipper]]:
    with contextlib.ExitStack() as stack:

        def start(folder: Path = tmp_path, url: str = redis_url, **settings: int) -> Shipper:
            shipper = Shipper(folder, redis_url=url, **settings)  # type: ignore[arg-type]
            stack.callback(shipper.close)
            return shipper

        yield start


@pytest.fixture
def shipper(start_shipper: Callable[..., Shipper]) -> Shipper:
    return start_shipper()


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = open_journal(tmp_path)
    yield journal
    journal.close()
