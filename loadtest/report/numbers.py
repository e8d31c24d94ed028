"""Numbers as people read them: 1 234, 12.3 ms, 99.98 %. What is not there is a dash."""

_NONE = "–"
_SPACE = "\u00a0"  # no line ends inside a number
# Endings of names of measures, the longer ones first.
_UNITS = {
    "mib": "MiB",
    "per_s": "a second",
    "s": "s",
}


def count(number: float) -> str:
    """Return a whole number, in groups of three digits."""
    return f"{number:,.0f}".replace(",", _SPACE)


def plain(number: float) -> str:
    """Return a number with three digits that matter, or all of those before the point."""
    return count(number) if abs(number) >= 100 or number == int(number) else f"{number:.3g}"


def milliseconds(value_ms: float | None) -> str:
    """Return a latency, in seconds from ten of them on."""
    if value_ms is None:
        return _NONE
    if value_ms >= 10_000:
        return seconds(value_ms / 1000)
    return f"{plain(value_ms)}{_SPACE}ms"


def seconds(value_s: float) -> str:
    """Return a time between two moments, in hours and minutes when it is long."""
    if 0 < value_s < 0.001:
        return f"<{_SPACE}1{_SPACE}ms"
    if value_s < 120:
        return f"{plain(value_s)}{_SPACE}s"
    minutes, rest_s = divmod(round(value_s), 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "h"), (minutes, "min"), (rest_s, "s"))
    return _SPACE.join(f"{number}{_SPACE}{unit}" for number, unit in parts if number)


def share(part: float, whole: float) -> str:
    """Return a part in hundred; what is neither nothing nor all never looks as if it were."""
    if not whole:
        return _NONE
    percent = 100 * part / whole
    if 0 < percent < 0.01:
        return f"<{_SPACE}0.01{_SPACE}%"
    if 99.99 < percent < 100:
        return f">{_SPACE}99.99{_SPACE}%"
    return f"{percent:.2f}".rstrip("0").rstrip(".") + f"{_SPACE}%"


def measured(measure: str, value: float | None) -> str:
    """Return a value of a measure, whose name ends with the unit: honest_p99_ms."""
    if value is None:
        return _NONE
    if measure.endswith("_ms"):
        return milliseconds(value)
    if measure.endswith("_share"):
        return share(value, 1.0)
    unit = next((unit for ending, unit in _UNITS.items() if f"_{measure}".endswith(f"_{ending}")), "")
    return f"{plain(value)}{_SPACE}{unit}" if unit else plain(value)


def words(measure: str) -> str:
    """Return the name of a measure without its unit: honest p99."""
    if measure.endswith("per_s"):
        return f"{measure.removesuffix('per_s')}goodput".replace("_", " ")
    ending = next((ending for ending in ("ms", *_UNITS) if measure.endswith(f"_{ending}")), "")
    return measure.removesuffix(f"_{ending}").replace("_", " ")
