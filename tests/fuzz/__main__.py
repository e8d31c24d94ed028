"""`python -m tests.fuzz TARGET|all [--seconds N] [--corpus DIR]`: find inputs that break what must hold.

    .tools/fuzz/bin/python -m tests.fuzz codes --seconds 60
    .tools/fuzz/bin/python -m tests.fuzz all --seconds 60             each target in turn
    .tools/fuzz/bin/python -m tests.fuzz merge --corpus build/fuzz    keep in the tree what reaches new code
    .venv/bin/python -m tests.fuzz server --engine envoy              hostile bytes on a verifier's sockets

What breaks something is kept in DIR/crashes, printed in hex, and sets the exit code to 1.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.fuzz import runner

_MAX_SHOWN_BYTES = 2_048
NOT_INSTALLED = (
    "atheris is not installed here: `make .tools/fuzz/.installed` installs it, and then it is "
    "`.tools/fuzz/bin/python -m tests.fuzz ...`"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("target", choices=[*runner.known(), "all", "merge", "server"])
    parser.add_argument("--seconds", type=int, default=60, help="for each target (default: 60)")
    parser.add_argument("--corpus", type=Path, default=Path("build/fuzz"), help="default: build/fuzz")
    parser.add_argument("--engine", choices=["grpcio", "envoy"], default="grpcio", help="of `server`")
    given = parser.parse_args(arguments)
    if given.target == "server":
        from tests.fuzz.server import main as attack

        return attack(given.engine, given.seconds)
    if not runner.is_installed():
        print(NOT_INSTALLED, file=sys.stderr)
        return 2
    if given.target == "merge":
        return _merge(given.corpus)
    names = list(runner.known()) if given.target == "all" else [given.target]
    return max(_fuzz(name, given.seconds, given.corpus) for name in names)


def _fuzz(name: str, seconds: int, folder: Path) -> int:
    outcome = runner.run(name, seconds=seconds, folder=folder)
    print(
        f"{name:<12} {outcome.executions:>12,} executions, {outcome.coverage:>5} edges, "
        f"{outcome.corpus:>5} inputs kept",
        flush=True,
    )
    if outcome.crash is None:
        if not outcome.executions:
            print(outcome.output, file=sys.stderr)
            return 1
        return 0
    content = outcome.crash.read_bytes()
    print(outcome.output, file=sys.stderr)
    print(f"{name}: {outcome.crash}\n{content[:_MAX_SHOWN_BYTES].hex()}", flush=True)
    return 1


def _merge(folder: Path) -> int:
    for name in runner.known():
        kept = runner.minimise(name, [folder / name] if (folder / name).is_dir() else [])
        print(f"{name:<12} {kept:>8,} bytes in the tree")
    return 0


if __name__ == "__main__":
    sys.exit(main())
