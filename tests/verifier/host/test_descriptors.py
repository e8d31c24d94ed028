"""How many descriptors a verifier may have, and what it says where they are too few."""

import resource

import pytest
from structlog.testing import capture_logs

from verifier.host.descriptors import raise_descriptor_limit, say_if_descriptors_are_few


def test_the_limit_is_raised_as_far_as_one_may() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, hard - 1), hard))
    raise_descriptor_limit()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)


def test_too_few_for_the_connections_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1_024, 1_024))
    with capture_logs() as logs:
        say_if_descriptors_are_few(512)
        assert not logs
        say_if_descriptors_are_few(1_024)
    (warning,) = logs
    assert (warning["limit"], warning["log_level"]) == (1_024, "warning")
    assert "--max-connections" in warning["event"]
