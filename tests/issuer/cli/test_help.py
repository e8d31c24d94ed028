"""Every command explains itself, with an example that it would take."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from issuer.cli import main
from tests.issuer.cli.commands import run_alone

PROGRAM = "gatelight-issuer"
# The commands that the product promises.
PROMISED = {
    "": "init serve archive completion",
    "holder": "add import show list erase",
    "credential": "issue show replace suspend resume revoke list",
    "status": "set import show history verify-history reasons",
    "test": "import",
    "key": "list prepare activate retire revoke drill",
    "key-set": "show export sign import",
    "cache": "rebuild check",
    "scan": "search stats suspects purge purges",
    "code": "show save",
    "bundle": "issue",
    "client": "add list revoke",
    "approval": "list show approve reject",
    "call": "list",
    "gate": "add renew drop-credential move remove list",
    "group": "add set remove list",
    "register": "migrate backup restore",
}


def walk(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if not isinstance(command, click.Group):
        yield path
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        assert found is not None
        yield from walk(found, (*path, name))


COMMANDS = list(walk(main))


def examples(command: tuple[str, ...]) -> list[str]:
    text = " ".join(run_alone(*command, "--help").output.split("Options:")[0].split())
    return re.findall(rf"Example: ({PROGRAM} .+?)(?= Example: |$)", text)


def parse(line: str) -> None:
    """Let click read a command line as it would when it is typed; raises click.UsageError."""
    words = shlex.split(line.removeprefix(PROGRAM).split(" > ")[0])
    command: click.Command = main
    context = click.Context(command, info_name=PROGRAM)
    while isinstance(command, click.Group):
        name, found, words = command.resolve_command(context, words)
        assert found is not None, line
        command = found
        context = click.Context(command, parent=context, info_name=name)
    command.parse_args(context, words)


@pytest.mark.parametrize(("noun", "verbs"), PROMISED.items())
def test_every_command_that_was_promised_is_there(noun: str, verbs: str) -> None:
    there = {command[1:] if noun else command for command in COMMANDS if not noun or command[0] == noun}
    assert {(verb,) for verb in verbs.split()} <= there


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_a_help_with_an_example_that_parses(
    command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda _: "what was asked for")
    assert run_alone(*command, "--help").exit_code == 0
    found = examples(command)
    assert found
    for line in found:
        assert line.startswith(f"{PROGRAM} {' '.join(command)}")
        parse(line)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_option_is_explained(command: tuple[str, ...]) -> None:
    found: click.Command | None = main
    for name in command:
        assert isinstance(found, click.Group)
        found = found.get_command(click.Context(found), name)
    assert found is not None
    options = [one for one in found.params if isinstance(one, click.Option)]
    assert [one.name for one in options if not one.help] == []


def test_the_help_tells_the_exit_codes() -> None:
    told = " ".join(run_alone("--help").output.split())
    codes = ("0 done", "1 refused", "2 wrong usage", "3 no answer", "4 waits", "130 an import was stopped")
    for code in codes:
        assert code in told


def test_a_help_is_there_without_waiting_for_grpc() -> None:
    script = (
        "import sys; from issuer.cli import main; "
        "main(['holder', 'import', '--help'], standalone_mode=False); "
        "slow = ('grpc', 'rich', 'pydantic', 'sqlalchemy', 'cryptography'); "
        "print([one for one in slow if one in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert told.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_is_a_script_for_the_shell(shell: str) -> None:
    result = run_alone("completion", shell)
    assert result.exit_code == 0
    assert "_GATELIGHT_ISSUER_COMPLETE" in result.stdout


def test_completion_is_read_by_bash_and_knows_the_nouns() -> None:
    script = run_alone("completion", "bash").stdout
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    told = subprocess.run(
        [sys.executable, "-m", "issuer"],
        env={
            "_GATELIGHT_ISSUER_COMPLETE": "bash_complete",
            "COMP_WORDS": "gatelight-issuer hol",
            "COMP_CWORD": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.stdout == "plain,holder\n"
