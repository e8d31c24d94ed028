"""Run gatelight-issuer as its staff do: in this process, or as a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from issuer.cli import main
from tests.issuer.running_issuer import RunningIssuer

Run = Callable[..., Result]

ADD = ("holder", "add", "--name", "王小秀", "--document-type", "ID", "--document-number", "E12345678")


def run_alone(*arguments: object, **environment: str) -> Result:
    """Run a command without an issuer."""
    unset = {"GATELIGHT_PASSPHRASE": None, "GATELIGHT_PASSPHRASE_FILE": None}
    return CliRunner().invoke(main, [str(one) for one in arguments], env={**unset, **environment})


def runs_against(issuer: RunningIssuer) -> Run:
    """Return what runs commands as `local`, the one who sits at the issuer's machine."""

    def run(*arguments: object, **options: Any) -> Result:
        command = [str(argument) for argument in arguments]
        return CliRunner().invoke(main, command, env=environment_of(issuer), **options)

    return run


def environment_of(issuer: RunningIssuer) -> dict[str, str]:
    """Return what a command needs in its environment to find the issuer."""
    return {"GATELIGHT_ISSUER_FOLDER": str(issuer.folder.path)}


def start(issuer: RunningIssuer, *arguments: object, **options: Any) -> "subprocess.Popen[str]":
    """Start a command as a process of its own, its output in pipes unless `options` say otherwise."""
    piped: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(
        [sys.executable, "-m", "issuer", *map(str, arguments)],
        env={**os.environ, **environment_of(issuer)},
        **(piped | options),
    )


def read_json(result: Result) -> dict[str, Any]:
    """Return the one object that a command printed."""
    assert result.exit_code == 0, result.output
    loaded: dict[str, Any] = json.loads(result.stdout)
    return loaded


def read_lines(result: Result) -> list[dict[str, Any]]:
    """Return the objects that a command printed, one a line."""
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def write_lines(path: Path, lines: Sequence[str]) -> Path:
    """Write a file of lines, and return where it is."""
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path
