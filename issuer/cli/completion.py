"""Completion for shells, as click makes it."""

import click

_VARIABLE = "_GATELIGHT_ISSUER_COMPLETE"
_PROGRAM = "gatelight-issuer"


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that completes commands and options with the Tab key.

    \b
    For bash:  gatelight-issuer completion bash > ~/.local/share/bash-completion/completions/gatelight-issuer
    For zsh:   gatelight-issuer completion zsh > ~/.zfunc/_gatelight-issuer
               and in ~/.zshrc, before compinit: fpath+=~/.zfunc

    Then open another shell.

    Example: gatelight-issuer completion bash
    """
    from click.shell_completion import get_completion_class  # noqa: PLC0415

    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 - click has both
    click.echo(kind(context.find_root().command, {}, _PROGRAM, _VARIABLE).source())
