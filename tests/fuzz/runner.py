"""Run targets under atheris, each in a process of its own, and tell what came of it."""

import hashlib
import importlib.util
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.target import Target
from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"
# An input that takes longer than any of ours by far: a finding as well.
_SLOW_S = 20
_MEMORY_MB = 2_048
# What a process takes beyond the time it was given, at most: loading, and an input under way.
_SPARE_S = 90
_NEWEST = re.compile(r"#(\d+)\s.*?cov: (\d+) ft: (\d+) corp: (\d+)/(\S+)")
_EXECUTIONS = re.compile(r"stat::number_of_executed_units:\s*(\d+)")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a run."""

    target: str
    executions: int
    coverage: int  # edges of our own code that were reached
    corpus: int  # inputs
    crash: Path | None  # the input that broke something
    output: str  # the end of what was said


def run(name: str, *, seconds: int, folder: Path) -> Outcome:
    """Fuzz a target for so long; `folder` takes its corpus and the crashes. Raises FileNotFoundError."""
    target = TARGETS[name]
    corpus = folder / name
    corpus.mkdir(parents=True, exist_ok=True)
    crashes = folder / "crashes"
    crashes.mkdir(exist_ok=True)
    before = set(crashes.iterdir())
    with tempfile.TemporaryDirectory() as temporary:
        seeds = Path(temporary)
        for number, seed in enumerate(target.seeds()):
            (seeds / str(number)).write_bytes(seed)
        options = [
            *(
                f"-max_total_time={seconds}",
                f"-max_len={target.max_bytes}",
                f"-artifact_prefix={crashes}/{name}-",
            ),
            *(f"-timeout={_SLOW_S}", f"-rss_limit_mb={_MEMORY_MB}", "-print_final_stats=1"),
            *_dictionary(target, seeds),
        ]
        kept = [str(CORPUS / name)] if (CORPUS / name).is_dir() else []
        output = _guided(name, [*options, str(corpus), str(seeds), *kept], timeout_s=seconds + _SPARE_S)
    crash = next(iter(sorted(set(crashes.iterdir()) - before)), None)
    return Outcome(name, *_figures(output), len(list(corpus.iterdir())), crash, output[-4_000:])


def minimise(name: str, sources: Sequence[Path]) -> int:
    """Keep in the tree what is needed of its corpus and of `sources` for all they reach; return its bytes."""
    kept = CORPUS / name
    kept.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        merged = Path(temporary)
        _guided(
            name,
            ["-merge=1", f"-max_len={TARGETS[name].max_bytes}", str(merged), str(kept), *map(str, sources)],
            timeout_s=600,
        )
        contents = [path.read_bytes() for path in merged.iterdir()]
    if contents:
        for path in kept.iterdir():
            path.unlink()
    for content in contents:
        write_input(kept, content)
    return sum(map(len, contents))


def write_input(folder: Path, content: bytes) -> None:
    """Write an input under the name that libFuzzer would give it."""
    (folder / hashlib.sha1(content, usedforsecurity=False).hexdigest()).write_bytes(content)


def _guided(name: str, arguments: Sequence[str], *, timeout_s: int) -> str:
    command = [sys.executable, "-m", "tests.fuzz.guided", name, *arguments]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout_s, check=False
    )
    return done.stdout.decode(errors="replace")


def _dictionary(target: Target, folder: Path) -> Sequence[str]:
    if not target.words:
        return ()
    path = folder.with_name(f"{folder.name}.words")
    path.write_text(
        "".join('"{}"\n'.format("".join(f"\\x{byte:02x}" for byte in word)) for word in target.words)
    )
    return (f"-dict={path}",)


def _figures(output: str) -> tuple[int, int]:
    found = _NEWEST.findall(output)
    told = _EXECUTIONS.findall(output)
    executions = int(told[-1]) if told else int(found[-1][0]) if found else 0
    return executions, int(found[-1][1]) if found else 0


def is_installed() -> bool:
    """Tell whether atheris is there."""
    return importlib.util.find_spec("atheris") is not None


def known() -> Mapping[str, Target]:
    """Return the targets by name."""
    return TARGETS
