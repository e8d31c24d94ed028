"""`python -m loadtest corpus`: make a file of scans with the verdict that each must get.

Of a city without an issuer (`python -m loadtest city`), good for hours; or of a running issuer, whose codes
rotate.
"""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from issuer.access.bearer import read_key_file
from issuer.client import IssuerClient
from issuer.errors import KeyFileError, SettingsError
from issuer.tls import ClientTls
from loadtest.city_file import CityFile, NotACity
from loadtest.corpus_city import Made, corpus_of_city
from loadtest.corpus_issuer import IssuerRefused, TooManyCodes, corpus_of_issuer
from loadtest.mix import KINDS, MixError, parse_mix
from loadtest.processes import ProcessError
from loadtest.residents import Staff
from loadtest.specimens import NobodyLikeThat

__all__ = ["Made", "corpus_of_city", "corpus_of_issuer", "run"]

_CODES = 200_000
_CITY_MINUTES = 60.0
_HOLDERS = 5_000
_ISSUER_MINUTES = 5.0
_TIMEOUT_S = 60.0


def run(
    *,
    city: Path | None,
    codes: int | None,
    keys: int | None,
    issuer: str | None,
    clerk_key: Path | None,
    approver_key: Path | None,
    tls_ca: Path | None,
    holders: int | None,
    minutes: float | None,
    mix: str,
    output: Path,
    is_json: bool,
) -> int:
    """Make a corpus of a city or of an issuer, and show it; raises click.UsageError and ProcessError.

    None is an option that was not given: those of the other kind must not be.
    """
    of_city = {"--codes": codes, "--keys": keys}
    of_issuer = {
        "--clerk-key": clerk_key,
        "--approver-key": approver_key,
        "--tls-ca": tls_ca,
        "--holders": holders,
    }
    if (city is None) == (issuer is None):
        raise click.UsageError("expected --city FOLDER, or --issuer ADDRESS")
    _refuse(of_issuer if city else of_city, "--issuer" if city else "--city")
    with _explained(), _progress(is_json) as progress:
        parts = parse_mix(mix)
        if city is not None:
            made = corpus_of_city(
                CityFile.read(city),
                output,
                codes=codes or _CODES,
                seconds=60 * (minutes or _CITY_MINUTES),
                mix=parts,
                keys=keys or 1,
                progress=progress,
            )
        else:
            if clerk_key is None or approver_key is None:
                raise click.UsageError("--issuer needs --clerk-key and --approver-key")
            with _staff(str(issuer), clerk_key, approver_key, tls_ca) as staff:
                made = corpus_of_issuer(
                    staff,
                    output,
                    holders=holders or _HOLDERS,
                    seconds=60 * (minutes or _ISSUER_MINUTES),
                    mix=parts,
                    progress=progress,
                )
    _show(made, is_json)
    return 0


def _refuse(options: Mapping[str, object], of: str) -> None:
    """Refuse options that only mean something with `of`; raises click.UsageError."""
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise click.UsageError(f"{', '.join(given)}: only with {of}")


@contextmanager
def _staff(address: str, clerk_key: Path, approver_key: Path, tls_ca: Path | None) -> Iterator[Staff]:
    tls = ClientTls(tls_ca) if tls_ca else None
    keys = (read_key_file(clerk_key), read_key_file(approver_key))
    with (
        IssuerClient(address, key=keys[0], tls=tls, timeout_s=_TIMEOUT_S) as clerk,
        IssuerClient(address, key=keys[1], tls=tls, timeout_s=_TIMEOUT_S) as approver,
    ):
        yield Staff(clerk, approver)


@contextmanager
def _explained() -> Iterator[None]:
    """Turn what went wrong into a message for people."""
    try:
        yield
    except MixError as error:
        raise click.BadParameter(str(error), param_hint="--mix") from None
    except (NotACity, NobodyLikeThat, TooManyCodes, SettingsError, KeyFileError) as error:
        raise click.UsageError(str(error)) from None
    except IssuerRefused as error:
        raise ProcessError(str(error)) from None
    except OSError as error:
        raise click.UsageError(f"{error.filename}: {error.strerror}") from None


@contextmanager
def _progress(is_json: bool) -> Iterator[Progress]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(highlight=False, stderr=is_json)
    with Progress(*columns, console=console, transient=True) as progress:
        yield progress


def _show(made: Made, is_json: bool) -> None:
    total = sum(made.counts.values())
    if is_json:
        kinds = [
            {"kind": kind, "verdict": verdict, "scans": count}
            for (kind, verdict), count in sorted(made.counts.items())
        ]
        times = {"good_from": made.good_from, "good_until": made.good_until}
        shape = {"scans": total, "keys": made.keys, "slots": made.slots, "bytes": made.path.stat().st_size}
        content = {"corpus": str(made.path), **shape, **times, "kinds": kinds, "notes": made.notes}
        print(json.dumps(content))
        return
    table = Table()
    for column in ("kind", "scans", "share", "must be answered", "what it is"):
        table.add_column(column, justify="right" if column in ("scans", "share") else "left")
    order = list(KINDS)
    for (kind, verdict), count in sorted(made.counts.items(), key=lambda one: (order.index(one[0][0]), *one)):
        table.add_row(kind, f"{count:,}", f"{count / total:.1%}", verdict, KINDS[kind])
    console = Console(highlight=False, soft_wrap=True)
    console.print(table)
    until = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(made.good_until))
    minutes = (made.good_until - time.time()) / 60
    size_mb = made.path.stat().st_size / 1e6
    console.print(
        f"{made.path}: {total:,} scans, {size_mb:,.0f} MB; good until {until}, {minutes:.0f} minutes"
    )
    for note in made.notes:
        console.print(f"  {note}")
