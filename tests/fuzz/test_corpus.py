"""What the fuzzer found its way with goes through every target again, without a fuzzer."""

from collections.abc import Iterator

import pytest
import structlog

from tests.fuzz import runner
from tests.fuzz.target import say_nothing
from tests.fuzz.targets import TARGETS


@pytest.fixture(autouse=True, scope="module")
def _quiet() -> Iterator[None]:
    kept = structlog.get_config()
    say_nothing()
    yield
    structlog.configure(**kept)


@pytest.mark.parametrize("name", TARGETS)
def test_every_input_of_the_corpus_keeps_to_what_must_hold(name: str) -> None:
    target = TARGETS[name]
    kept = sorted((runner.CORPUS / name).iterdir())
    assert kept
    for content in (*target.seeds(), *(path.read_bytes() for path in kept)):
        try:
            target.run(content)
        except Exception as error:
            raise AssertionError(content.hex()) from error


def test_the_corpus_is_small() -> None:
    files = [path for path in runner.CORPUS.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 200_000
    assert {path.parent.name for path in files} == set(TARGETS)
