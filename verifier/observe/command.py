"""The command that prints what Prometheus and Grafana are given."""

from pathlib import Path

import click

from verifier.observe import ALERTS, DASHBOARD


@click.group()
def observe() -> None:
    """Print the dashboard of Grafana and the alerts of Prometheus.

    Example: gatelight-verifier observe alerts > gatelight-alerts.yml
    """


@observe.command()
def dashboard() -> None:
    """Print a dashboard to import into Grafana 10 or newer.

    Example: gatelight-verifier observe dashboard > gatelight.json
    """
    _print(DASHBOARD)


@observe.command()
def alerts() -> None:
    """Print a rule file for Prometheus 2 or 3, of verifiers, issuer and archive.

    Example: gatelight-verifier observe alerts > gatelight-alerts.yml
    """
    _print(ALERTS)


def _print(path: Path) -> None:
    click.echo(path.read_text(encoding="utf-8"), nl=False)
