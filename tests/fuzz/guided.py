"""One target under atheris: `python -m tests.fuzz.guided TARGET` and the options of libFuzzer."""

import sys

import atheris  # not in the tests' environment: see the group `fuzz` in pyproject.toml

with atheris.instrument_imports(include=["verifier", "issuer.archive.entries", "issuer.archive.stream"]):
    from tests.fuzz.target import say_nothing
    from tests.fuzz.targets import TARGETS


def main() -> None:
    """Fuzz until told to stop."""
    target = TARGETS[sys.argv[1]]
    say_nothing()
    # libFuzzer starts itself anew to merge: what stands first becomes the begin of a shell's line.
    itself = f"{sys.executable} -m tests.fuzz.guided {target.name}"
    atheris.Setup([itself, *sys.argv[2:]], target.run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
