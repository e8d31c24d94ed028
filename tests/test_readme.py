"""The README tells the truth: its commands exist, with the options it gives them."""

import re
import shlex
import subprocess
from pathlib import Path

import click
import pytest

import issuer.cli
import loadtest.__main__
import verifier.cli
from tests.fuzz.__main__ import NOT_INSTALLED

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
LOAD_OPTIONS = (ROOT / "loadtest/crowd/options.py").read_text(encoding="utf-8")
COMMANDS = {
    "gatelight-issuer": issuer.cli.main,
    "gatelight-verifier": verifier.cli.main,
    "-m loadtest": loadtest.__main__.main,
}


def lines_of_code_blocks() -> list[str]:
    blocks = re.findall(r"^```\w*\n(.*?)^```$", README, flags=re.DOTALL | re.MULTILINE)
    return [line for block in blocks for line in block.splitlines()]


def command_lines() -> list[str]:
    starts = tuple(f"{name} " for name in COMMANDS)
    lines = (re.sub(r"^(\.venv/bin/)?python ", "", line) for line in lines_of_code_blocks())
    return [line for line in lines if line.startswith(starts)]


def parse(line: str) -> click.Context:
    """Let click read a command line of the README as it would when it is typed; raises click.UsageError."""
    name = next(name for name in COMMANDS if line.startswith(f"{name} "))
    words = [word for word in shlex.split(line.removeprefix(name), comments=True) if word != "&"]
    command: click.Command = COMMANDS[name]
    context = click.Context(command, info_name=name)
    while isinstance(command, click.Group):
        found, subcommand, words = command.resolve_command(context, words)
        assert subcommand is not None, f"{line}: {found}"
        command = subcommand
        context = click.Context(command, parent=context, info_name=found)
    command.parse_args(context, words)
    return context


def test_there_are_commands_to_test() -> None:
    assert len(command_lines()) >= 10


@pytest.mark.parametrize("line", command_lines())
def test_each_command_is_understood(line: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "day.csv").touch()
    (tmp_path / "build/load/monday-0830").mkdir(parents=True)
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda _: "what was asked for")
    parse(line)


def test_a_command_with_an_option_that_does_not_exist_would_be_found() -> None:
    with pytest.raises(click.UsageError):
        parse("gatelight-verifier serve --no-such-option")


def test_each_make_target_exists_and_is_explained() -> None:
    named = set(re.findall(r"\bmake ([a-z]+)\b", "\n".join(lines_of_code_blocks())))
    listed = subprocess.run(["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    explained = dict(re.findall(r"^  make ([a-z]+) +(.+)$", listed.stdout, flags=re.MULTILINE))
    assert {"demo", "test"} <= named <= set(explained)
    wanted = {"demo", "test", "lint", "protos", "vectors", "check", "bench", "load", "clean"}
    assert wanted <= set(explained)


def test_what_fuzzes_is_started_where_it_is_installed() -> None:
    lines = [line for line in lines_of_code_blocks() if " -m tests.fuzz " in line]
    assert lines
    for line in lines:
        folder = ".venv" if " -m tests.fuzz server " in line else ".tools/fuzz"
        assert line.startswith(f"{folder}/bin/python -m tests.fuzz ")
    for target in (".tools/fuzz/.installed", "fuzz SECONDS=7"):
        assert f"make {target.replace('7', '60')}" in README
        command = ["make", "-n", "-W", "uv.lock", *target.split()]
        planned = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        assert "--group fuzz" in planned
        assert ("-m tests.fuzz all --seconds 7" in planned) == ("SECONDS" in target)


def test_whoever_fuzzes_without_it_is_told_how_to_install_it() -> None:
    assert "`make .tools/fuzz/.installed`" in NOT_INSTALLED


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#]+)\)", README))
def test_each_link_leads_to_a_file(link: str) -> None:
    assert (ROOT / link).exists()


@pytest.mark.parametrize("variable", sorted(set(re.findall(r"GATELIGHT_[A-Z_]+[A-Z]", README))))
def test_each_variable_is_read_by_the_program(variable: str) -> None:
    if variable.startswith("GATELIGHT_LOAD_"):
        assert f'add("{variable.removeprefix("GATELIGHT_LOAD_").lower()}"' in LOAD_OPTIONS
        return
    sources = [path.read_text() for folder in ("issuer", "verifier") for path in (ROOT / folder).glob("*.py")]
    assert any(variable in source for source in sources)


@pytest.mark.parametrize("line", [line for line in lines_of_code_blocks() if line.startswith("locust ")])
def test_each_option_that_locust_is_given_is_ours_or_its_own(line: str) -> None:
    # Locust itself cannot be asked: it patches the process that imports it.
    own = {"host", "headless", "master", "master-host", "worker", "expect-workers"}
    given = set(re.findall(r"--([a-z-]+)", line))
    assert {name for name in given - own if f'"{name}"' not in LOAD_OPTIONS} == set()
