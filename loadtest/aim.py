"""Whether a figure reaches what was set for it."""


def is_met(figure: float, aim: float | None, *, is_floor: bool) -> bool | None:
    """Tell whether `figure` is at most the aim, or at least (`is_floor`); None where there is no aim."""
    if aim is None:
        return None
    return figure >= aim if is_floor else figure <= aim
