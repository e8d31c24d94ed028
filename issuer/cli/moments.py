"""Times as people give and read them: local time, Unix seconds, from now on, and before now."""

import re
import time
from datetime import datetime
from typing import Any

import click

_UNITS = {"m": 60, "h": 3_600, "d": 86_400, "w": 7 * 86_400}
_DURATION = re.compile(r"\+(\d{1,6})([mhdw])")
_PAST_DURATION = re.compile(r"-(\d{1,6})([mhdw])")
_OR_FROM_NOW = "or from now on: +90m, +36h, +14d, +2w"
_OR_BEFORE_NOW = "or before now: -90m, -2h, -7d, -2w"
_EXPECTED = "expected a time such as 2026-11-21T08:30 (local), or Unix seconds"
# The year 9999: what is later was meant as something else, such as milliseconds.
_MAX_TIME = 253_402_300_799


class Moment(click.ParamType[int]):
    """A time: ISO 8601, local where it names no zone; Unix seconds; or from now on, such as +14d.

    One in the past is taken as before now instead, such as -2h.
    """

    name = "time"

    def __init__(self, *, is_ahead: bool = False, is_past: bool = False) -> None:
        """With `is_ahead` it has to lie in the future; with `is_past` it is of something that happened."""
        self._is_ahead = is_ahead
        self._duration, self._sign = (_PAST_DURATION, -1) if is_past else (_DURATION, 1)
        self._forms = f"{_EXPECTED}, {_OR_BEFORE_NOW if is_past else _OR_FROM_NOW}"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return Unix seconds."""
        if isinstance(value, int):
            return value
        now = int(time.time())
        if found := self._duration.fullmatch(value):
            moment = max(0, now + self._sign * int(found[1]) * _UNITS[found[2]])
        else:
            try:
                moment = read_moment(value)
            except ValueError:
                self.fail(self._forms, param, ctx)
        if self._is_ahead and moment <= now:
            self.fail(f"{as_time(moment)} is not in the future: {self._forms}", param, ctx)
        return moment


def read_moment(text: str) -> int:
    """Return the Unix seconds of a time in ISO 8601 (local where it names no zone) or in Unix seconds.

    Raises ValueError, whose text says what was expected and not what came.
    """
    try:
        seconds = (
            int(text) if text.isdecimal() and len(text) > 8 else int(datetime.fromisoformat(text).timestamp())
        )
    except (ValueError, OverflowError, OSError):
        raise ValueError(_EXPECTED) from None
    if not 0 <= seconds <= _MAX_TIME:
        raise ValueError(_EXPECTED)
    return seconds


def as_time(unix_seconds: int) -> str:
    """Return a time as people read it, local and with its zone; a dash for 0."""
    if not unix_seconds:
        return "-"
    return datetime.fromtimestamp(unix_seconds).astimezone().isoformat(sep=" ", timespec="seconds")


def time_field(unix_seconds: int, *, is_json: bool) -> int | str:
    """Return a time as it is shown: Unix seconds to programs, as_time to people."""
    return unix_seconds if is_json else as_time(unix_seconds)
