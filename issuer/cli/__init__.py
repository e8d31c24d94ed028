"""gatelight-issuer: make an issuer, serve it, and ask it for things.

A module a noun, and what they share: session.py (talking with the issuer), importing.py and its neighbours
(files). A command's module is imported when the command is given, so that each starts as fast as it can.
"""

import importlib

import click

from verifier.terminal import tolerate_any_encoding

# Name, module and, in it, the command; in the order of the help.
_COMMANDS = {
    "init": ("init", "init"),
    "serve": ("serve", "serve"),
    "archive": ("archive", "archive"),
    "holder": ("holder", "holder"),
    "credential": ("credential", "credential"),
    "status": ("status", "status"),
    "test": ("negative_test", "test"),
    "code": ("code", "code"),
    "bundle": ("bundle", "bundle"),
    "approval": ("approval", "approval"),
    "client": ("client", "client"),
    "call": ("call", "call"),
    "group": ("group", "group"),
    "gate": ("gate", "gate"),
    "key": ("key", "key"),
    "key-set": ("key_set", "key_set"),
    "cache": ("cache", "cache"),
    "scan": ("scan", "scan"),
    "register": ("register", "register"),
    "completion": ("completion", "completion"),
}


class _Nouns(click.Group):
    """Commands that are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        module, name = _COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(f"issuer.cli.{module}"), name)
        return command


@click.group(cls=_Nouns, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="gatelight", prog_name="gatelight-issuer")
def main() -> None:
    """Sign short-lived codes, and keep the register of who may pass.

    Commands that change something print what they would do, and do it with --apply. Options of `init`,
    `serve` and `archive`, and those that reach an issuer, can be given as GATELIGHT_ISSUER_<NAME>; the
    passphrase as GATELIGHT_PASSPHRASE or GATELIGHT_PASSPHRASE_FILE, the Redis URL as GATELIGHT_REDIS_URL.

    \b
    Exit codes:
      0    done
      1    refused; imports: some rows were rejected
      2    wrong usage or setting; imports: nothing was done
      3    no answer from the issuer
      4    waits for a second person
      130  an import was stopped by Ctrl-C: the same command goes on

    Example: gatelight-issuer holder list --region north
    """
    tolerate_any_encoding()
