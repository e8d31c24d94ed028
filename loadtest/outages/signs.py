"""How a fault shows in a verifier's metrics: small conditions, to be combined."""

from collections.abc import Callable

from loadtest.outages.scene import Metrics

Sign = Callable[[Metrics], bool]

PREFIX = "gatelight_verifier_"


def in_trouble(part: str, *kinds: str) -> Sign:
    """Return the sign that a part of a verifier fails, for one of these reasons; without any, for any."""

    def is_seen(metrics: Metrics) -> bool:
        if kinds:
            return any(metrics.get(trouble(part, kind), 0) > 0 for kind in kinds)
        return metrics.get(f'{PREFIX}trouble_seconds{{part="{part}"}}', 0) > 0

    return is_seen


def trouble(part: str, kind: str) -> str:
    """Return the name of the metric that is 1 while a part fails for that reason."""
    return f'{PREFIX}trouble{{kind="{kind}",part="{part}"}}'


def above(name: str, limit: float) -> Sign:
    """Return the sign that a metric, named without the prefix, is above a limit."""
    return lambda metrics: metrics.get(PREFIX + name, 0.0) > limit


def below(name: str, limit: float) -> Sign:
    """Return the sign that a metric, named without the prefix, is there and below a limit."""
    return lambda metrics: metrics.get(PREFIX + name, limit) < limit


def is_gone(metrics: Metrics) -> bool:
    """Tell whether a verifier does not even answer: the sign of faults that take it away."""
    return not metrics


def any_of(*signs: Sign) -> Sign:
    """Return the sign that one of these is seen."""
    return lambda metrics: any(sign(metrics) for sign in signs)


def all_of(*signs: Sign) -> Sign:
    """Return the sign that all of these are seen."""
    return lambda metrics: all(sign(metrics) for sign in signs)
