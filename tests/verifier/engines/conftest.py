"""The engines as fixtures: each starts once a module."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from tests.verifier.engines.serving import ENGINES, Served, publish, serving
from verifier.v1 import verifier_pb2_grpc as pb_grpc


@pytest.fixture(scope="module")
def published_redis_url(shared_redis_url: str) -> str:
    """A Redis that holds a key set and statuses."""
    publish(shared_redis_url)
    return shared_redis_url


@pytest.fixture(scope="module", params=ENGINES)
def served(
    request: pytest.FixtureRequest, published_redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """A verifier that asks for no credential, on each engine in turn."""
    options: tuple[str, ...] = getattr(request.module, "OPTIONS", ())
    folder: Path = tmp_path_factory.mktemp(request.param)
    with serving(request.param, published_redis_url, folder, *options) as served:
        yield served


@pytest.fixture
def channel(served: Served) -> Iterator[grpc.Channel]:
    """A connection of the test's own."""
    with served.channel() as channel:
        yield channel


@pytest.fixture
def gate(channel: grpc.Channel) -> pb_grpc.VerifierServiceStub:
    """The calls of a gate."""
    return pb_grpc.VerifierServiceStub(channel)
